"""The planning gate: which part of a world model limits planning, measured in task units.

Planning can fail because the encoder does not represent the goal, because the predictor loses it,
because the cost ranks outcomes wrongly, or because the search finds no good plan. The gate measures
the first three in minutes on held-out episodes, before any long training. If all three pass, the
search is the limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.registry import make
from jepabench.evaluation.model_checks.diagnosis import (
    PlanOutcomes,
    plan_outcomes,
    rank_correlations,
)
from jepabench.evaluation.model_checks.probing import check_dataset
from jepabench.world_models.analysis.goal_probe import READABLE, goal_error, read_goals, true_goals
from jepabench.world_models.analysis.imagination import draw_windows, imagine
from jepabench.world_models.checkpoint import LoadedWorldModel

ENOUGH_RANK = 0.5  # rank correlation of energy and distance
_LARGE_LOSS = 0.15  # drop from encoded to imagined that counts as a fault of the predictor
_LEAST_SENSITIVITY = 0.05
_PIXEL_KEY = "pixels"
_STATED_UNITS = {"m": (100.0, "cm"), "px": (1.0, "px")}


def goal_error_table(
    loaded: LoadedWorldModel,
    dataset: EpisodeDataset,
    *,
    steps: tuple[int, ...] = (1, 5),
    num_windows: int = 1500,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how precisely the achieved goal can be read from encoded and imagined latents.

    An MLP probe is fitted on encoded frames of the first half of the episodes and read on the
    second half.

    Columns:
        ``source``: ``encoded``, or ``imagined k`` for latents imagined k model steps ahead with the
        recorded actions.
        ``median`` and ``p90``: error by the distance of the task, in task units.
        ``in_place``: share of frames in which the predicted value satisfies the success rule with
        the true value as the goal. It compares the error with the success radius, including
        angles.

    Args:
        loaded: A world model.
        dataset: Held-out episodes of its task.
        steps: Imagined steps.
        num_windows: Largest number of windows for reading.
        seed: Seed of the probe and of the choice of windows.

    Raises:
        ProbingError: The dataset does not fit the model.
        ValueError: The episodes are shorter than the largest step.
    """
    check_dataset(loaded, dataset)
    rows = read_goals(loaded, dataset, steps=(0, *steps), num_windows=num_windows, seed=seed)
    table = pd.DataFrame(rows)
    table.insert(0, "source", ["encoded", *(f"imagined {step}" for step in steps)])
    return table


def ceiling_row(
    task_id: str,
    train: EpisodeDataset,
    held_out: EpisodeDataset,
    *,
    num_steps: int = 1500,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> pd.DataFrame:
    """Return the row ``supervised CNN`` of ``goal_error_table``: the ceiling of the frames.

    A convolutional network is trained to regress the achieved goal from the frame. If it fails, no
    encoder of this size can be expected to see the goal: change the camera or the resolution.

    Args:
        task_id: The task.
        train, held_out: Datasets with frames.
        num_steps: Gradient steps of 128 frames.
        seed: Seed of weights and batches.
        progress: Called with 1 after each step.
    """
    rng = np.random.default_rng(seed)
    frames = train.field(_PIXEL_KEY)
    targets = torch.from_numpy(np.asarray(train.field("achieved_goal"), np.float32))
    centre, spread = targets.mean(0), targets.std(0).clamp_min(1e-6)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        network = _GoalRegressor(frames.shape[1], targets.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    for _ in range(num_steps):
        picked = np.sort(rng.integers(len(frames), size=128))
        wanted = (targets[torch.from_numpy(picked)] - centre) / spread
        loss = functional.mse_loss(network(torch.from_numpy(np.array(frames[picked]))), wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if progress:
            progress(1)
    network.eval()
    chosen = np.sort(rng.permutation(len(held_out.field(_PIXEL_KEY)))[:3000])
    with torch.no_grad():
        read = torch.cat(
            [
                network(torch.from_numpy(np.array(held_out.field(_PIXEL_KEY)[part])))
                for part in np.array_split(chosen, 10)
            ]
        )
    env = make(task_id)
    row = goal_error(env, read * spread + centre, true_goals(held_out, chosen))
    env.close()
    return pd.DataFrame([{"source": "supervised CNN", **row}])


def action_sensitivity(
    loaded: LoadedWorldModel,
    dataset: EpisodeDataset,
    *,
    num_windows: int = 1000,
    seed: int = 0,
) -> float:
    """Return how sensitive a prediction is to its action, relative to how much frames change.

    This is the mean squared change of the one-step prediction when its action is replaced by that
    of another window, over the mean squared change of the encoded latents in a step. It is 0 for a
    model that ignores actions; below about 0.05 the model is useless for planning.
    """
    rng = np.random.default_rng(seed)
    windows = draw_windows(loaded, dataset, num_steps=1, num_windows=num_windows, rng=rng)
    swapped = windows.plans[torch.from_numpy(rng.permutation(len(windows.plans)))]
    answer = imagine(loaded.model, windows) - imagine(loaded.model, windows, swapped)
    change = windows.future[:, 0] - windows.present
    return float(answer.square().mean() / change.square().mean().clamp_min(1e-12))


@dataclass(frozen=True, slots=True)
class GateReport:
    """What limits planning with a world model.

    Attributes:
        goal_errors: ``goal_error_table``, with the row of ``ceiling_row`` first if it was measured.
        sensitivity: See ``action_sensitivity``.
        rank_imagined, rank_realised: Mean Spearman correlation of the energy with the true distance
            over random plans from one start, the energy computed on imagined latents, and on
            latents of the frames that executing the plans gave.
        limit: ``frames``, ``encoder``, ``dynamics``, ``cost`` or ``search``.
        reason: One sentence.
    """

    goal_errors: pd.DataFrame
    sensitivity: float
    rank_imagined: float
    rank_realised: float
    limit: str
    reason: str

    def table(self) -> pd.DataFrame:
        """Return one row with every number, for comparisons between models."""
        row: dict[str, float | str] = {}
        for entry in self.goal_errors.to_dict("records"):
            prefix = str(entry["source"]).replace(" ", "_")
            row |= {f"{prefix}_{name}": entry[name] for name in ("median", "p90", "in_place")}
        row |= {
            "sensitivity": self.sensitivity,
            "rank_imagined": self.rank_imagined,
            "rank_realised": self.rank_realised,
            "limit": self.limit,
        }
        return pd.DataFrame([row])


def judge(goal_errors: pd.DataFrame, sensitivity: float, outcomes: PlanOutcomes) -> GateReport:
    """Name the part that limits planning.

    Args:
        goal_errors: See ``GateReport``.
        sensitivity: See ``action_sensitivity``.
        outcomes: Plans with their realised energies (``plan_outcomes(..., realised=True)``).

    Raises:
        ValueError: The outcomes have no realised energies.
    """
    if outcomes.realised is None:
        raise ValueError("The gate needs realised energies: plan_outcomes(..., realised=True).")
    real = outcomes.distance if outcomes.path is None else outcomes.path
    imagined = float(np.nanmean(rank_correlations(outcomes.predicted, real)))
    realised = float(np.nanmean(rank_correlations(outcomes.realised, real)))
    limit, reason = _find_limit(goal_errors, sensitivity, imagined, realised)
    return GateReport(goal_errors, sensitivity, imagined, realised, limit, reason)


def _find_limit(
    goal_errors: pd.DataFrame, sensitivity: float, imagined: float, realised: float
) -> tuple[str, str]:
    place = dict(zip(goal_errors["source"], goal_errors["in_place"], strict=True))
    encoded, ceiling = place["encoded"], place.get("supervised CNN", 1.0)
    ahead = list(place.values())[-1]
    if encoded < READABLE and ceiling < READABLE:
        return "frames", (
            f"Even a supervised network reads the goal within the success rule in {ceiling:.0%} of "
            "the frames only: change the camera or the resolution, or train it longer."
        )
    if encoded < READABLE:
        return "encoder", (
            f"The goal is within the success rule in {encoded:.0%} of the encoded frames; "
            f"{READABLE:.0%} are needed."
        )
    if sensitivity < _LEAST_SENSITIVITY:
        return "dynamics", f"Predictions hardly answer to actions ({sensitivity:.1%} of a step)."
    if realised - imagined > _LARGE_LOSS or ahead < encoded - 2 * _LARGE_LOSS:
        return "dynamics", (
            f"Imagination loses what the encoder sees: rank correlation {realised:.2f} with "
            f"realised ends, {imagined:.2f} with imagined ones; in place {encoded:.0%} and "
            f"{ahead:.0%}."
        )
    if realised < ENOUGH_RANK:
        return "cost", (
            f"The cost ranks outcomes poorly even on the frames that the plans lead to "
            f"(rank correlation {realised:.2f})."
        )
    return "search", (
        "Encoder, dynamics and cost pass; what success is missing, the search or its proposals "
        "are responsible for."
    )


def measure_gate(
    loaded: LoadedWorldModel,
    dataset: EpisodeDataset,
    *,
    ceiling: pd.DataFrame | None = None,
    outcomes: PlanOutcomes,
    seed: int = 0,
) -> GateReport:
    """Measure what limits planning with a world model.

    Args:
        loaded: A world model.
        dataset: Held-out episodes of its task.
        ceiling: ``ceiling_row``, if it was measured.
        outcomes: ``plan_outcomes(..., realised=True)``.
        seed: Seed of the probe and of the windows.
    """
    errors = goal_error_table(loaded, dataset, seed=seed)
    if ceiling is not None:
        errors = pd.concat([ceiling, errors], ignore_index=True)
    return judge(errors, action_sensitivity(loaded, dataset, seed=seed), outcomes)


def gate_statement(
    loaded: LoadedWorldModel, dataset: EpisodeDataset, *, pixels: int, num_starts: int = 10
) -> dict[str, float | str | None]:
    """Return the ``Gate`` of a submission's diagnostics as JSON values.

    Args:
        loaded: A world model.
        dataset: Held-out episodes of its task.
        pixels: Side of the frames.
        num_starts: Episodes from which 64 random plans each are executed.
    """
    outcomes = plan_outcomes(loaded, num_starts=num_starts, pixels=pixels, realised=True)
    report = measure_gate(loaded, dataset, outcomes=outcomes)
    encoded = report.goal_errors.set_index("source").loc["encoded"]
    env = make(loaded.task_id)
    scale, unit = _STATED_UNITS.get(env.distance_unit, (1.0, "units"))
    env.close()
    ranks = {"rank_imagined": report.rank_imagined, "rank_realised": report.rank_realised}
    return {
        "goal_error": round(scale * float(encoded["median"]), 4),
        "unit": unit,
        "in_place": round(float(encoded["in_place"]), 4),
        **{name: round(rank, 4) if np.isfinite(rank) else None for name, rank in ranks.items()},
        "oracle_predictor": None,
    }


class _GoalRegressor(nn.Module):
    """Frames uint8 [N, s, s, 3] to standardised goals [N, G]."""

    def __init__(self, image_size: int, goal_size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 24, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(24, 48, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(48, 64, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(64 * (image_size // 8) ** 2, 256),
            nn.GELU(),
            nn.Linear(256, goal_size),
        )

    def forward(self, frames: Tensor) -> Tensor:
        return self.body(frames.permute(0, 3, 1, 2).float() / 127.5 - 1.0)

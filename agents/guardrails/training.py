"""Trains the hazard of a guardrail on the offline data, calibrates it on held-out episodes, and
keeps both in a folder.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from jepabench.agents.encoding import Features
from jepabench.agents.guardrails.conformal import lower_threshold, one_each
from jepabench.agents.guardrails.hazards import (
    KINDS,
    POINTS_ON_THE_WAY,
    Hazard,
    ZoneHazard,
    empty_hazard,
    hazard_layout,
    train_learned_hazard,
)
from jepabench.agents.model_free.run_folder import close_run, open_run, read_run
from jepabench.envs.core.free_space import in_boxes
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import get_task, make
from jepabench.world_models.analysis.imagination import Windows, draw_windows, imagine
from jepabench.world_models.analysis.probes import fit_linear
from jepabench.world_models.checkpoint import LoadedWorldModel, load_world_model

NAME = "guardrail"
_NUM_GOALS = (
    2000  # of the data: on a table or in a room, they lie about a hundredth of its size apart
)


class GuardrailError(ValueError):
    """Data or a world that no guardrail can be made for; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class TrainedGuardrail:
    """A hazard with its calibration.

    Attributes:
        hazard: judges steps between latents.
        thresholds: highest hazard that passes, by steps ahead [H].
        spread: standard deviation of the hazard on held-out steps.
        alpha: at most this share of the steps that would break a rule passes: the promise.
        goals, places: latents of goals [N, *latent] in the data, and where they are [N, 2], to go
            round zones by.
    """

    hazard: Hazard
    thresholds: Tensor
    spread: float
    alpha: float
    goals: Tensor
    places: Tensor


@dataclass(frozen=True, slots=True)
class JudgedSteps:
    """Imagined steps of held-out episodes with what the hazard says and what really came.

    Attributes:
        hazards: of N windows and H steps ahead [N, H].
        violated: whether the rule was really broken on the way [N, H].
        episodes: number of each window's episode [N].
    """

    hazards: NDArray[np.float32]
    violated: NDArray[np.bool_]
    episodes: NDArray[np.int64]


def train(
    *,
    task_id: str,
    dataset: Path,
    validation: Path,
    world_model: Path,
    directory: Path,
    seed: int,
    hazard: str = "learned",
    alpha: float = 0.01,
    horizon: int = 5,
    num_steps: int = 3000,
    num_windows: int = 6000,
    zones: Sequence[Sequence[float]] | None = None,
    progress: bool = True,
) -> None:
    """Train and calibrates a guardrail for a world model.

    Args:
        task_id: the task.
        dataset: what the world model was trained on; trains the hazard.
        validation: held-out episodes; calibrate it.
        world_model: folder of the world model.
        directory: where the guardrail goes.
        seed: of every random choice.
        hazard: ``learned`` from the violation flags of the data, or ``zones``, which are those of
            the world.
        alpha: share of the steps that break a rule which may pass, for each number of steps ahead.
        horizon: steps ahead that are calibrated.
        num_steps: gradient steps of a learned hazard.
        num_windows: imagined futures of each dataset, at most.
        zones: forbidden rectangles ``(x_min, y_min, x_max, y_max)`` for what the goal speaks of, in
            place of the world's own rule, in units of its first two numbers; None for the world's.
        progress: not used: it takes seconds.

    Raises:
        GuardrailError: no rule is ever broken in the data, or the world has no zones.
        TooFewScoresError: too few held-out episodes in which a rule is broken to promise ``alpha``.
    """
    del progress
    if hazard not in KINDS:
        raise unknown_name("kind of hazard", hazard, KINDS)
    run: dict[str, Any] = {
        "name": NAME,
        "task_id": get_task(task_id).id,
        "seed": seed,
        "hazard": hazard,
        "alpha": alpha,
        "horizon": horizon,
        "num_steps": num_steps,
        "num_windows": num_windows,
        "zones": None if zones is None else np.asarray(zones, np.float64).reshape(-1, 4).tolist(),
    }
    if open_run(directory, run):
        return
    began = time.monotonic()
    loaded = load_world_model(Path(world_model), task_id=task_id)
    data, held_out = EpisodeDataset.open(dataset), EpisodeDataset.open(validation)
    rng = np.random.default_rng([seed, 2])
    windows = draw_windows(
        loaded.model, data, scale=loaded.scale, num_steps=horizon, num_windows=num_windows, rng=rng
    )
    if hazard == "zones":
        judge = _zone_hazard(
            keep_out_zones(make(task_id)) if zones is None else np.asarray(zones), data, windows
        )
    else:
        judge = _learned(loaded, data, windows, num_steps, seed, zones)
    steps = judge_steps(
        judge, loaded, held_out, horizon=horizon, num_windows=num_windows, rng=rng, zones=zones
    )
    thresholds = calibrate(steps, alpha=alpha, rng=rng)
    save_file(
        {
            **{f"hazard.{name}": value.contiguous() for name, value in judge.state_dict().items()},
            "thresholds": torch.tensor(thresholds, dtype=torch.float32),
            "spread": torch.tensor(float(steps.hazards.std()), dtype=torch.float32),
            **_goals(loaded, data, rng),
        },
        directory / "guardrail.safetensors",
    )
    cost = {
        "layout": hazard_layout(judge),
        "thresholds": thresholds,
        "transitions": int(data.lengths.sum()) * data.manifest.action_block,
        "train_seconds": time.monotonic() - began,
        "parameters": sum(value.numel() for value in judge.parameters()),
    }
    close_run(directory, run, cost)


def load_guardrail(directory: Path, *, task_id: str) -> TrainedGuardrail:
    """Load what ``train`` made.

    Raises:
        ValueError: it is unfinished, of another task, or of a version that kept no goals.
    """
    run = read_run(directory, name=NAME, task_id=get_task(task_id).id)
    tensors = load_file(Path(directory) / "guardrail.safetensors")
    if not {"goals", "places"} <= tensors.keys():
        raise GuardrailError(
            f"The guardrail in {directory} has no goals to go round by. Delete it and train again."
        )
    hazard = empty_hazard(run["layout"])
    hazard.load_state_dict(
        {name[7:]: value for name, value in tensors.items() if name.startswith("hazard.")}
    )
    hazard.eval().requires_grad_(False)
    return TrainedGuardrail(
        hazard,
        tensors["thresholds"],
        float(tensors["spread"]),
        float(run["alpha"]),
        tensors["goals"],
        tensors["places"],
    )


def judge_steps(
    hazard: Hazard,
    loaded: LoadedWorldModel,
    dataset: EpisodeDataset,
    *,
    horizon: int,
    num_windows: int | None,
    rng: np.random.Generator,
    zones: Sequence[Sequence[float]] | None = None,
) -> JudgedSteps:
    """Let the model imagine recorded episodes, and the hazard judge every imagined step; ``zones``
    as in ``train``.
    """
    windows = draw_windows(
        loaded.model,
        dataset,
        scale=loaded.scale,
        num_steps=horizon,
        num_windows=num_windows,
        rng=rng,
    )
    imagined = imagine(loaded.model, windows)
    before = torch.cat([windows.present[:, None], imagined[:, :-1]], dim=1)
    with torch.inference_mode():
        hazards = hazard(before.flatten(0, 1).flatten(1), imagined.flatten(0, 1).flatten(1))
    return JudgedSteps(
        hazards.view(imagined.shape[:2]).numpy(),
        _violated(dataset, windows, zones),
        windows.episodes,
    )


def calibrate(steps: JudgedSteps, *, alpha: float, rng: np.random.Generator) -> list[float]:
    """Return the highest hazard that passes for each number of steps ahead [H]; one step that broke
    a rule an episode counts.

    Raises:
        GuardrailError: no rule was broken.
        TooFewScoresError: in too few episodes.
    """
    if not steps.violated.any():
        raise GuardrailError(
            "No rule is ever broken in the held-out episodes, so nothing can be promised. "
            "Does this world have one?"
        )
    thresholds = []
    for ahead in range(steps.hazards.shape[1]):
        broken = np.flatnonzero(steps.violated[:, ahead])
        chosen = broken[one_each(steps.episodes[broken], rng)]
        thresholds.append(lower_threshold(steps.hazards[chosen, ahead], alpha))
    return thresholds


def keep_out_zones(env: GoalEnv) -> NDArray[np.float64]:
    """Return the keep-out rectangles of a world [Z, 4], in the units of the first two numbers of
    its goals.

    Raises:
        GuardrailError: it has none.
    """
    zones = np.asarray(env.zones, np.float64).reshape(-1, 4)
    if not len(zones):
        raise GuardrailError(
            f"{env.task.id} has no keep-out zones. Use hazard=learned, or a world with zones."
        )
    return zones


def _goals(
    loaded: LoadedWorldModel, data: EpisodeDataset, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return latents of goals that the data came to, and where they are."""
    picked = np.sort(rng.permutation(len(data.field("achieved_goal")))[:_NUM_GOALS])
    goals = Features(loaded.model).goal_rows(data, picked)
    places = np.array(data.field("achieved_goal")[picked][:, :2], np.float32)
    return {"goals": goals.contiguous(), "places": torch.from_numpy(places)}


def _zone_hazard(zones: NDArray[np.floating], data: EpisodeDataset, windows: Windows) -> Hazard:
    rows = np.concatenate([windows.rows(step) for step in range(windows.future.shape[1] + 1)])
    latents = torch.cat([windows.present, *windows.future.unbind(1)]).flatten(1)
    places = torch.from_numpy(np.asarray(data.field("achieved_goal")[rows][:, :2], np.float32))
    probe, boxes = (
        fit_linear(latents, places, regularisation=1e-4),
        torch.from_numpy(zones.reshape(-1, 4)),
    )
    return ZoneHazard(probe, boxes).requires_grad_(False)


def _learned(
    loaded: LoadedWorldModel,
    data: EpisodeDataset,
    windows: Windows,
    num_steps: int,
    seed: int,
    zones: Sequence[Sequence[float]] | None,
) -> Hazard:
    """Train the classifier on observed and on imagined steps."""
    violated = torch.from_numpy(_violated(data, windows, zones))
    if not bool(violated.any()):
        raise GuardrailError(
            f"No rule is ever broken in {data.path}, so no hazard can be learned. Collect "
            "with another behaviour."
        )
    seen = torch.cat([windows.present[:, None], windows.future], dim=1)
    imagined = torch.cat([windows.present[:, None], imagine(loaded.model, windows)], dim=1)
    before = torch.cat([part[:, :-1].flatten(0, 1) for part in (seen, imagined)]).flatten(1)
    after = torch.cat([part[:, 1:].flatten(0, 1) for part in (seen, imagined)]).flatten(1)
    return train_learned_hazard(
        before, after, violated.flatten().repeat(2), num_steps=num_steps, seed=seed
    )


def _violated(
    dataset: EpisodeDataset, windows: Windows, zones: Sequence[Sequence[float]] | None
) -> NDArray[np.bool_]:
    """Whether a rule was broken on each imagined step of the windows [N, H]; row r of the field
    belongs to the step that leaves frame r.
    """
    steps = range(windows.future.shape[1])
    if zones is None:
        flags = np.asarray(dataset.field("violation"))
        return np.stack([flags[windows.rows(step)] for step in steps], axis=1)
    places, boxes = (
        np.asarray(dataset.field("achieved_goal"))[:, :2],
        np.asarray(zones, np.float64).reshape(-1, 4),
    )
    return np.stack(
        [
            _crossing(places[windows.rows(step)], places[windows.rows(step + 1)], boxes)
            for step in steps
        ],
        1,
    )


def _crossing(
    start: NDArray[np.floating], end: NDArray[np.floating], boxes: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether the straight way between places [N, 2] each is ever inside one of the boxes [Z, 4],
    [N].
    """
    share = np.linspace(0, 1, POINTS_ON_THE_WAY)[:, None, None]
    return np.asarray(in_boxes((1 - share) * start + share * end, boxes).any(axis=0))

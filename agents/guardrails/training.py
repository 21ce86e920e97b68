"""Training and calibration of guardrails.

The hazard is trained on the offline data and calibrated on held-out episodes. Both are saved in one
folder.
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
from jepabench.agents.guardrails.conformal import draw_one_per_group, lower_threshold
from jepabench.agents.guardrails.hazards import (
    KINDS,
    POINTS_PER_STEP,
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
_WEIGHTS = "guardrail.safetensors"
_NUM_GOALS = 2000  # the distance between goals is about a hundredth of the size of the room


class GuardrailError(ValueError):
    """Raised when no guardrail can be made; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class TrainedGuardrail:
    """A hazard with its calibration.

    Attributes:
        hazard: Hazard of steps between latents.
        thresholds: Highest hazard that passes, for each number of steps ahead [H].
        spread: Standard deviation of the hazard on held-out steps.
        alpha: Promised rate. At most this share of the steps that would break a rule passes.
        goals: Latents of goals in the data [N, *latent], from which detours around zones are
            chosen.
        places: Positions of these goals [N, 2].
    """

    hazard: Hazard
    thresholds: Tensor
    spread: float
    alpha: float
    goals: Tensor
    places: Tensor


@dataclass(frozen=True, slots=True)
class JudgedSteps:
    """Hazards of imagined steps of held-out episodes, with the real violations.

    Attributes:
        hazards: Hazards of N windows and H steps ahead [N, H].
        violated: Whether the rule was broken during the recorded step [N, H].
        episodes: Index of the episode of each window [N].
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
    """Train and calibrate a guardrail for a world model.

    Args:
        task_id: Id of the task.
        dataset: Data on which the world model was trained. The hazard is trained on them too.
        validation: Held-out episodes that calibrate the hazard.
        world_model: Folder of the world model.
        directory: Folder in which the guardrail is saved.
        seed: Seed of every random choice.
        hazard: ``learned`` from violation flags, or ``zones`` for known rectangles.
        alpha: Promised rate. At most this share of the steps that break a rule passes, for each
            number of steps ahead.
        horizon: Largest number of steps ahead that is calibrated.
        num_steps: Number of gradient steps of a learned hazard.
        num_windows: Maximum number of imagined futures per dataset.
        zones: Forbidden rectangles ``(x_min, y_min, x_max, y_max)`` that replace the world's own
            rule, in the units of the first two numbers of a goal. None uses the world's rule.
        progress: Not used, because training takes seconds.

    Raises:
        GuardrailError: No rule is ever broken in the data, or the world has no zones.
        TooFewScoresError: A rule is broken in too few held-out episodes to promise ``alpha``.
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
    loaded = load_world_model(Path(world_model), task_id=task_id)
    data, held_out = EpisodeDataset.open(dataset), EpisodeDataset.open(validation)
    close_run(directory, run, _fit(run, loaded, data, held_out, directory / _WEIGHTS))


def _fit(
    run: dict[str, Any],
    loaded: LoadedWorldModel,
    data: EpisodeDataset,
    held_out: EpisodeDataset,
    path: Path,
) -> dict[str, Any]:
    """Train and calibrate the guardrail that ``run`` describes, save it to ``path`` and return the
    cost of training.
    """
    began = time.monotonic()
    rng, zones = np.random.default_rng([run["seed"], 2]), run["zones"]
    sampling = {"num_windows": run["num_windows"], "rng": rng}
    windows = draw_windows(loaded, data, num_steps=run["horizon"], **sampling)
    if run["hazard"] == "learned":
        judge = _train_hazard(loaded, data, windows, run["num_steps"], run["seed"], zones)
    elif zones is None:
        judge = _fit_zone_hazard(keep_out_zones(make(run["task_id"])), data, windows)
    else:
        judge = _fit_zone_hazard(np.asarray(zones), data, windows)
    steps = judge_steps(judge, loaded, held_out, horizon=run["horizon"], zones=zones, **sampling)
    thresholds = calibrate(steps, alpha=run["alpha"], rng=rng)
    save_file(
        {
            **{f"hazard.{name}": value.contiguous() for name, value in judge.state_dict().items()},
            "thresholds": torch.tensor(thresholds, dtype=torch.float32),
            "spread": torch.tensor(float(steps.hazards.std()), dtype=torch.float32),
            **_sample_goals(loaded, data, rng),
        },
        path,
    )
    return {
        "layout": hazard_layout(judge),
        "thresholds": thresholds,
        "transitions": int(data.lengths.sum()) * data.manifest.action_block,
        "train_seconds": time.monotonic() - began,
        "parameters": sum(value.numel() for value in judge.parameters()),
    }


def load_guardrail(directory: Path, *, task_id: str) -> TrainedGuardrail:
    """Load a guardrail that ``train`` has saved.

    Raises:
        ValueError: The guardrail is unfinished, was trained for another task, or was saved by a
            version that did not save goals.
    """
    run = read_run(directory, name=NAME, task_id=get_task(task_id).id)
    tensors = load_file(Path(directory) / _WEIGHTS)
    if not {"goals", "places"} <= tensors.keys():
        raise GuardrailError(
            f"The guardrail in {directory} has no goals for detours. Delete it and train again."
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
    """Return the hazards of imagined steps of recorded episodes.

    ``zones`` is as in ``train``.
    """
    windows = draw_windows(loaded, dataset, num_steps=horizon, num_windows=num_windows, rng=rng)
    imagined = imagine(loaded.model, windows)
    before = torch.cat([windows.present[:, None], imagined[:, :-1]], dim=1)
    with torch.inference_mode():
        hazards = hazard(before.flatten(0, 1).flatten(1), imagined.flatten(0, 1).flatten(1))
    return JudgedSteps(
        hazards.view(imagined.shape[:2]).numpy(),
        _label_steps(dataset, windows, zones),
        windows.episodes,
    )


def calibrate(steps: JudgedSteps, *, alpha: float, rng: np.random.Generator) -> list[float]:
    """Return the highest hazard that passes for each number of steps ahead [H].

    One random violation per episode is used.

    Raises:
        GuardrailError: No rule was broken.
        TooFewScoresError: A rule was broken in too few episodes.
    """
    if not steps.violated.any():
        raise GuardrailError(
            "No rule is ever broken in the held-out episodes, so no rate can be "
            "guaranteed. Does this world have a rule?"
        )
    thresholds = []
    for ahead in range(steps.hazards.shape[1]):
        broken = np.flatnonzero(steps.violated[:, ahead])
        chosen = broken[draw_one_per_group(steps.episodes[broken], rng)]
        thresholds.append(lower_threshold(steps.hazards[chosen, ahead], alpha))
    return thresholds


def keep_out_zones(env: GoalEnv) -> NDArray[np.float64]:
    """Return the keep-out rectangles [Z, 4] of a world, in the units of its goal positions.

    Raises:
        GuardrailError: The world has no keep-out zones.
    """
    zones = np.asarray(env.zones, np.float64).reshape(-1, 4)
    if not len(zones):
        raise GuardrailError(
            f"{env.task.id} has no keep-out zones. Use hazard=learned, or a world with zones."
        )
    return zones


def _sample_goals(
    loaded: LoadedWorldModel, data: EpisodeDataset, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return latents and positions of random states of the data, used as goals."""
    picked = np.sort(rng.permutation(len(data.field("achieved_goal")))[:_NUM_GOALS])
    goals = Features(loaded.model).goal_rows(data, picked)
    places = np.array(data.field("achieved_goal")[picked][:, :2], np.float32)
    return {"goals": goals.contiguous(), "places": torch.from_numpy(places)}


def _fit_zone_hazard(zones: NDArray[np.floating], data: EpisodeDataset, windows: Windows) -> Hazard:
    """Fit the probe of positions on the frames of the windows."""
    rows = np.concatenate([windows.rows(step) for step in range(windows.future.shape[1] + 1)])
    latents = torch.cat([windows.present, *windows.future.unbind(1)]).flatten(1)
    places = torch.from_numpy(np.asarray(data.field("achieved_goal")[rows][:, :2], np.float32))
    probe, boxes = (
        fit_linear(latents, places, regularisation=1e-4),
        torch.from_numpy(zones.reshape(-1, 4)),
    )
    return ZoneHazard(probe, boxes).requires_grad_(False)


def _train_hazard(
    loaded: LoadedWorldModel,
    data: EpisodeDataset,
    windows: Windows,
    num_steps: int,
    seed: int,
    zones: Sequence[Sequence[float]] | None,
) -> Hazard:
    """Train the classifier on observed and imagined steps."""
    violated = torch.from_numpy(_label_steps(data, windows, zones))
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


def _label_steps(
    dataset: EpisodeDataset, windows: Windows, zones: Sequence[Sequence[float]] | None
) -> NDArray[np.bool_]:
    """Return whether a rule was broken during each step of the windows [N, H].

    Row r of the field ``violation`` describes the step that starts at frame r.
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
            _crosses_zone(places[windows.rows(step)], places[windows.rows(step + 1)], boxes)
            for step in steps
        ],
        1,
    )


def _crosses_zone(
    start: NDArray[np.floating], end: NDArray[np.floating], boxes: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return whether the line between positions [N, 2] enters one of the boxes [Z, 4], as [N]."""
    share = np.linspace(0, 1, POINTS_PER_STEP)[:, None, None]
    return np.asarray(in_boxes((1 - share) * start + share * end, boxes).any(axis=0))

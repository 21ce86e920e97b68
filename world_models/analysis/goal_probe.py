"""How precisely the achieved goal can be read from encoded and imagined latents, in task units."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.registry import make
from jepabench.world_models.analysis.diagnostics import encode_frames
from jepabench.world_models.analysis.imagination import (
    Windows,
    draw_windows,
    find_episodes,
    imagine,
)
from jepabench.world_models.analysis.probes import Probe, fit_probe
from jepabench.world_models.checkpoint import LoadedWorldModel

READABLE = 0.8  # share of encoded frames from which a probe must read the goal
IN_PLACE = "in_place"  # metadata of a checkpoint: one reading per round of training
READ_STEPS = (0, 1)  # imagined steps of a reading; a training window always has these
_FITTED_FRAMES = 6000


def read_goals(
    loaded: LoadedWorldModel,
    dataset: EpisodeDataset,
    *,
    steps: tuple[int, ...],
    num_windows: int = 1500,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Read the achieved goal from latents and compare it with the truth.

    An MLP probe is fitted on encoded frames of the first half of the episodes and read on the
    second half.

    Args:
        loaded: A world model.
        dataset: Held-out episodes of its task.
        steps: Model steps to imagine with the recorded actions; 0 reads the encoded frame.
        num_windows: Largest number of windows for reading.
        seed: Seed of the probe and of the choice of windows.

    Returns:
        For each entry of ``steps`` the result of ``goal_error``.

    Raises:
        ValueError: The episodes are shorter than the largest step.
    """
    windows, probe = _fit(loaded, dataset, max(*steps, 1), num_windows, seed)
    imagined = imagine(loaded.model, windows)
    env = make(loaded.task_id)
    rows = []
    for step in steps:
        latents = imagined[:, step - 1] if step else windows.present
        read = probe(latents.flatten(1).float())
        rows.append(goal_error(env, read, true_goals(dataset, windows.rows(step))))
    env.close()
    return rows


def goal_error(env: GoalEnv, read: Tensor, truth: Tensor) -> dict[str, float]:
    """Compare goals [N, G] that were read with the true ones.

    Returns:
        ``median`` and ``p90`` of the error by the distance of the task, in task units, and
        ``in_place``, the share of rows in which the value read satisfies the success rule with
        the true value as the goal.
    """
    found, wanted = read.double().numpy(), truth.double().numpy()
    errors = np.asarray(env.distance(found, wanted))
    return {
        "median": float(np.median(errors)),
        "p90": float(np.quantile(errors, 0.9)),
        "in_place": float(np.mean(env.is_success(found, wanted))),
    }


def true_goals(dataset: EpisodeDataset, rows: NDArray[np.integer]) -> Tensor:
    """Return the achieved goals [N, G] of the frames with these row numbers [N]."""
    return torch.from_numpy(np.asarray(dataset.field("achieved_goal")[rows], np.float32))


def _fit(
    loaded: LoadedWorldModel, dataset: EpisodeDataset, ahead: int, num_windows: int, seed: int
) -> tuple[Windows, Probe]:
    """Return windows of the second half of the episodes, and a probe fitted on the first half."""
    rng = np.random.default_rng(seed)
    fitting, reading = np.array_split(np.arange(len(dataset)), 2)
    rows = np.arange(len(dataset.field("achieved_goal")))
    rows = rng.permutation(rows[np.isin(find_episodes(dataset, rows), fitting)])
    rows = np.sort(rows[:_FITTED_FRAMES])
    latents = encode_frames(loaded.model, dataset, rows)
    probe = fit_probe("mlp", latents, true_goals(dataset, rows), seed=seed)
    windows = draw_windows(
        loaded, dataset, num_steps=ahead, num_windows=num_windows, episodes=reading, rng=rng
    )
    return windows, probe

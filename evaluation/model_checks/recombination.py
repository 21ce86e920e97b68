"""How well a world model predicts combinations of position and action that its data withhold."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.envs.core.withheld import SEEN_ACTION, SEEN_STATE, WITHHELD, Withheld
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.registry import make
from jepabench.evaluation.model_checks.probing import check_dataset
from jepabench.world_models.analysis.imagination import Windows, draw_windows, imagine
from jepabench.world_models.checkpoint import LoadedWorldModel

BOTH_SEEN = "seen-both"  # forward on the side where all motion is seen
COMBINATIONS = (BOTH_SEEN, SEEN_STATE, SEEN_ACTION, WITHHELD)
SMALLEST_MOVE = 0.02  # along the axis, of a model step that counts [m]


def recombination_table(
    loaded: LoadedWorldModel, dataset: EpisodeDataset, *, num_steps: int = 3, seed: int = 0
) -> pd.DataFrame:
    """Return the squared error of imagined latents by combination of position and action.

    A window counts for a combination if each of its imagined steps is one, and moves along the
    axis of the withheld motion by at least ``SMALLEST_MOVE``.

    Args:
        loaded: A world model of a task with a withheld combination.
        dataset: Episodes that contain all combinations, from the behaviour ``random``.
        num_steps: Model steps ahead.
        seed: Seed of the order of windows.

    Returns:
        Columns ``pairs`` (one of ``COMBINATIONS``), ``step``, ``windows``, ``error`` (relative to
        copying the last latent), ``imagined`` (the share of the true change of the latent that is
        imagined: 1 for an exact model, 0 for copying) and ``copy_last`` (the error of copying, in
        units of the variance of the latents).

    Raises:
        ProbingError: The dataset does not fit the model.
        ValueError: The episodes are too short.
    """
    check_dataset(loaded, dataset)
    withheld = cast("Any", make(loaded.task_id)).withheld
    rng = np.random.default_rng(seed)
    windows = draw_windows(loaded, dataset, num_steps=num_steps, rng=rng)
    imagined = (imagine(loaded.model, windows) - windows.present[:, None]).flatten(2)
    changes = (windows.future - windows.present[:, None]).flatten(2)
    errors = (imagined - changes).square().mean(2).numpy()
    copied, along = changes.square().mean(2).numpy(), (imagined * changes).mean(2).numpy()
    spread = float(windows.latents.flatten(0, 1).flatten(1).var(0).mean())
    found = classify_windows(windows, dataset, withheld, num_steps)
    rows = []
    for number, name in enumerate(COMBINATIONS):
        for step in range(1, num_steps + 1):
            chosen = (found[:, :step] == number).all(axis=1)
            if not chosen.any():
                continue
            copy = copied[chosen, step - 1].mean()
            rows.append(
                {
                    "pairs": name,
                    "step": step,
                    "windows": int(chosen.sum()),
                    "error": errors[chosen, step - 1].mean() / copy,
                    "imagined": along[chosen, step - 1].mean() / copy,
                    "copy_last": copy / spread,
                }
            )
    return pd.DataFrame(rows)


def classify_windows(
    windows: Windows, dataset: EpisodeDataset, withheld: Withheld, num_steps: int
) -> NDArray[np.int64]:
    """Return the number of each imagined step's combination in ``COMBINATIONS`` [N, H].

    It is -1 for steps that hardly move along the axis.
    """
    goals = dataset.gather("achieved_goal", windows.starts, windows.known + num_steps)
    positions = goals[:, windows.known - 1 :]
    moves = np.diff(positions[..., withheld.axis], axis=1)
    beyond = withheld.is_beyond(positions[:, :-1])
    return np.where(np.abs(moves) < SMALLEST_MOVE, -1, beyond + 2 * (moves < 0.0))

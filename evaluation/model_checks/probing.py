"""Linear and MLP probes of the physical state, on encoded and on imagined latents.

A probe is fitted on encoded frames of the first half of held-out episodes. It is scored on the
second half: on encoded frames, and on latents that the model imagined k steps ahead with the
actions that were taken. The difference shows how much information the prediction loses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.evaluation.model_checks.quantities import observation_names
from jepabench.world_models.analysis.diagnostics import encode_frames
from jepabench.world_models.analysis.imagination import draw_windows, find_episodes, imagine
from jepabench.world_models.analysis.probes import KINDS, Probe, fit_probe, score
from jepabench.world_models.checkpoint import LoadedWorldModel

FEWEST_EPISODES = 4


class ProbingError(ValueError):
    """A dataset that cannot be used for probing; the message says why."""


def probe_table(
    loaded: LoadedWorldModel,
    dataset: EpisodeDataset,
    *,
    steps: Sequence[int] = (1, 3, 5),
    num_frames: int = 6000,
    num_windows: int = 1000,
    seed: int = 0,
    kinds: Sequence[str] = KINDS,
) -> pd.DataFrame:
    """Return one row per quantity, probe and step.

    Columns:
        ``quantity``; ``probe``: ``linear`` or ``mlp``.
        ``step``: 0 for encoded frames, k for latents imagined k steps ahead.
        ``r2`` and ``r``: NaN if the quantity does not vary.
        ``frames``: number of frames that were scored.

    Args:
        loaded: A world model.
        dataset: Held-out episodes of its task.
        steps: Imagined steps at which to probe; may be empty.
        num_frames: Maximum number of frames; half are for fitting and half for scoring.
        num_windows: Maximum number of imagined futures.
        seed: Seed of the choice of frames and of the weights of the MLP.
        kinds: Kinds of probes.

    Raises:
        ProbingError: The dataset is of another task, or too small.
        ValueError: A step is below 1 or longer than the episodes.
    """
    check_dataset(loaded, dataset)
    if any(step < 1 for step in steps):
        raise ValueError(f"Imagined steps must be at least 1, got {list(steps)}.")
    rng = np.random.default_rng(seed)
    halves = np.array_split(np.arange(len(dataset)), 2)
    fitting, reading = (_rows(dataset, half, num_frames // 2, rng) for half in halves)
    latents = encode_frames(loaded.model, dataset, fitting)
    truth = _states(dataset, fitting)
    probes = {kind: fit_probe(kind, latents, truth, seed=seed) for kind in kinds}
    names = observation_names(loaded.task_id)
    encoded = encode_frames(loaded.model, dataset, reading)
    parts = [_score_probes(probes, 0, encoded, _states(dataset, reading), names)]
    if steps:
        windows = draw_windows(
            loaded,
            dataset,
            num_steps=max(steps),
            num_windows=num_windows,
            episodes=halves[1],
            rng=rng,
        )
        imagined = imagine(loaded.model, windows)
        for step in steps:
            truth = _states(dataset, windows.rows(step))
            parts.append(_score_probes(probes, step, imagined[:, step - 1], truth, names))
    return pd.concat(parts, ignore_index=True)


def check_dataset(loaded: LoadedWorldModel, dataset: EpisodeDataset) -> None:
    """Check that a dataset fits a world model and has enough episodes to split.

    Raises:
        ProbingError: The dataset is of another task, does not have the observation of the model, or
            has fewer than ``FEWEST_EPISODES`` episodes.
    """
    if dataset.manifest.task_id != loaded.task_id:
        raise ProbingError(
            f"The world model is of {loaded.task_id}, the dataset of {dataset.manifest.task_id}. "
            "Use a dataset of the same task."
        )
    if loaded.model.observation_key not in dataset.fields:
        raise ProbingError(
            f"The world model observes {loaded.model.observation_key!r}, which {dataset.path} does "
            f"not have; it has {', '.join(dataset.fields)}. Collect it again with --pixels 64."
        )
    if len(dataset) < FEWEST_EPISODES:
        raise ProbingError(
            f"{dataset.path} has {len(dataset)} episodes; at least {FEWEST_EPISODES} are needed."
        )


def _rows(
    dataset: EpisodeDataset, episodes: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    rows = np.arange(int((dataset.lengths + 1).sum()))
    rows = rows[np.isin(find_episodes(dataset, rows), episodes)]
    return np.sort(rng.permutation(rows)[:count])


def _states(dataset: EpisodeDataset, rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.asarray(dataset.field("observation")[rows], np.float32))


def _score_probes(
    probes: dict[str, Probe], step: int, latents: Tensor, truth: Tensor, names: Sequence[str]
) -> pd.DataFrame:
    parts = []
    for kind, probe in probes.items():
        with torch.no_grad():
            scores = score(probe(latents.flatten(1).float()), truth)
        parts.append(
            pd.DataFrame(
                {
                    "quantity": list(names),
                    "probe": kind,
                    "step": step,
                    "r2": scores.r2,
                    "r": scores.r,
                    "frames": len(truth),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)

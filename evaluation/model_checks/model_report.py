"""Report on a world model for a submission: probe, surprise, planning gate, imagined episodes.

``jepabench.evaluation.submissions.diagnostics`` defines the format. All random draws have fixed
seeds, so that the report can be measured again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.evaluation.model_checks.gate import gate_statement
from jepabench.evaluation.model_checks.probing import probe_table
from jepabench.evaluation.model_checks.surprise import record_clips, surprise_table
from jepabench.evaluation.submissions.diagnostics import Frames, frames_name
from jepabench.world_models.base import Context, rollout
from jepabench.world_models.checkpoint import (
    LoadedWorldModel,
    build_untrained,
    load_world_model,
)

NUM_STEPS = 8  # imagined steps, unless the episode is shorter
_NUM_EPISODES, _NUM_UNTRAINED = 100, 3  # for surprise, as in `jepabench surprise`

Episodes = Sequence[tuple[EpisodeSpec, NDArray[np.float32]]]


def world_report(
    folder: Path,
    held_out: EpisodeDataset,
    episodes: Episodes,
    *,
    pixels: int,
    training_seed: int,
    num_episodes: int = _NUM_EPISODES,
    num_starts: int = 10,
) -> tuple[dict[str, Any], dict[str, Frames]]:
    """Return a ``WorldReport`` as JSON values, and the imagined frames.

    The keys of the frames are their names in ``imagined.npz``.

    Args:
        folder: Folder of the world model.
        held_out: Episodes of its task that it was not trained on. The probe is fitted on one half
            and scored on the other.
        episodes: Specs and control actions [T, A] of episodes whose beginnings are imagined.
        pixels: Side of the frames.
        training_seed: Training seed of the model.
        num_episodes: Episodes with and without each event.
        num_starts: Starts of the planning gate's random plans.
    """
    loaded = load_world_model(folder)
    probe = probe_table(loaded, held_out, steps=(), kinds=("linear",))
    clips = record_clips(
        loaded.task_id,
        observation_key=loaded.model.observation_key,
        known=loaded.model.history,
        num_episodes=num_episodes,
        pixels=pixels,
    )
    untrained = [build_untrained(folder, seed=seed) for seed in range(_NUM_UNTRAINED)]
    surprise = surprise_table(loaded, clips, untrained=untrained)
    imagined = {}
    for spec, actions in episodes:
        frames = imagine_beginning(loaded, spec, actions, pixels=pixels)
        if frames is not None:
            imagined[spec.stratum, spec.index] = frames
    report = {
        "task_id": loaded.task_id,
        "training_seed": training_seed,
        "frames": int(probe["frames"].to_numpy().max()),
        "probe": _rows(probe, ("quantity", "r2", "r")),
        "surprise": _rows(
            surprise, ("event", "kind", "auroc", "low", "high", "untrained", "pairs")
        ),
        "imagined": [
            {
                "stratum": stratum,
                "index": index,
                "known": loaded.model.history,
                "steps": len(frames) - 1,
            }
            for (stratum, index), frames in imagined.items()
        ],
        "gate": gate_statement(loaded, held_out, pixels=pixels, num_starts=num_starts),
    }
    return report, {frames_name(loaded.task_id, *key): frames for key, frames in imagined.items()}


def imagine_beginning(
    loaded: LoadedWorldModel, spec: EpisodeSpec, actions: NDArray[np.float32], *, pixels: int
) -> Frames | None:
    """Return the last of the K context frames of an episode and the frames imagined after it.

    The model imagines with the actions that followed in the episode.

    Args:
        loaded: A world model of the task.
        spec: The episode.
        actions: The control actions of the episode [T, A].
        pixels: Side of the frames.

    Returns:
        Decoded frames, uint8 [1 + H, s, s, 3]. None if the model has no decoder, the episode is too
        short, or its actions are not held for as many control steps as the model assumes.
    """
    task, known = get_task(spec.task_id), loaded.model.history
    blocks = min(known - 1 + NUM_STEPS, len(actions) // task.action_block)
    held = actions[: blocks * task.action_block].reshape(
        blocks, task.actions_per_block, task.hold_steps, -1
    )
    if loaded.decoder is None or blocks < known or (held != held[:, :, :1]).any():
        return None
    with closing(make(task.id, pixels=pixels)) as env:
        observation, _ = reset_to(env, spec)
        seen = [observation["pixels"]]
        for block in range(known - 1):
            observation, *_ = env.advance(held[block].reshape(task.action_block, -1))
            seen.append(observation["pixels"])
    with torch.inference_mode():
        latents = loaded.model.encode(torch.from_numpy(np.stack(seen)))
        plan = loaded.scale.normalise(torch.from_numpy(held[:, :, 0].reshape(1, blocks, -1)))
        context = Context(latents[None], plan[:, : known - 1])
        future = rollout(loaded.model, context, plan[:, None, known - 1 :])[0, 0]
        return loaded.decoder.paint(torch.cat([latents[-1:], future]))


def _rows(table: Any, names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return rows as JSON values: numbers have four decimals, and NaN and infinity are null."""
    rows = table[list(names)].to_dict("records")
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value

"""Does a model notice the impossible, and does it not mind the harmless? A test by violation of expectation.

Surprise is the prediction error of one model step. Each episode is run once undisturbed; then the world is put back to a
moment of it, an event happens between two steps (``jepabench.envs.variations.events``), and the same actions follow. So every disturbed step
has an undisturbed one that differs in nothing else, and a model that is surprised by all that moves fast gains nothing.
An untrained network of the same make is the null: what the pixels alone give away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.envs.task import TaskSpec
from jepabench.envs.variations.events import EVENTS, EventError, inject, list_events
from jepabench.evaluation.model_checks.diagnosis import start_specs
from jepabench.world_models.base import WorldModel
from jepabench.world_models.checkpoint import LoadedWorldModel

UNDISTURBED = "undisturbed"
_MIN_STD = 1e-6


@dataclass(frozen=True, slots=True)
class Clip:
    """What is seen of an episode around an event, which happens in the model step after frame K-1.

    Attributes:
        observations: of the model's observation key, K known frames and those after [K+F, ...].
        actions: model-step actions between them, environment units [K+F-1, n * A].
    """

    observations: NDArray[np.generic]
    actions: NDArray[np.float32]


@dataclass(slots=True)
class Clips:
    """Clips by event, and the undisturbed clip that each belongs to.

    Attributes:
        undisturbed: one an episode, in the order of the episodes.
        disturbed: by event, pairs of the number of the undisturbed clip and the clip.
        impossible_here: by event, episodes in which it could not happen at that moment, or nothing came of it.
    """

    undisturbed: list[Clip] = field(default_factory=list)
    disturbed: dict[str, list[tuple[int, Clip]]] = field(default_factory=dict)
    impossible_here: dict[str, int] = field(default_factory=dict)


def record_clips(
    task_id: str,
    *,
    observation_key: str,
    known: int,
    num_episodes: int,
    events: Sequence[str] | None = None,
    num_after: int = 2,
    behaviour: str | None = None,
    split: str = "test",
    pixels: int = 64,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Clips:
    """Runs episodes with and without events.

    Args:
        task_id: the task.
        observation_key: what the model looks at.
        known: frames of context K that it has.
        num_episodes: episodes, all strata in turn.
        events: names; all that can happen in this world by default.
        num_after: frames after the event, 1 or more.
        behaviour: that acts; the default one of the task by default.
        split: where the episodes are from.
        pixels: side of the frames.
        seed: of the moments, and of what the events leave open.
        progress: called with 1 after each episode.

    Raises:
        UnknownNameError: no such task, event or behaviour.
    """
    task = get_task(task_id)
    possible = [event.name for event in list_events(task.id)]
    for name in events or ():
        if name not in possible:
            raise unknown_name(f"event of {task.id}", name, possible)
    names = list(events) if events is not None else possible
    clips = Clips(disturbed={name: [] for name in names}, impossible_here=dict.fromkeys(names, 0))
    world = _World(task, observation_key, pixels)
    for number, spec in enumerate(start_specs(task.id, split, num_episodes)):
        rng = np.random.default_rng([seed, spec.planner_seed])
        clips.undisturbed.append(
            world.begin(spec, behaviour, rng, known=known, num_after=num_after)
        )
        for name in names:
            clip = world.disturbed(name, rng)
            if clip is None:
                clips.impossible_here[name] += 1
            else:
                clips.disturbed[name].append((number, clip))
        if progress:
            progress(1)
    return clips


class _World:
    """One world at the rate of the model, and the moment of the present episode at which events happen."""

    def __init__(self, task: TaskSpec, observation_key: str, pixels: int) -> None:
        self.task, self.key = task, observation_key
        self.env = make(task.id, pixels=pixels if observation_key == "pixels" else None)

    def begin(
        self,
        spec: EpisodeSpec,
        behaviour: str | None,
        rng: np.random.Generator,
        *,
        known: int,
        num_after: int,
    ) -> Clip:
        observation, _ = reset_to(self.env, spec)
        acting = make_behaviour(self.task, behaviour).deciding
        acting.reset(self.env, np.random.default_rng(spec.planner_seed))
        moment = known - 1 + int(rng.integers(4))
        frames, actions = [observation[self.key]], []
        for step in range(moment + num_after):
            if step == moment:
                self.state, self.rest = self.env.snapshot(), []
            block = []
            for number in range(1, self.task.actions_per_block + 1):
                block.append(np.asarray(acting.act(observation), np.float32))
                held = block[-1][None].repeat(self.task.hold_steps, axis=0)
                observation, *_ = self.env.advance(
                    held, pixels=number == self.task.actions_per_block
                )
            frames.append(observation[self.key])
            actions.append(np.concatenate(block))
            if step >= moment:
                self.rest.append(np.stack(block).repeat(self.task.hold_steps, axis=0))
        start = moment - known + 1
        self.past = frames[start : moment + 1]
        self.clip = Clip(np.stack(frames[start:]), np.stack(actions[start:]))
        return self.clip

    def disturbed(self, event: str, rng: np.random.Generator) -> Clip | None:
        """The same clip with an event; None if it can not happen now, or changes nothing that is seen."""
        self.env.restore(self.state)
        try:
            inject(self.env, event, rng)
        except EventError:
            return None
        frames = list(self.past)
        for control in self.rest:
            observation, *_ = self.env.advance(control)
            frames.append(observation[self.key])
        seen = np.stack(frames)
        if np.array_equal(seen[len(self.past)], self.clip.observations[len(self.past)]):
            return None
        return Clip(seen, self.clip.actions)


@torch.inference_mode()
def prediction_errors(
    loaded: LoadedWorldModel, clips: Sequence[Clip], *, batch_size: int = 256
) -> Tensor:
    """Returns the error of each predicted latent after the known frames, in each of its numbers [N, F, D]."""
    model: WorldModel = loaded.model
    parts = []
    for first in range(0, len(clips), batch_size):
        chunk = clips[first : first + batch_size]
        frames = torch.from_numpy(np.stack([clip.observations for clip in chunk]))
        frames = frames if frames.dtype == torch.uint8 else frames.float()
        actions = loaded.scale.normalise(
            torch.from_numpy(np.stack([clip.actions for clip in chunk]))
        )
        latents = model.encode(frames.flatten(0, 1))
        latents = latents.view(*frames.shape[:2], *latents.shape[1:])
        known = model.history
        predicted = torch.stack(
            [
                model.predict(latents[:, step - known : step], actions[:, step - known : step])
                for step in range(known, latents.shape[1])
            ],
            dim=1,
        )
        parts.append((predicted - latents[:, known:]).flatten(2))
    return torch.cat(parts)


def surprises(loaded: LoadedWorldModel, clips: Clips) -> dict[str, NDArray[np.float64]]:
    """Returns the surprise at the event: by event [N] that of the disturbed clips, under ``undisturbed`` that of all others [E].

    Calibrated: every number of the latent counts in units of its usual error, which is that of the undisturbed clips.
    """
    usual = prediction_errors(loaded, clips.undisturbed)
    spread = usual.flatten(0, 1).square().mean(0).sqrt().clamp_min(_MIN_STD)
    found = {UNDISTURBED: (usual[:, 0] / spread).square().mean(1).double().numpy()}
    for name, pairs in clips.disturbed.items():
        if pairs:
            errors = prediction_errors(loaded, [clip for _, clip in pairs])
            found[name] = (errors[:, 0] / spread).square().mean(1).double().numpy()
    return found


def auroc(disturbed: NDArray[np.float64], undisturbed: NDArray[np.float64]) -> float:
    """Returns how likely a disturbed step surprises more than an undisturbed one; a tie is half."""
    ranks = rankdata(np.concatenate([disturbed, undisturbed]))
    count, others = len(disturbed), len(undisturbed)
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * others))


def surprise_table(
    loaded: LoadedWorldModel,
    clips: Clips,
    *,
    untrained: Sequence[LoadedWorldModel] = (),
    rng: np.random.Generator,
    num_resamples: int = 1000,
) -> pd.DataFrame:
    """Returns a row an event.

    Columns: ``event``; ``kind``, ``impossible`` or ``harmless``; ``auroc`` of disturbed against their undisturbed steps, with
    ``low`` and ``high`` (95 %, bootstrap over episodes); ``higher``, the share of pairs in which the disturbed step surprises
    more; ``untrained``, the mean AUROC of networks that learned nothing; ``pairs``; and ``left_out``, episodes in which the
    event could not happen at that moment or changed nothing that is seen.
    """
    kinds = {event.name: "harmless" if event.harmless else "impossible" for event in EVENTS}
    ours = surprises(loaded, clips)
    nulls = [surprises(null, clips) for null in untrained]
    rows = []
    for name, pairs in clips.disturbed.items():
        row: dict[str, object] = {"event": name, "kind": kinds[name]}
        numbers = np.array([number for number, _ in pairs], np.int64)
        row |= (
            _row(ours, name, numbers, rng, num_resamples)
            if pairs
            else dict.fromkeys(_COLUMNS, np.nan)
        )
        row["untrained"] = (
            float(np.mean([auroc(null[name], null[UNDISTURBED][numbers]) for null in nulls]))
            if nulls and pairs
            else np.nan
        )
        rows.append(row | {"pairs": len(pairs), "left_out": clips.impossible_here[name]})
    return pd.DataFrame(rows)


_COLUMNS = ("auroc", "low", "high", "higher")


def _row(
    found: Mapping[str, NDArray[np.float64]],
    name: str,
    numbers: NDArray[np.int64],
    rng: np.random.Generator,
    count: int,
) -> dict[str, float]:
    disturbed, undisturbed = found[name], found[UNDISTURBED][numbers]
    drawn = rng.integers(len(numbers), size=(count, len(numbers)))
    low, high = np.quantile(
        [auroc(disturbed[rows], undisturbed[rows]) for rows in drawn], (0.025, 0.975)
    )
    return {
        "auroc": auroc(disturbed, undisturbed),
        "low": float(low),
        "high": float(high),
        "higher": float((disturbed > undisturbed).mean()),
    }

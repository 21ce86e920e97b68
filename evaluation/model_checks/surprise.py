"""Violation-of-expectation test: is a model surprised by impossible but not by harmless events?

Surprise is the prediction error of one model step. Each episode is run once undisturbed. The world
is then restored to an earlier state, an event happens between two steps
(``jepabench.envs.variations.events``), and the same actions follow. Every disturbed step therefore
has an undisturbed one that differs only in the event, and a model gains nothing by being surprised
by every fast motion. An untrained network of the same architecture is the baseline: it shows what
the pixels alone reveal.
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
from jepabench.evaluation.statistics.aggregates import improvement_interval
from jepabench.world_models.base import WorldModel
from jepabench.world_models.checkpoint import LoadedWorldModel

UNDISTURBED = "undisturbed"
_MIN_STD = 1e-6


@dataclass(frozen=True, slots=True)
class Clip:
    """Observations and actions around an event, which happens in the model step after frame K-1.

    Attributes:
        observations: K context frames and F later ones [K+F, ...], as the model observes them.
        actions: Model-step actions between them [K+F-1, n * A], environment units.
    """

    observations: NDArray[np.generic]
    actions: NDArray[np.float32]


@dataclass(slots=True)
class Clips:
    """Clips by event, and the undisturbed clip of each.

    Attributes:
        undisturbed: One clip per episode, in the order of the episodes.
        disturbed: For each event, pairs of the number of the undisturbed clip and the clip.
        impossible_here: For each event, the number of episodes in which it could not happen or
            changed no observation.
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
    """Run episodes with and without events.

    Args:
        task_id: The task.
        observation_key: Observation of the model.
        known: Number of context frames K.
        num_episodes: Number of episodes; the strata alternate.
        events: Names; by default all events that are possible in this world.
        num_after: Frames after the event, 1 or more.
        behaviour: Acts in the episodes; by default that of the task.
        split: Split of the episodes.
        pixels: Side of the frames.
        seed: Seed of the times of the events and of their free parameters.
        progress: Called with 1 after each episode.

    Raises:
        UnknownNameError: No such task, event or behaviour.
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
    """A world at the rate of the model, and the state of its episode in which events happen."""

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
        """Return the clip with an event; None if it cannot happen now or changes no observation."""
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
    """Return the errors [N, F, D] of the predicted latents after the context frames."""
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
    """Return the surprise at the event.

    The value of each event is the surprise of its N disturbed clips [N]; the value of
    ``undisturbed`` is that of the E undisturbed clips [E]. Surprise is the mean squared error over
    the latent dimensions, each in units of its RMS error on the undisturbed clips.
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
    """Return the probability that a disturbed step is the more surprising one; ties count half."""
    ranks = rankdata(np.concatenate([disturbed, undisturbed]))
    count, others = len(disturbed), len(undisturbed)
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * others))


def surprise_table(
    loaded: LoadedWorldModel,
    clips: Clips,
    *,
    untrained: Sequence[LoadedWorldModel] = (),
) -> pd.DataFrame:
    """Return one row per event.

    Columns:
        ``event``; ``kind``: ``impossible`` or ``harmless``.
        ``auroc`` of disturbed against undisturbed steps, with ``low`` and ``high`` (95 %, over
        episodes, ``improvement_interval``: never of zero width).
        ``higher``: share of pairs in which the disturbed step is the more surprising one.
        ``untrained``: mean AUROC of the untrained networks.
        ``pairs``: number of pairs; ``left_out``: number of episodes in which the event could not
        happen or changed no observation.
    """
    kinds = {event.name: "harmless" if event.harmless else "impossible" for event in EVENTS}
    ours = surprises(loaded, clips)
    nulls = [surprises(null, clips) for null in untrained]
    rows = []
    for name, pairs in clips.disturbed.items():
        row: dict[str, object] = {"event": name, "kind": kinds[name]}
        numbers = np.array([number for number, _ in pairs], np.int64)
        row |= _row(ours, name, numbers) if pairs else dict.fromkeys(_COLUMNS, np.nan)
        row["untrained"] = (
            float(np.mean([auroc(null[name], null[UNDISTURBED][numbers]) for null in nulls]))
            if nulls and pairs
            else np.nan
        )
        rows.append(row | {"pairs": len(pairs), "left_out": clips.impossible_here[name]})
    return pd.DataFrame(rows)


_COLUMNS = ("auroc", "low", "high", "higher")


def _row(
    found: Mapping[str, NDArray[np.float64]], name: str, numbers: NDArray[np.int64]
) -> dict[str, float]:
    disturbed, undisturbed = found[name], found[UNDISTURBED][numbers]
    # AUROC is the probability that a disturbed step surprises more, with a step for a run.
    interval = improvement_interval(disturbed[:, None], undisturbed[:, None])
    return {
        "auroc": auroc(disturbed, undisturbed),
        "low": interval.low,
        "high": interval.high,
        "higher": float((disturbed > undisturbed).mean()),
    }

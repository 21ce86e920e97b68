"""The evaluation loop. An agent sees only the observations that it declares, never the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from jepabench.agents.base import Agent
from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.errors import InvalidActionError, unknown_name
from jepabench.envs.registry import make
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.evaluation.agent_outputs import (
    AgentError,
    check_actions,
    check_imagination,
    check_model_steps,
)
from jepabench.evaluation.records import EpisodeRecord, Outcome
from jepabench.evaluation.traces import (
    Evaluation,
    Imagination,
    episode_name,
    load_evaluation,
    save_evaluation,
)

__all__ = [
    "AgentError",
    "Evaluation",
    "Imagination",
    "Imagines",
    "PlansInBatches",
    "ReplayError",
    "compute_outcome",
    "evaluate_episodes",
    "load_evaluation",
    "replay",
    "save_evaluation",
]


class ReplayError(ValueError):
    """An action trace does not fit its episode."""


@runtime_checkable
class Imagines(Protocol):
    """An agent that provides its imagined frames."""

    def imagined(self, episode: int) -> tuple[NDArray[Any], NDArray[np.uint8]] | None:
        """Return the ``Imagination`` of row ``episode`` of the last batch, or None without one."""
        ...


@runtime_checkable
class PlansInBatches(Protocol):
    """An agent that plans for several episodes at once.

    Attributes:
        problems_at_once: Largest number of episodes in one batch.
    """

    problems_at_once: int


def evaluate_episodes(
    agent: Agent,
    specs: Sequence[EpisodeSpec],
    *,
    agent_name: str,
    training_seed: int = 0,
    batch_size: int | None = None,
    pixels: int = 64,
    variation: Any = None,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Run an agent in episodes of one task and record the outcomes.

    The world continues after a success until the budget of the episode is used. The outcome of an
    episode does not depend on ``batch_size``. Its planning time does: it is the time of the batch
    divided by the number of active episodes.

    Args:
        agent: Receives only its ``observation_keys``.
        specs: The episodes.
        agent_name: Name in the records.
        training_seed: Seed that the agent was trained with.
        batch_size: Episodes that run in parallel; by default as many as the agent plans in one
            batch (``PlansInBatches``), otherwise 1.
        pixels: Side of the frames, if the agent observes frames.
        variation: Change of the world (``jepabench.envs.variations``); start and goal stay.
        progress: Called with 1 after every episode, for instance ``tqdm.update``.

    Raises:
        AgentError: Actions or model steps of the wrong shape, not finite, or out of bounds.
        UnknownNameError: An observation key that the world does not have.
        ValueError: No specs, several tasks, a repeated episode, or a batch size below 1.
    """
    if batch_size is None:
        batch_size = agent.problems_at_once if isinstance(agent, PlansInBatches) else 1
    _check_specs(specs, batch_size)
    keys = tuple(agent.observation_keys)
    size = pixels if {"pixels", "goal_pixels"} & set(keys) else None
    envs = [make(specs[0].task_id, pixels=size) for _ in range(min(batch_size, len(specs)))]
    try:
        _check_keys(keys, envs[0].observation_space.spaces, agent_name)
        episodes: list[_Episode] = []
        for start in range(0, len(specs), batch_size):
            batch = [
                _Episode(env, spec, variation)
                for env, spec in zip(envs, specs[start : start + batch_size], strict=False)
            ]
            _run(agent, agent_name, batch, keys, progress)
            episodes += batch
    finally:
        for env in envs:
            env.close()
    return Evaluation(
        tuple(episode.record(agent_name, training_seed) for episode in episodes),
        {episode.name: np.stack(episode.actions) for episode in episodes},
        {one.name: one.imagination for one in episodes if one.imagination is not None},
    )


def _check_keys(keys: Iterable[str], known: Iterable[str], agent_name: str) -> None:
    """Check that a world has all observations of an agent.

    Raises:
        UnknownNameError: An observation key that the world does not have.
    """
    for key in keys:
        if key not in known:
            raise unknown_name(f"observation key of {agent_name}", key, known)


def replay(
    spec: EpisodeSpec,
    actions: NDArray[np.float32],
    *,
    visit: Callable[[GoalEnv], object] | None = None,
    env: GoalEnv | None = None,
) -> Outcome:
    """Run the action trace [T, A] of an episode in the simulator and return its outcome.

    Args:
        spec: The episode.
        actions: One row per control step, for the whole budget.
        visit: Called with the world at the start and after every step, for instance to draw it.
        env: A world of the task; by default a new one is made.

    Raises:
        ReplayError: The trace is not as long as the budget, or the world refuses an action.
    """
    lent, env = env, env or make(spec.task_id)
    try:
        episode = _Episode(env, spec)
        episode.begin()
        if len(actions) != env.budget:
            raise ReplayError(
                f"{spec.key}: the budget is {env.budget} control steps, "
                f"the trace has {len(actions)}."
            )
        if visit:
            visit(env)
        for step, action in enumerate(np.asarray(actions, dtype=np.float32), start=1):
            try:
                episode.step(action)
            except InvalidActionError as error:
                raise ReplayError(f"{spec.key}, step {step}: {error}") from error
            if visit:
                visit(env)
        return episode.outcome()
    finally:
        if lent is None:
            env.close()


@dataclass(slots=True)
class _Episode:
    """An episode during its run. The next batch uses the same world."""

    env: GoalEnv
    spec: EpisodeSpec
    variation: Any = None
    observation: Observation = field(default_factory=dict)
    reference_steps: int = 0
    distances: list[float] = field(default_factory=list)
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    successes: list[bool] = field(default_factory=list)
    joint: list[bool] = field(default_factory=list)
    strict: list[bool] = field(default_factory=list)
    violations: int = 0
    return_: float = 0.0
    model_steps: int = 0
    active: bool = True
    imagination: Imagination | None = None

    @property
    def name(self) -> str:
        return episode_name(self.spec.stratum, self.spec.index)

    def begin(self) -> None:
        self.observation, info = reset_to(self.env, self.spec, variation=self.variation)
        self.reference_steps = int(info["reference_steps"])
        self.distances.append(float(info["distance"]))

    def step(self, action: NDArray[np.float32], seconds: float = 0.0) -> None:
        action = action.copy()  # the agent may reuse its buffer
        self.observation, reward, _, truncated, info = self.env.step(action)
        self.actions.append(action)
        self.seconds.append(seconds)
        self.successes.append(bool(info["is_success"]))
        self.joint.append(bool(info.get("success_joint", info["is_success"])))
        self.strict.append(bool(info.get("success_strict", info["is_success"])))
        self.distances.append(float(info["distance"]))
        self.violations += bool(info["violation"])
        self.return_ += reward
        self.active = not truncated

    def outcome(self) -> Outcome:
        return compute_outcome(
            np.array(self.successes),
            np.array(self.joint),
            np.array(self.strict),
            np.array(self.distances),
            held_steps=self.env.task.held_steps,
            reference_steps=self.reference_steps,
            violations=self.violations,
            return_=self.return_,
        )

    def record(self, agent_name: str, training_seed: int) -> EpisodeRecord:
        milliseconds = 1000 * np.array(self.seconds)
        return EpisodeRecord(
            agent=agent_name,
            training_seed=training_seed,
            task_id=self.spec.task_id,
            split=self.spec.split,
            stratum=self.spec.stratum,
            index=self.spec.index,
            **asdict(self.outcome()),
            planning_seconds=sum(self.seconds),
            planning_ms_median=float(np.median(milliseconds)),
            planning_ms_p95=float(np.quantile(milliseconds, 0.95)),
            model_steps=self.model_steps,
        )


def compute_outcome(
    successes: NDArray[np.bool_],
    joint: NDArray[np.bool_],
    strict: NDArray[np.bool_],
    distances: NDArray[np.float64],
    *,
    held_steps: int,
    reference_steps: int,
    violations: int,
    return_: float,
) -> Outcome:
    """Return the outcome of T control steps.

    ``successes``, ``joint`` and ``strict`` say whether each rule is satisfied after each step [T].
    ``distances`` to the goal begin at the start [T + 1].
    """
    return Outcome(
        success_ever=bool(successes.any()),
        success_final=bool(successes[-1]),
        success_held=_is_held(successes, held_steps),
        joint_ever=bool(joint.any()),
        strict_held=_is_held(strict, held_steps),
        distance_start=float(distances[0]),
        distance_final=float(distances[-1]),
        distance_min=float(distances.min()),
        steps=len(successes),
        reference_steps=reference_steps,
        first_success_step=int(successes.argmax()) + 1 if successes.any() else -1,
        violations=violations,
        return_=return_,
    )


def _is_held(flags: NDArray[np.bool_], num_steps: int) -> bool:
    """Return whether flags [T] are true ``num_steps`` times in a row."""
    return bool((np.convolve(flags, np.ones(num_steps, dtype=np.int64)) == num_steps).any())


def _run(
    agent: Agent,
    agent_name: str,
    batch: Sequence[_Episode],
    keys: Sequence[str],
    progress: Callable[[int], object] | None,
) -> None:
    agent.reset([episode.spec for episode in batch])
    for episode in batch:
        episode.begin()
    source = f"Agent {agent_name!r}, {_names(batch)}"
    shape = (len(batch), *batch[0].env.action_space.shape)
    while any(episode.active for episode in batch):
        rows = [row for row, episode in enumerate(batch) if episode.active]
        active = np.array([episode.active for episode in batch])
        # Stacking copies, so an agent that writes into its observations does not change the world.
        observations = {
            key: np.stack([episode.observation[key] for episode in batch]) for key in keys
        }
        began = perf_counter()
        actions = agent.act(observations, active.copy())
        seconds = (perf_counter() - began) / len(rows)
        actions = check_actions(actions, shape, source)
        for row in rows:
            _step(batch[row], actions[row], seconds, agent_name)
        ended = [row for row in rows if not batch[row].active]
        if ended:
            spent = check_model_steps(agent.model_steps, len(batch), source)
            for row in ended:
                batch[row].model_steps = int(spent[row])
                if progress:
                    progress(1)
    if isinstance(agent, Imagines):
        for row, episode in enumerate(batch):
            source = f"Agent {agent_name!r} in episode {episode.spec.key}"
            episode.imagination = check_imagination(agent.imagined(row), source)


def _step(episode: _Episode, action: NDArray[np.float32], seconds: float, agent_name: str) -> None:
    try:
        episode.step(action, seconds)
    except InvalidActionError as error:
        step = len(episode.actions) + 1
        raise AgentError(
            f"Agent {agent_name!r} in episode {episode.spec.key}, step {step}: {error}"
        ) from error


def _names(batch: Sequence[_Episode]) -> str:
    first = batch[0].spec.key
    return f"episode {first}" if len(batch) == 1 else f"episodes {first} and {len(batch) - 1} more"


def _check_specs(specs: Sequence[EpisodeSpec], batch_size: int) -> None:
    if not specs:
        raise ValueError("There are no episodes to evaluate: specs is empty.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    groups = sorted({(spec.task_id, spec.split) for spec in specs})
    if len(groups) > 1:
        raise ValueError(f"All episodes must have the same task and split, got {groups}.")
    if len({spec.key for spec in specs}) < len(specs):
        raise ValueError("specs contains a duplicate episode; list every episode once.")

"""Result rows: one for each episode. Aggregates are always computed from them, never stored in their place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecord:
    """One episode of one agent.

    Attributes:
        agent: name of the agent's configuration.
        training_seed: seed that the agent was trained with (0 for agents without training).
        task_id, split, stratum, index: the episode's spec.
        success_ever, success_final, success_held: PROTOCOL 2; ``success_held`` is the headline.
        distance_start, distance_final, distance_min: to the goal, task units.
        steps: control steps taken (the whole budget).
        reference_steps: control steps of a good solution.
        first_success_step: control step of the first success, -1 if never.
        violations: control steps in which a keep-out rule was broken.
        planning_seconds: time spent in ``act`` over the episode [s].
        planning_ms_median, planning_ms_p95: over the episode's control steps [ms].
        model_steps: world-model or simulator steps spent in the episode.
        return_: sum of sparse rewards.
    """

    agent: str
    training_seed: int
    task_id: str
    split: str
    stratum: str
    index: int
    success_ever: bool
    success_final: bool
    success_held: bool
    distance_start: float
    distance_final: float
    distance_min: float
    steps: int
    reference_steps: int
    first_success_step: int
    violations: int
    planning_seconds: float
    planning_ms_median: float
    planning_ms_p95: float
    model_steps: int
    return_: float

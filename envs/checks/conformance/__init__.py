"""The checks, by subject, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jepabench.envs.checks.conformance import (
    actions,
    behaviours,
    changes,
    determinism,
    difficulty,
    episodes,
    goals,
    images,
    interface,
    observations,
    physics,
)
from jepabench.envs.checks.subject import Subject

_START_LIMIT, _LIMIT = 60.0, 300.0  # [s]


@dataclass(frozen=True, slots=True)
class Conformance:
    """One check.

    Attributes:
        name: Name on the card.
        function: Returns what it found; raises ``CheckFailed`` or whatever the environment raises.
        advice: How to fix a failure, unless the failure has its own advice.
        time_limit: Time that the check may take [s].
    """

    name: str
    function: Callable[[Subject], str]
    advice: str
    time_limit: float = _LIMIT


CHECKS: tuple[Conformance, ...] = (
    Conformance(
        "starts",
        interface.check_starts,
        "Make it with envs.make(task_id) and reset it in each stratum; see GoalEnv.",
        _START_LIMIT,
    ),
    Conformance(
        "Gymnasium", interface.check_gymnasium, "See gymnasium.utils.env_checker.check_env."
    ),
    Conformance(
        "Stable-Baselines3",
        interface.check_stable_baselines,
        "See stable_baselines3.common.env_checker.check_env.",
    ),
    Conformance(
        "values",
        observations.check_values,
        "Return finite float64 arrays of the declared sizes; look for an unstable step.",
    ),
    Conformance(
        "copies",
        observations.check_copies,
        "Return a copy, for example `self.simulation.data.qpos[:2].copy()`.",
    ),
    Conformance(
        "goal not observed",
        observations.check_goal_is_hidden,
        "Put the goal into desired_goal only. Hindsight relabelling changes nothing else, so a "
        "goal anywhere else contradicts the relabelled one.",
    ),
    Conformance(
        "a seed fixes an episode",
        determinism.check_seeds,
        "Draw from the rng of _draw_episode only, and keep nothing between episodes.",
    ),
    Conformance(
        "long use",
        determinism.check_long_use,
        "Keep nothing between episodes; reset counters, lists and caches in _set_physics.",
    ),
    Conformance(
        "instances",
        determinism.check_instances,
        "Keep state in the instance, not in the class, the module or a shared model.",
    ),
    Conformance(
        "processes",
        determinism.check_processes,
        "Do not depend on hash(), set order, time or global state, and be importable.",
    ),
    Conformance(
        "snapshots",
        determinism.check_snapshots,
        "Let _get_physics and _set_physics cover all that the next step and frame need.",
    ),
    Conformance(
        "rewards",
        goals.check_rewards,
        "Compute distance and is_success over the last axis, from the two goals alone.",
    ),
    Conformance("step", goals.check_step, "Do not override step(); implement _step_physics."),
    Conformance(
        "imagined goals",
        goals.check_imagined_goals,
        "Make imagine_goals return what stepping returns, and leave the environment unchanged.",
    ),
    Conformance("invalid actions", actions.check_invalid, "Leave step() and advance() to GoalEnv."),
    Conformance(
        "action dimensions",
        actions.check_dimensions,
        "Connect every entry of the action to an actuator, or shrink the action space.",
    ),
    Conformance(
        "simulated time",
        physics.check_time,
        "Make control_dt equal to the physics time step times the number of substeps.",
    ),
    Conformance(
        "stability",
        physics.check_stability,
        "Shorten the time step, add damping or armature, or limit forces and joint ranges.",
    ),
    Conformance(
        "images",
        images.check_images,
        "Draw everything that the goal is about; _frame must not change the environment.",
    ),
    Conformance(
        "variations",
        changes.check_variations,
        "Let `apply` depend on the value alone; apply(default) must restore the original.",
    ),
    Conformance(
        "events",
        changes.check_events,
        "Let set_motion change nothing but the motion, and let _get_physics cover the motion.",
    ),
    Conformance(
        "episodes",
        episodes.check_draws,
        "Use `stratum` and `rng` in _draw_episode, and count reference_steps in control steps.",
        3600.0,
    ),
    Conformance(
        "splits",
        episodes.check_splits,
        "Draw start and goal from continuous ranges, and layouts from sets that differ by split.",
        3600.0,
    ),
    Conformance(
        "behaviours",
        behaviours.check_behaviours,
        "Draw from the rng given to reset() only, and reset all state there.",
    ),
    Conformance(
        "difficulty",
        difficulty.check_difficulty,
        "Change the expert, the budget (reference_steps) or the strata.",
        3600.0,
    ),
    Conformance("speed", difficulty.measure_speed, "Let the environment run for a whole trace."),
)

"""Measure how fast a submission is replayed on one core.

Run ``python benchmarks/verification.py [TASK ...] [--episodes 100]``. Rates are per second of
processor time, so other work on the machine has little effect. The traces are uniform actions held
for one block, in every stratum. The last line is the replay time of a submission with 100 episodes
per stratum and 3 training seeds on all of these tasks.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from jepabench import envs
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.splits import EpisodeSpec, episode_specs, reset_to
from jepabench.evaluation.rollout import replay
from jepabench.evaluation.verification.replay import quick_outcome

CORE = (
    "TwoRoom",
    "PointMaze-UMaze",
    "PointMaze-Medium",
    "PointMaze-Large",
    "PushT",
    "Reach",
    "Push",
    "PickPlace",
)
_EPISODES, _SEEDS = 100, 3


def make_traces(env: GoalEnv, num_episodes: int) -> list[tuple[EpisodeSpec, np.ndarray]]:
    """Return specs of all strata with actions of the right lengths."""
    rng, found = np.random.default_rng(0), []
    for spec in episode_specs(env.task.id, "test", -(-num_episodes // len(env.task.strata))):
        reset_to(env, spec)
        blocks = -(-env.budget // env.task.action_block)
        actions = rng.uniform(
            env.action_space.low, env.action_space.high, (blocks, *env.action_space.shape)
        )
        found.append(
            (spec, actions.repeat(env.task.action_block, axis=0)[: env.budget].astype(np.float32))
        )
    return found


def measure(task_id: str, num_episodes: int) -> tuple[float, float, float]:
    """Return control steps per episode, and the episodes per second of both kinds of replay.

    The first rate is that of verification, the second that of stepping the environment.
    """
    env = envs.make(task_id)
    episodes = make_traces(env, num_episodes)
    began = time.process_time()
    quick = [quick_outcome(env, spec, actions) for spec, actions in episodes]
    seconds = time.process_time() - began
    few = episodes[:: max(1, len(episodes) // 12)]
    began = time.process_time()
    slow = [replay(spec, actions, env=env) for spec, actions in few]
    slow_seconds = time.process_time() - began
    for one, other in zip(quick[:: max(1, len(episodes) // 12)], slow, strict=True):
        assert (one.success_held, one.steps, one.violations) == (
            other.success_held,
            other.steps,
            other.violations,
        )
    steps = sum(len(actions) for _, actions in episodes) / len(episodes)
    return steps, len(episodes) / seconds, len(few) / slow_seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "tasks", nargs="*", default=[f"jepabench/{name}-v1" for name in CORE], help="task ids"
    )
    parser.add_argument("--episodes", type=int, default=100, help="episodes per task")
    arguments = parser.parse_args()
    print(f"{'':<32}{'steps/episode':>14}{'episodes/s':>12}{'step by step':>14}{'100 x 3 [s]':>13}")
    total = 0.0
    for task_id in arguments.tasks:
        steps, rate, slow = measure(task_id, arguments.episodes)
        seconds = _EPISODES * _SEEDS * len(envs.make(task_id).task.strata) / rate
        total += seconds
        print(f"{task_id:<32}{steps:>14.0f}{rate:>12.0f}{slow:>14.0f}{seconds:>13.1f}")
    print(f"all of them: {total:.0f} s")


if __name__ == "__main__":
    main()

"""Measure how fast a submission is replayed on one core, and how long a whole check takes.

Run ``python benchmarks/speed/verification.py [TASK ...] [--episodes 100]``. Rates are per second of
processor time, so other work on the machine has little effect. The traces are uniform actions held
for one block, in every stratum. The last line is the replay time of a submission with 100 episodes
per stratum and 3 training seeds on all of these tasks.

``python benchmarks/speed/verification.py --suite core`` writes a submission of a suite with such
traces and their true outcomes for every training seed, checks it on levels 1 and 2, and prints the
time by the clock and the processor time of the check.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench import envs
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.splits import EpisodeSpec, episode_specs, reset_to
from jepabench.evaluation.protocol import Suite
from jepabench.evaluation.records import EpisodeRecord
from jepabench.evaluation.rollout import replay
from jepabench.evaluation.submissions.submission import write_submission
from jepabench.evaluation.verification.environment import simulator_versions
from jepabench.evaluation.verification.levels import verify
from jepabench.evaluation.verification.replay import quick_outcome
from jepabench.pipeline.suites import find_suite

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


Trace = tuple[EpisodeSpec, NDArray[np.float32]]


def make_traces(env: GoalEnv, num_episodes: int) -> list[Trace]:
    """Return specs of all strata with actions of the right lengths."""
    rng, found = np.random.default_rng(0), []
    for spec in episode_specs(env.task.id, "test", -(-num_episodes // len(env.task.strata))):
        found.append((spec, draw_actions(env, spec, rng)))
    return found


def draw_actions(env: GoalEnv, spec: EpisodeSpec, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return uniform actions [T, A] held for one block, for the budget of an episode."""
    reset_to(env, spec)
    blocks, space = -(-env.budget // env.task.action_block), env.action_space
    actions = rng.uniform(space.low, space.high, (blocks, *space.shape))
    return actions.repeat(env.task.action_block, axis=0)[: env.budget].astype(np.float32)


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


def write_random_submission(folder: Path, suite: Suite) -> None:
    """Write a submission of uniform actions with their true outcomes for every training seed."""
    records, actions, costs = [], {}, []
    for task in suite.tasks:
        env = envs.make(task.task_id)
        for seed in suite.training_seeds:
            rng, traces = np.random.default_rng(seed), []
            for spec in suite.specs(task):
                traces.append(draw_actions(env, spec, rng))
                outcome = quick_outcome(env, spec, traces[-1])
                records.append(
                    EpisodeRecord(
                        **asdict(outcome),
                        agent="uniform",
                        training_seed=seed,
                        task_id=task.task_id,
                        split=spec.split,
                        stratum=spec.stratum,
                        index=spec.index,
                        planning_seconds=0.0,
                        planning_ms_median=0.0,
                        planning_ms_p95=0.0,
                        model_steps=0,
                    )
                )
            actions[task.task_id, seed] = np.concatenate(traces)
            nothing = dict.fromkeys(("transitions", "train_seconds", "parameters"))
            costs.append(
                {"task_id": task.task_id, "training_seed": seed, "data_fingerprint": "", **nothing}
            )
    manifest = {**_manifest(folder.name, suite), "costs": costs}
    write_submission(folder, manifest, suite=suite, records=records, actions=actions)


def _manifest(name: str, suite: Suite) -> dict[str, Any]:
    track = {"observation": "state", "data": "online", "privilege": "none"}
    return {
        "name": name,
        "pixels": 64,
        "agent": {
            "name": "uniform",
            "learns": True,
            "track": track,
            "package": "",
            "config": {"learns": True},
            "per_task": {},
        },
        "training_seeds": list(suite.training_seeds),
        "authors": [],
        "description": "",
        "link": "",
        "created": "2026-01-01T00:00:00Z",
        "command": "python benchmarks/speed/verification.py",
        "code": {"commit": "", "dirty": None},
        "versions": simulator_versions(),
        "machine": {},
    }


def time_check(suite: Suite) -> str:
    """Return how long a submission of a suite takes to check, in words."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "uniform"
        write_random_submission(folder, suite)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        began = time.perf_counter()
        used = time.process_time()
        found = verify(folder, find_suite)
        seconds, used = time.perf_counter() - began, time.process_time() - used
    assert found.badges == ("valid", "replayed"), found.reason
    return (
        f"{suite.name}: {found.episodes} episodes, {size:.0f} MiB: {seconds:.0f} s by the clock, "
        f"{used:.0f} s of processor time"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "tasks", nargs="*", default=[f"jepabench/{name}-v1" for name in CORE], help="task ids"
    )
    parser.add_argument("--episodes", type=int, default=100, help="episodes per task")
    parser.add_argument("--suite", help="check a whole submission of this suite instead")
    arguments = parser.parse_args()
    if arguments.suite:
        print(time_check(find_suite(arguments.suite)))
        return
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

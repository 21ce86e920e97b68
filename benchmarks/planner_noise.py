"""Measure the share of planner noise in the variance of success.

``python benchmarks/planner_noise.py two-room --streams 4 --episodes 10`` evaluates the agent of a
stored world model on the same episodes with several noise streams, and prints for each stratum the
success rate, the share of the variance that noise has, the standard deviation that it gives the
rate, and the share of the episodes whose outcome it changes.
"""

import argparse

import numpy as np
import pandas as pd

from jepabench import make_agent
from jepabench.envs.splits import episode_specs
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.statistics.noise import noise_share
from jepabench.pipeline.checkpoints import find_checkpoint
from jepabench.world_models.checkpoint import load_world_model


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="name or folder of a world model")
    parser.add_argument("--agent", default="jepa-cem", help="preset of the agent")
    parser.add_argument("--streams", type=int, default=4, help="noise streams")
    parser.add_argument("--episodes", type=int, default=20, help="test episodes per stratum")
    options = parser.parse_args()
    task_id = load_world_model(find_checkpoint(options.checkpoint)).task_id
    agent = make_agent(options.agent, world_model=options.checkpoint)
    rows = [
        {"stream": stream, "stratum": one.stratum, "index": one.index, "held": one.success_held}
        for stream in range(options.streams)
        for one in evaluate_episodes(
            agent,
            episode_specs(task_id, "test", options.episodes, noise_stream=stream),
            agent_name=options.agent,
        ).records
    ]
    print("stratum    held  noise share  deviation  changed")
    for stratum, group in pd.DataFrame(rows).groupby("stratum", sort=False):
        held = group.pivot(index="stream", columns="index", values="held").to_numpy(np.float64)
        found = noise_share(held)
        print(
            f"{stratum:9} {held.mean():5.2f} {found.share:12.2f} {found.deviation:10.3f} "
            f"{found.changed:8.2f}"
        )


if __name__ == "__main__":
    main()

"""Measure the share of planner noise in the variance of success.

``python benchmarks/agents/planner_noise.py two-room --streams 4 --episodes 10`` evaluates the agent
of a stored world model on the same episodes with several noise streams, and prints for each stratum
the success rate, the share of the variance that noise has, the standard deviation that it gives the
rate, and the share of the episodes whose outcome it changes. ``--output FILE.csv`` also adds the
rows to a table.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from tables import write_rows

from jepabench import make_agent
from jepabench.envs.splits import episode_specs
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.statistics.noise import noise_share
from jepabench.pipeline.checkpoints import find_checkpoint
from jepabench.world_models.checkpoint import load_world_model


def main() -> None:
    """Print the share of planner noise in the variance of success."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("checkpoint", help="name or folder of a world model")
    parser.add_argument("--agent", default="jepa-cem", help="preset of the agent")
    parser.add_argument("--streams", type=int, default=4, help="noise streams")
    parser.add_argument("--episodes", type=int, default=20, help="test episodes per stratum")
    parser.add_argument("--at-once", type=int, default=1, help="episodes planned in one batch")
    parser.add_argument("--output", type=Path, help="table that the rows are added to")
    options = parser.parse_args()
    task_id = load_world_model(find_checkpoint(options.checkpoint)).task_id
    overrides = [f"agent.problems_at_once={options.at_once}"]
    agent = make_agent(options.agent, world_model=options.checkpoint, overrides=overrides)
    rows = [
        {"stream": stream, "stratum": one.stratum, "index": one.index, "held": one.success_held}
        for stream in range(options.streams)
        for one in evaluate_episodes(
            agent,
            episode_specs(task_id, "test", options.episodes, noise_stream=stream),
            agent_name=options.agent,
        ).records
    ]
    shares = []
    for stratum, group in pd.DataFrame(rows).groupby("stratum", sort=False):
        held = group.pivot(index="stream", columns="index", values="held").to_numpy(np.float64)
        shares.append(
            {
                "checkpoint": options.checkpoint,
                "agent": options.agent,
                "stratum": stratum,
                "streams": options.streams,
                "episodes": options.episodes,
                "held": held.mean(),
                **noise_share(held)._asdict(),
            }
        )
    table = pd.DataFrame(shares)
    print(table.to_string(index=False, float_format="%.3f"))
    if options.output:
        keys = ["checkpoint", "agent", "stratum", "streams", "episodes"]
        write_rows(options.output, shares, keys)


if __name__ == "__main__":
    main()

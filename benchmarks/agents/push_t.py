"""Evaluate ``jepa-contacts`` on Push-T from pixels by every published success rule.

``python benchmarks/agents/push_t.py DATA MODEL`` trains the distance and the proposals for the
model that `jepabench train --world-model jepa-contacts` wrote to MODEL, evaluates 100 test episodes
per stratum, and writes ``results/tables/push-t.csv``. docs/training.md says how to make DATA and
MODEL.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from tables import TABLES, write_rows

from jepabench.agents.mpc import distance_and_proposals
from jepabench.envs.splits import episode_specs
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.statistics.intervals import cell_interval
from jepabench.pipeline.config import load_agent
from jepabench.pipeline.saved_model import build_agent

TASK = "jepabench/PushT-v1"


def main() -> None:
    """Train what is missing, evaluate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--split", default="test")
    parser.add_argument(
        "--strata", nargs="*", default=["steps25", "steps50", "steps75", "steps100"]
    )
    parser.add_argument(
        "--horizon",
        type=int,
        default=5,
        help="horizon of a plan, in model steps of five control steps",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset = load_agent("jepa-contacts", [f"agent.planner.horizon={options.horizon}"])
    preset = replace(preset, agent={**preset.agent, "problems_at_once": 64})
    policy = options.model / preset.name  # `jepabench evaluate checkpoint=MODEL` expects it here
    training = {name: value for name, value in (preset.train or {}).items() if name != "_target_"}
    distance_and_proposals.train(
        task_id=TASK,
        dataset=options.data,
        directory=policy,
        seed=0,
        world_model=options.model,
        **training,
    )
    rows = []
    for stratum in options.strata:
        agent = build_agent(preset, options.model, TASK)
        specs = episode_specs(TASK, options.split, options.episodes, strata=(stratum,))
        began = time.process_time()
        records = evaluate_episodes(
            agent, specs, agent_name="jepa-contacts", batch_size=len(specs)
        ).records
        seconds = time.process_time() - began
        for rule in ("success_ever", "success_held", "success_final", "joint_ever", "strict_held"):
            hits = [bool(getattr(record, rule)) for record in records]
            interval = cell_interval([hits])
            rows.append(
                {
                    "stratum": stratum,
                    "horizon": options.horizon,
                    "rule": rule,
                    "share": sum(hits) / len(hits),
                    "low": interval.low,
                    "high": interval.high,
                    "episodes": len(hits),
                    "cpu_seconds": round(seconds),
                }
            )
            print(rows[-1], flush=True)
        write_rows(TABLES / "push-t.csv", rows, ["stratum", "horizon", "rule"])


if __name__ == "__main__":
    main()

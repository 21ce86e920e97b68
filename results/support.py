"""Show which combinations of state and action data contain, for the claim about recombination.

    python -m jepabench.results.support DATASET [DATASET ...] [--tables FOLDER]

Each dataset was collected by the behaviour `withheld` of a task with withheld combinations (tag
`recombination`). Writes `tables/recombination-support.csv`: the share of model steps by position
and action along the axis of the withheld motion, in the data (`pairs` is `data`) and in the test
episodes of each stratum, which the task's expert plays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.envs.core.withheld import Withheld
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.files import write_atomically
from jepabench.envs.registry import find_task, make
from jepabench.envs.splits import EpisodeSpec, episode_specs, reset_to
from jepabench.results import find_tables, make_parser

SUPPORT = "recombination-support.csv"
_BINS = 10  # of positions and of actions; the boundary and the action 0 are between two bins
_EPISODES = 50  # test episodes per stratum

Pairs = tuple[NDArray[np.float64], NDArray[np.float64]]  # positions [N, P] and actions [N, A]


def data_pairs(dataset: EpisodeDataset) -> Pairs:
    """Return position and action of every model step of a dataset."""
    pairs = [(episode.observations["achieved_goal"][:-1], episode.actions) for episode in dataset]
    positions, actions = zip(*pairs, strict=True)
    return np.concatenate(positions), np.concatenate(actions)


def expert_pairs(task_id: str, specs: Iterable[EpisodeSpec]) -> Pairs:
    """Return position and action of every model step of the expert until it reaches the goal."""
    task, env = find_task(task_id), make(task_id)
    positions, actions = [], []
    for spec in specs:
        observation, info = reset_to(env, spec)
        behaviour = make_behaviour(task, "expert").deciding
        behaviour.reset(env, np.random.default_rng(spec.planner_seed))
        while not info["is_success"]:
            positions.append(observation["achieved_goal"])
            actions.append(behaviour.act(observation))
            held = actions[-1][None].repeat(task.hold_steps, axis=0)
            observation, _, _, truncated, info = env.advance(held)
            if truncated:
                break
    return np.array(positions), np.array(actions)


def count_pairs(pairs: Pairs, withheld: Withheld, reach: float) -> list[dict[str, float]]:
    """Return one row per bin of position and action along the withheld axis.

    Args:
        pairs: Positions and actions.
        withheld: The withheld combination.
        reach: Distance of the outermost positions from the boundary [m].
    """
    positions, actions = (values[:, withheld.axis] for values in pairs)
    edges = withheld.boundary + np.linspace(-reach, reach, _BINS + 1)
    counts, *_ = np.histogram2d(
        positions.clip(edges[0], edges[-1]), actions, [edges, np.linspace(-1.0, 1.0, _BINS + 1)]
    )
    middles = (np.arange(_BINS) + 0.5) * 2.0 / _BINS - 1.0
    return [
        {
            "position": withheld.boundary + reach * position,
            "action": action,
            "share": counts[row, column] / counts.sum(),
        }
        for row, position in enumerate(middles)
        for column, action in enumerate(middles)
    ]


def support_table(dataset: EpisodeDataset) -> pd.DataFrame:
    """Return the rows of one dataset."""
    task = find_task(dataset.manifest.task_id)
    withheld = cast("Any", make(task.id)).withheld
    found = {"data": data_pairs(dataset)} | {
        stratum: expert_pairs(task.id, episode_specs(task.id, "test", _EPISODES, strata=(stratum,)))
        for stratum in task.strata
    }
    offsets = [positions[:, withheld.axis] - withheld.boundary for positions, _ in found.values()]
    reach = float(np.ceil(100.0 * np.abs(np.concatenate(offsets)).max()) / 100.0)
    rows = [
        {"task": task.id, "pairs": name, **row}
        for name, pairs in found.items()
        for row in count_pairs(pairs, withheld, reach)
    ]
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the rows of datasets, keep those of other tasks, and return the exit code."""
    parser = make_parser(
        "support", "Count the combinations of state and action in data and in test episodes."
    )
    parser.add_argument("datasets", nargs="+", type=Path, help="folders of datasets")
    options = parser.parse_args(arguments)
    try:
        path = find_tables(options.tables) / SUPPORT
    except FileNotFoundError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    new = [support_table(EpisodeDataset.open(dataset)) for dataset in options.datasets]
    known = [pd.read_csv(path)] if path.is_file() else []
    measured = sorted({task for table in new for task in table["task"]})
    kept = [table.loc[~table["task"].isin(measured)] for table in known]
    table = pd.concat([*kept, *new]).sort_values(by=["task", "pairs", "position", "action"])
    write_atomically(path, table.to_csv(index=False, float_format="%.4g"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""``jepabench compare``: compare two agents on the same episodes.

``jepabench compare planners`` is in ``compare_planners.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from tqdm import tqdm

from jepabench.cli.arguments import Whole, add_settings
from jepabench.envs.task import short_name
from jepabench.evaluation.records import frame_records
from jepabench.evaluation.statistics.success_tables import comparison_table
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan
from jepabench.pipeline.suite_report import read_finished_records
from jepabench.pipeline.terminal import add_text_row, make_console, make_table
from jepabench.results.media.episode_media import show_episode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = "`jepabench compare planners --help` describes the comparison of planners."
    parser.add_argument("first", help="an agent")
    parser.add_argument("second", help="the other agent")
    add_settings(parser, help="suite=quick output=folder seed=0,1")
    parser.add_argument(
        "--films",
        type=Whole(0),
        default=3,
        help="number of films of flipped episodes per task and direction",
    )


def run(options: argparse.Namespace) -> int:
    """Print the paired difference and write the flipped episodes and their films."""
    return _compare(options.first, options)


def _compare(first: str, options: argparse.Namespace) -> int:
    if first == options.second:
        raise ValueError(f"{first} cannot be compared with itself. Name two different agents.")
    plan = SuitePlan(compose_run([*options.overrides, f"agent={first},{options.second}"]))
    first, options.second = (plan.agents[name].name for name in (first, options.second))
    records = read_finished_records(plan)
    console = make_console()
    table = difference_table(records, first, options.second)
    _print_table(table, first, options.second, console)
    flips = find_flips(records, first, options.second)
    console.print(
        f"\nOf {len(_shared_episodes(records, first, options.second))} episodes, "
        f"{(flips['first'] > flips['second']).sum()} are held more often by {first} and "
        f"{(flips['first'] < flips['second']).sum()} by {options.second}.",
        markup=False,
    )
    folder = plan.suite_directory / "compare" / f"{first}-{options.second}"
    folder.mkdir(parents=True, exist_ok=True)
    flips.to_csv(folder / "flipped.csv", index=False)
    films = _film_flips(records, flips, (first, options.second), folder, options.films)
    page = [
        f"# {first} and {options.second}",
        "",
        f"| episode | {first} | {options.second} |",
        "|---|---|---|",
        *films,
    ]
    (folder / "README.md").write_text("\n".join(page) + "\n", encoding="utf-8")
    if flips.empty:
        return 0
    console.print(
        f"All of them: {folder / 'flipped.csv'}   Films: {folder / 'README.md'}",
        markup=False,
        soft_wrap=True,
    )
    return 0


def difference_table(records: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Return one row per task and stratum. If there are several, add a row for all of them.

    The columns are those of ``comparison_table`` in
    ``jepabench.evaluation.statistics.success_tables``.
    """
    pairs = [(first, second)]
    table = comparison_table(records, pairs=pairs)
    if len(table) > 1:
        # Treat the episodes of all cells as those of one cell, so that all have the same weight.
        numbers = records["episode"].astype("category").cat.codes.astype(np.int64)
        whole = records.assign(task_id="all", stratum="", index=numbers)
        table = pd.concat(
            [table, comparison_table(whole, pairs=pairs)],
            ignore_index=True,
        )
    return table


def _shared_episodes(records: pd.DataFrame, *agents: str) -> set[str]:
    """Return the episodes that every agent has; a ceiling may have fewer than the suite."""
    return set.intersection(
        *(set(records.loc[records["agent"] == agent, "episode"]) for agent in agents)
    )


def find_flips(records: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Return the episodes in which the two agents succeed with different shares of their seeds.

    The columns are ``task``, ``stratum``, ``index`` and the share of each agent.
    """
    keys = ["task_id", "stratum", "index"]
    means = pd.DataFrame(records.groupby([*keys, "agent"], as_index=False)["success_held"].mean())
    ours, theirs = (
        means.loc[means["agent"] == name, [*keys, "success_held"]] for name in (first, second)
    )
    flips = pd.merge(ours, theirs, on=keys, suffixes=("_first", "_second"), validate="one_to_one")
    flips = flips.set_axis(["task", "stratum", "index", "first", "second"], axis="columns")
    flips = flips.iloc[
        np.argsort(-np.abs(np.subtract(flips["first"], flips["second"])), kind="stable")
    ]
    return flips.query("first != second").reset_index(drop=True)


def _print_table(table: pd.DataFrame, first: str, second: str, console: Console) -> None:
    shown = make_table(
        *("", "difference", "95 % interval", "P(better)", "flipped", ""),
        title=f"{first} minus {second}, held goals in points on the same episodes",
    )
    for row in table.to_dict("records"):
        better = first if row["difference"] > 0 else second
        add_text_row(
            shown,
            f"{short_name(row['task'])} {row['stratum']}".strip(),
            f"{100 * row['difference']:+.1f}",
            f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}",
            f"{row['probability_of_improvement']:.2f} "
            f"({row['improvement_low']:.2f} to {row['improvement_high']:.2f})",
            f"{100 * row['discordant']:.0f} %",
            f"{better} is better" if row["distinguishable"] else "no difference detected",
        )
    console.print(shown)


def _film_flips(
    records: pd.DataFrame, flips: pd.DataFrame, names: tuple[str, str], folder: Path, count: int
) -> list[str]:
    """Film the first ``count`` flips of each task and direction; return Markdown links to them."""
    chosen = []
    for _, part in flips.groupby("task", sort=False):
        chosen += [
            part[part["first"] > part["second"]].head(count),
            part[part["first"] < part["second"]].head(count),
        ]
    rows = [row for part in chosen for row in part.to_dict("records")]
    lines = []
    # With nothing to film there is no progress to show.
    for row in tqdm(rows, desc="films", unit="episode", leave=False, disable=not rows):
        episode = f"{row['task']}|{row['stratum']}|{row['index']}"
        both = records[records["episode"] == episode]
        links = [_film(both.loc[both["agent"] == name], folder) for name in names]
        lines.append(f"| {row['task']}, {row['stratum']} {row['index']} | {' | '.join(links)} |")
    return lines


def _film(rows: pd.DataFrame, folder: Path) -> str:
    """Return a link to the film of an episode with the first training seed."""
    (record,) = frame_records(rows.head(1).drop(columns=["directory", "episode"]))
    shown = show_episode(Path(rows["directory"].iloc[0]), record, folder)
    held = f"held by {np.count_nonzero(rows['success_held'])} of {len(rows)} seeds"
    return f"[{held}]({shown.film.path})" if shown.film else f"{held}, no film: {shown.problem}"

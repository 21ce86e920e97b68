"""Write the report of a suite: one page with tables, charts, films and the protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tqdm import tqdm

from jepabench.envs import TaskSpec, UnknownNameError, get_task
from jepabench.envs.data.files import write_atomically
from jepabench.envs.task import short_name
from jepabench.evaluation.records import records_frame
from jepabench.results.media.episode_media import Run, Shown, find_runs, show_run
from jepabench.results.report import page_values
from jepabench.results.report.aggregates import Aggregates, aggregate, profiles_figure
from jepabench.results.report.families import FAMILIES, family_colours
from jepabench.results.report.figures import cost_figure, curves_figure, success_figure
from jepabench.results.report.formats import aggregate_rows, latex_report, markdown_report
from jepabench.results.report.success_table import (
    Cell,
    agent_kinds,
    agent_order,
    read_cells,
    read_table,
)
from jepabench.results.report.summary import summarise

_FOLDER = Path(__file__).parent
_SUITE_KEYS = ("name", "version", "description")
_REFERENCES = "floors and ceilings"


@dataclass(slots=True, kw_only=True)
class _Page:
    """The inputs of a report, the folder of its media and the names of the media in use."""

    media: Path
    suite: Mapping[str, Any]
    cells: Sequence[Cell]
    runs: Sequence[Run]
    failures: page_values.Failures
    num_films: int
    colours: Mapping[str, str]
    tracks: Mapping[str, str]
    used: set[str] = field(default_factory=set)

    def add(self, svg: bytes) -> str:
        """Write a chart, named by a hash of its content, and return its address within the page."""
        name = f"chart-{hashlib.sha256(svg).hexdigest()[:16]}.svg"
        if not (self.media / name).is_file():
            write_atomically(self.media / name, svg)
        self.used.add(name)
        return f"media/{name}"


def write_report(
    suite_dir: Path,
    *,
    suite: Mapping[str, Any],
    machine: Mapping[str, Any],
    num_films: int = 2,
    curves: pd.DataFrame | None = None,
    directories: Collection[Path] | None = None,
) -> Path:
    """Write ``suite_dir/report/index.html`` with its media, and tables as CSV, Markdown and LaTeX.

    The page opens from disk and needs no network. The inputs are ``suite_dir/table.csv`` and the
    evaluations in ``suite_dir/evaluations``. The same inputs give the same bytes. Existing films
    are kept. The page is replaced last, so that a crash leaves the old report intact.

    Args:
        suite_dir: Folder of the suite's results.
        suite: ``name``, ``version`` and ``description``. Optional keys are the expected ``tasks``
            (mappings with ``task_id`` and ``strata``), ``agents`` (names), ``training_seeds`` and
            ``split``, by which missing results are found; ``tracks`` (agent to what it may use, in
            words) and ``command`` (reproduces the report).
        machine: Description of the machine, names to values or to mappings of values.
        num_films: Filmed episodes per agent and task; floors and ceilings have one.
        directories: Folders of the evaluations that belong to the report, by default all below
            ``suite_dir``. Evaluations in other folders are ignored.
        curves: Training curves, rows with ``task, agent, seed, seconds, metric, value``.

    Raises:
        FileNotFoundError: There is no ``table.csv`` yet.
        ValueError: The suite lacks its name, version or description, or if the table or the
            records are malformed.
    """
    absent = [key for key in _SUITE_KEYS if key not in suite]
    if absent:
        raise ValueError(f"A suite has {', '.join(_SUITE_KEYS)}; {', '.join(absent)} not given.")
    runs = find_runs(suite_dir, only=directories)
    failures = _failures(suite_dir, only=directories)
    cells = _cells(read_table(suite_dir / "table.csv"), suite, runs, failures)
    directory = suite_dir / "report"
    page = _Page(
        media=directory / "media",
        suite=suite,
        cells=cells,
        runs=runs,
        failures=failures,
        num_films=num_films,
        colours=family_colours(cells),
        tracks=suite.get("tracks", {}),
    )
    across = _aggregate(runs)
    html = _render(page, machine=machine, curves=curves, across=across)
    _write_tables(directory, page, across)
    write_atomically(directory / "table.csv", (suite_dir / "table.csv").read_bytes())
    index = write_atomically(directory / "index.html", html.encode())
    for path in page.media.glob("*"):
        if path.name not in page.used:
            path.unlink()
    return index


def _aggregate(runs: Sequence[Run]) -> Aggregates | None:
    """Return the aggregates over all tasks, or None if there are no records."""
    if not runs:
        return None
    records = pd.concat([records_frame(run.records) for run in runs], ignore_index=True)
    return aggregate(records, generator=np.random.default_rng(0))


def _write_tables(directory: Path, page: _Page, across: Aggregates | None) -> None:
    """Write the success table as Markdown and LaTeX, and the aggregates as CSV."""
    title = f"{page.suite['name']}, version {page.suite['version']}"
    write_atomically(directory / "table.md", markdown_report(title, page.cells, across).encode())
    write_atomically(directory / "table.tex", latex_report(title, page.cells, across).encode())
    if across is not None:
        for name, table in (("aggregates", across.table), ("profiles", across.profiles)):
            text = table.to_csv(index=False, float_format="%.6g")
            write_atomically(directory / f"{name}.csv", text.encode())


def _cells(
    table: pd.DataFrame,
    suite: Mapping[str, Any],
    runs: Sequence[Run],
    failures: page_values.Failures,
) -> list[Cell]:
    """Return the cells of the table with full task ids, and the expected cells that it lacks."""
    strata = {str(task["task_id"]): list(task["strata"]) for task in suite.get("tasks", ())}
    ids = {short_name(task): task for task in (*strata, *(run.task_id for run in runs))}
    if "task" in table.columns:
        table = table.assign(task=[ids.get(short_name(str(task)), task) for task in table["task"]])
    cells = read_cells(table, strata=strata, agents=list(suite.get("agents", ())))
    return [
        replace(cell, status="failed")
        if (short_name(cell.task), cell.agent) in failures and not cell.is_done
        else cell
        for cell in cells
    ]


def _render(
    page: _Page,
    *,
    machine: Mapping[str, Any],
    curves: pd.DataFrame | None,
    across: Aggregates | None,
) -> str:
    environment = Environment(
        loader=FileSystemLoader([_FOLDER / "templates", _FOLDER.parent / "media"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Keep a number and its percent sign on one line.
    environment.filters["tight"] = lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%")
    names = list(dict.fromkeys(cell.task for cell in page.cells))
    place = f"on {short_name(names[0])}" if len(names) == 1 else f"over {len(names)} tasks"
    summary = summarise(page.cells, page.runs, place=place, tracks=page.tracks)
    tasks = [_task(page, name, number) for number, name in enumerate(names, start=1)]
    return environment.get_template("report.html.j2").render(
        suite=page.suite,
        summary=summary,
        hero=_hero(tasks, summary.best),
        notices=page_values.notices(page.cells, page.failures),
        families={
            name: colour for name, colour in FAMILIES.items() if colour in page.colours.values()
        },
        facts=page_values.facts(
            page.cells, num_episodes=sum(len(run.records) for run in page.runs)
        ),
        tasks=tasks,
        across=None if across is None else _across(page, across),
        curves=None if curves is None or curves.empty else _curves(page, curves),
        protocol=page_values.protocol(
            page.cells, [spec for spec in map(_spec, names) if spec], suite=page.suite
        ),
        machine=[(name, page_values.words(value)) for name, value in machine.items()],
        command=page.suite.get("command", ""),
    )


def _task(page: _Page, task: str, number: int) -> dict[str, Any]:
    cells = [cell for cell in page.cells if cell.task == task]
    spec = _spec(task)
    strata = {
        stratum: [
            page_values.table_row(
                cell,
                colour=page.colours[cell.agent],
                track=page.tracks.get(cell.agent, ""),
                failures=page.failures,
                num_seeds=len(page.suite.get("training_seeds", ())),
            )
            for cell in cells
            if cell.stratum == stratum
        ]
        for stratum in dict.fromkeys(cell.stratum for cell in cells)
    }
    return {
        "anchor": f"task-{number}",
        "name": short_name(task),
        "summary": summarise(cells, page.runs, place=f"on {short_name(task)}", tracks=page.tracks),
        "success": spec.success if spec else "",
        "success_chart": _chart(
            *(
                page.add(success_figure(cells, colours=page.colours, columns=columns))
                for columns in (3, 1)
            ),
            caption="Success by distance to the goal",
        ),
        "cost_charts": _cost_charts(page, cells),
        "strata": strata,
        "reels": _reels(page, task),
    }


def _cost_charts(page: _Page, cells: Sequence[Cell]) -> list[dict[str, str]]:
    costs = (
        (
            lambda cell: cell.ms_per_step,
            "planning time [ms per control step]",
            "Success against planning time",
        ),
        (
            lambda cell: cell.transitions,
            "transitions",
            "Success against training transitions",
        ),
    )
    charts = []
    for cost, label, caption in costs:
        wide, narrow = (
            cost_figure(cells, cost=cost, label=label, colours=page.colours, columns=columns)
            for columns in (3, 1)
        )
        if wide and narrow:
            charts.append(_chart(page.add(wide), page.add(narrow), caption=caption))
    return charts


def _across(page: _Page, across: Aggregates) -> dict[str, Any]:
    wide, narrow = (
        profiles_figure(across, colours=page.colours, columns=columns) for columns in (3, 1)
    )
    caption = (
        f"Performance profiles of {across.scale} scores: "
        "share of runs (training seed, task, stratum) above a score"
    )
    strata = list(dict.fromkeys(map(str, across.table["stratum"])))
    return {
        "scale": across.scale,
        "chart": _chart(page.add(wide), page.add(narrow), caption=caption),
        "strata": {stratum: aggregate_rows(across, stratum) for stratum in strata},
    }


def _curves(page: _Page, curves: pd.DataFrame) -> dict[str, str]:
    wide, narrow = (
        curves_figure(curves, colours=page.colours, columns=columns) for columns in (3, 1)
    )
    return _chart(page.add(wide), page.add(narrow), caption="One line per training seed")


def _chart(wide: str, narrow: str, *, caption: str) -> dict[str, str]:
    return {"wide": wide, "narrow": narrow, "caption": caption}


def _reels(page: _Page, task: str) -> list[dict[str, Any]]:
    """Return the films of a task: agents under test in table order, then floors and ceilings."""
    if _spec(task) is None:
        return []
    first: dict[str, Run] = {}
    for run in page.runs:
        if run.task_id == task:
            first.setdefault(run.agent, run)
    kinds = agent_kinds(page.cells)
    agents = agent_order((agent for agent in page.colours if agent in first), kinds)
    reels: dict[str, list[Shown]] = {}
    for agent in tqdm(
        sorted(agents, key=lambda agent: kinds[agent] != "learned"),
        desc=f"films {short_name(task)}",
        leave=False,
    ):
        num_films = page.num_films if kinds[agent] == "learned" else min(page.num_films, 1)
        shown = list(show_run(first[agent], page.media, num_films=num_films))
        page.used.update(name for one in shown for name in one.files)
        title = agent if kinds[agent] == "learned" else _REFERENCES
        reels.setdefault(title, []).extend(shown)
    return [
        {"title": title, "colour": page.colours.get(title, ""), "episodes": shown}
        for title, shown in reels.items()
        if shown
    ]


def _hero(tasks: Sequence[Mapping[str, Any]], agent: str) -> Shown | None:
    """Return the first film of the agent in the headline."""
    reels = (reel for task in tasks for reel in task["reels"] if reel["title"] == agent)
    return next((shown for reel in reels for shown in reel["episodes"] if shown.film), None)


def _spec(task: str) -> TaskSpec | None:
    try:
        return get_task(task)
    except UnknownNameError:
        return None


def _failures(
    suite_dir: Path, *, only: Collection[Path] | None = None
) -> dict[tuple[str, str], str]:
    """Return why runs failed (from ``failed.json`` of a stage), by short task name and agent."""
    return {
        (path.parts[-4], path.parts[-3]): str(
            json.loads(path.read_text(encoding="utf-8")).get("error", "no reason given")
        )
        for path in sorted(suite_dir.glob("evaluations/*/*/seed*/failed.json"))
        if only is None or path.parent in only
    }

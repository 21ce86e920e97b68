"""The board: a static site of submissions, tasks and claims that needs no server or network."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown import markdown
from markupsafe import Markup
from numpy.typing import NDArray
from tqdm import tqdm

from jepabench.envs.checks.task_pages import page, picture
from jepabench.envs.data.files import write_atomically
from jepabench.envs.task import TaskSpec, short_name
from jepabench.evaluation.submissions.files import SubmissionError
from jepabench.evaluation.verification.levels import BADGES
from jepabench.results.board import page_values
from jepabench.results.board.answer import answer_question
from jepabench.results.board.charts import profile_chart
from jepabench.results.board.claim_figures import claim_figure
from jepabench.results.board.claims import Claim, ClaimTable, read_claims
from jepabench.results.board.comparisons import (
    Episode,
    choose_divisive_episodes,
    comparison_script,
    paired_differences,
)
from jepabench.results.board.core_tasks import core_rows
from jepabench.results.board.entries import Entries, Entry, read_entries
from jepabench.results.board.films import film_entry
from jepabench.results.board.model_diagnostics import describe_diagnostics, draw_strips
from jepabench.results.figures.family_comparison import describe_comparison
from jepabench.results.figures.headline import draw_headline, has_seconds
from jepabench.results.figures.headline_text import FILES, headline_caption
from jepabench.results.figures.planning_vs_rl import TABLE, Axis, Panel, read_panels
from jepabench.results.media.episode_media import Shown
from jepabench.results.report.success_table import percent

HOME = Path(__file__).resolve().parents[1]
_LOGGER = logging.getLogger(__name__)
_ASSETS = {
    "board.css": ("media/palette.css", "board/templates/board.css"),
    "board.js": ("board/templates/tables.js", "board/templates/board.js"),
    "compare.js": ("board/templates/tables.js", "board/templates/compare.js"),
}
_PICTURES = HOME.parent / "docs" / "environments"
_MOST_ROWS = 300  # of a claim's table on its page; the CSV file has all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The inputs of a board.

    Attributes:
        submissions: Folder of submissions.
        verified: Folder of the maintainers' records.
        tables: Folder of the claims' tables.
        headline: Table of the headline figure, which need not exist.
        suites: By name, with ``version``, ``description`` and ``tasks``; and with ``suite``, the
            ``Suite``, for verification level 1.
        tasks: Tasks that get a page.
        num_films: Number of episodes to film per submission and task.
    """

    submissions: Path = HOME / "submissions"
    verified: Path = HOME / "verified"
    tables: Path = HOME / "tables"
    headline: Path = TABLE
    suites: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tasks: Sequence[TaskSpec] = ()
    num_films: int = 0


def build_board(output: Path, sources: Sources, *, progress: bool = True) -> Entries:
    """Write the site below ``output`` and return its entries.

    A submission that cannot be read is listed with the reason; it never stops the build.

    Raises:
        ClaimError: The tables do not match the claims.
    """
    versions = {name: int(suite["version"]) for name, suite in sources.suites.items()}
    checked = {name: suite["suite"] for name, suite in sources.suites.items() if "suite" in suite}
    entries = read_entries(sources.submissions, sources.verified, versions, checked or None)
    claims = read_claims(sources.tables)
    known = {task.id: task for task in sources.tasks}
    site = _Site(output, known, progress)
    panels = read_panels(sources.headline)
    headline = _headline(site, panels)
    data = page_values.board_data(entries.current, sources.suites)
    site.write(
        "index.html",
        "index.html.j2",
        root="",
        answer=answer_question(entries.current, sources.suites, panels),
        headline=headline,
        entries=entries,
        claims=claims,
        tasks=sources.tasks,
        data=_as_script(data),
        badges=BADGES,
        core=core_rows(entries.current, sources.suites),
    )
    site.write("compare.html", "compare.html.j2", root="", data=_as_script(_compared(data)))
    for name, parts in _ASSETS.items():
        write_atomically(output / name, b"".join((HOME / part).read_bytes() for part in parts))
    differences = _differences(entries.current, sources.suites)
    divisive = _divisive_episodes(entries.current, sources.num_films)
    for entry in site.each([*entries.current, *entries.old], "submissions"):
        films = _submission(site, entry, entries.current, sources.num_films, divisive)
        if entry.name in differences:
            script = comparison_script(entry, differences[entry.name], films)
            site.add(f"compare/{entry.name}.js", script.encode())
    for task in site.each(sources.tasks, "tasks"):
        _task(site, task, entries.current)
    best = {task.id: page_values.best_on_task(task.id, entries.current) for task in sources.tasks}
    site.write("tasks/index.html", "tasks.html.j2", tasks=sources.tasks, best=best)
    for claim in site.each(claims, "claims"):
        _claim(site, claim, claims, headline if claim.headline else None)
    site.write("claims/index.html", "claims.html.j2", claims=claims)
    site.remove_stale_files()
    return entries


class _Site:
    """The files of the site, as they are written."""

    def __init__(self, output: Path, tasks: Mapping[str, TaskSpec], progress: bool) -> None:
        self.output, self.tasks, self.progress = output, tasks, progress
        self.used = {output / name for name in _ASSETS}
        self.environment = Environment(
            loader=PackageLoader("jepabench.results.board", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters |= {"short": short_name, "percent": percent}
        self.environment.globals["has_page"] = lambda task: task in tasks
        self.environment.globals["about_badges"] = _ABOUT_BADGES

    def write(self, name: str, template: str, /, root: str = "../", **values: Any) -> None:
        html = self.environment.get_template(template).render(root=root, **values)
        self.used.add(write_atomically(self.output / name, html.encode()))

    def add(self, name: str, content: bytes) -> None:
        """Write another file unless it exists with the same content."""
        path = self.output / name
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)
        self.used.add(path)

    def each(self, items: Sequence[Any], what: str) -> Any:
        return tqdm(items, desc=what, leave=False, disable=not self.progress)

    def remove_stale_files(self) -> None:
        for folder in ("submissions", "tasks", "claims", "media", "compare"):
            for path in (self.output / folder).glob("*"):
                if path not in self.used and path.is_file():
                    path.unlink()
        for path in self.output.glob("planning-vs-rl*.svg"):
            if path not in self.used:
                path.unlink()


_ABOUT_BADGES = {
    "valid": "The files follow the schema, and every required episode is present once.",
    "replayed": "All actions were replayed in the simulator with the same outcomes.",
    "re-run": "A maintainer ran the agent on private episodes, and its success rate agreed.",
}


def _as_script(data: Mapping[str, Any]) -> Markup:
    """Return JSON that can stand in a script element."""
    return Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))


def _headline(site: _Site, panels: Sequence[Panel]) -> dict[str, Any] | None:
    """Draw the headline figure and return what the index shows of it."""
    if not panels:
        return None
    axes: list[Axis] = ["transitions", *(["training_seconds"] if has_seconds(panels) else [])]
    for axis in axes:
        name = FILES[axis].removesuffix(".svg")
        for width, columns in (("wide", len(panels) if len(panels) < 5 else 3), ("narrow", 1)):
            drawn = draw_headline(panels, x=axis, columns=columns)
            site.add(f"{name}-{width}.svg", drawn)
    return {
        "caption": headline_caption(panels),
        "names": [FILES[axis].removesuffix(".svg") for axis in axes],
        "comparison": describe_comparison(panels),
    }


def _compared(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the board's data that the comparison page needs."""
    names = ("name", "label", "suite", "kind", "ranked", "track")
    return {
        "suites": data["suites"],
        "entries": [{name: entry[name] for name in names} for entry in data["entries"]],
    }


def _divisive_episodes(entries: Sequence[Entry], num_films: int) -> frozenset[Episode]:
    """Return the episodes of all suites that every submission films for comparisons."""
    suites = dict.fromkeys(entry.suite for entry in entries)
    return frozenset[Episode]().union(
        *(
            choose_divisive_episodes(
                [entry for entry in entries if entry.suite == suite], per_task=num_films
            )
            for suite in suites
        )
    )


def _differences(
    entries: Sequence[Entry], suites: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return the paired differences of each submission by name, to those that follow it."""
    found = {}
    for name, suite in suites.items():
        own = [entry for entry in entries if entry.suite == name]
        tables = paired_differences(own, [keys for _, keys in page_values.suite_views(suite)])
        for place, entry in enumerate(own):
            following = range(place + 1, len(own))
            found[entry.name] = {own[peer].name: tables[place, peer] for peer in following}
    return found


def _submission(
    site: _Site,
    entry: Entry,
    entries: Sequence[Entry],
    num_films: int,
    divisive: Collection[Episode],
) -> list[Shown]:
    """Write the page of a submission and return its filmed episodes."""
    films, shared, strips, media = [], [], {}, site.output / "media"
    if num_films and not entry.old:  # an archived entry may have been made in other worlds
        try:
            films, shared = film_entry(entry, media, num_films=num_films, shared=divisive)
            strips = draw_strips(entry, media)
        except (SubmissionError, ValueError, KeyError, OSError, RuntimeError) as error:
            _LOGGER.warning("No films of %s: %r", entry.name, error)
        site.used.update(media / name for shown in [*films, *shared] for name in shown.files)
        site.used.update(
            media / one.path for strip in strips.values() for one in (strip.strip, strip.film)
        )
    peers = [
        one
        for one in entries
        if one.suite == entry.suite and one.kind != "learned" and one.name != entry.name
    ]
    site.write(
        f"submissions/{entry.name}.html",
        "submission.html.j2",
        entry=entry,
        track=page_values.track(entry),
        costs=page_values.costs(entry),
        tasks=page_values.submission_rows(entry, entries),
        films=films,
        badges=BADGES,
        worlds=describe_diagnostics(entry, strips),
        strips=strips,
        profile=Markup(profile_chart(entry, peers)),
        config=json.dumps(entry.manifest.agent.config, indent=1),
        per_task={
            short_name(task): json.dumps(changes, indent=1)
            for task, changes in entry.manifest.agent.per_task.items()
        },
    )
    return [*films, *shared]


def _task(site: _Site, task: TaskSpec, entries: Sequence[Entry]) -> None:
    name = short_name(task.id)
    ready = _PICTURES / f"{name}.png"
    image = site.output / "tasks" / f"{name}.png"
    if ready.is_file():
        site.add(f"tasks/{name}.png", ready.read_bytes())
    else:
        if not image.is_file():
            image.parent.mkdir(parents=True, exist_ok=True)
            picture(task.id, image)
        site.used.add(image)
    # The page shows title and picture itself; the rest comes from the documentation.
    text = "\n".join(page(task.id).splitlines()[1:])
    site.write(
        f"tasks/{name}.html",
        "task.html.j2",
        task=task,
        name=name,
        card=Markup(_html(text)),
        places=page_values.task_places(task.id, entries),
    )


def _claim(
    site: _Site, claim: Claim, claims: Sequence[Claim], headline: Mapping[str, Any] | None
) -> None:
    figures = []
    if headline is not None:
        name = f"../{headline['names'][0]}"
        figures.append(
            {
                "image": f"{name}-wide.svg",
                "narrow": f"{name}-narrow.svg",
                "caption": headline["caption"],
            }
        )
    for number, spec in enumerate(claim.figures):
        table = next((one for one in claim.tables if one.name == spec["table"]), None)
        if table is not None:
            image, caption = f"{claim.id}-{number}.svg", spec.get("caption", spec["label"])
            site.add(f"claims/{image}", claim_figure(table.rows, spec))
            figures.append({"image": image, "narrow": "", "caption": caption})
    for table in claim.tables:
        site.add(f"claims/{table.name}", table.rows.to_csv(index=False).encode())
    place = [one.id for one in claims].index(claim.id)
    site.write(
        f"claims/{claim.id}.html",
        "claim.html.j2",
        claim=claim,
        figures=figures,
        tables=[_table(table) for table in claim.tables],
        previous=claims[place - 1].id if place else "",
        following=claims[place + 1].id if place + 1 < len(claims) else "",
    )


def _table(table: ClaimTable) -> dict[str, Any]:
    """Return a claim's table with short numbers, without columns that only the CSV shows."""
    rows = table.rows
    rows = rows[[name for name in rows.columns if not re.fullmatch(r"r2 \d+", str(name))]]
    numeric = {str(name) for name in rows.columns if pd.api.types.is_numeric_dtype(rows[name])}
    shown = [
        [
            {"text": _text(value), "value": value if name in numeric and _is_known(value) else None}
            for name, value in row.items()
        ]
        for row in pd.DataFrame(rows).head(_MOST_ROWS).to_dict("records")
    ]
    heads = [
        {"name": str(name).replace("_", " "), "numeric": str(name) in numeric}
        for name in rows.columns
    ]
    return {
        "table": table,
        "heads": heads,
        "rows": shown,
        "left": len(rows) - len(shown),
        "reading": Markup(_html(table.reading)),
    }


def _text(value: Any) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return "-"
        return f"{value:,.0f}" if value == round(value) and abs(value) >= 100 else f"{value:.4g}"
    return short_name(str(value)) if str(value).startswith("jepabench/") else str(value)


def _is_known(value: Any) -> bool:
    return not (isinstance(value, float) and math.isnan(value))


def _html(text: str) -> str:
    """Return Markdown as HTML, with headings one level lower and tables in a scrolling box."""
    html = markdown(text, extensions=["tables"])
    for level in (3, 2, 1):
        html = html.replace(f"<h{level}>", f"<h{level + 1}>").replace(
            f"</h{level}>", f"</h{level + 1}>"
        )
    html = html.replace(
        "<table>",
        '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table class="plain">',
    )
    return html.replace("</table>", "</table></div>")

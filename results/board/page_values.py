"""Plain values for the pages of the board: table numbers, rows of a submission, ranks on a task."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jepabench.envs.task import short_name
from jepabench.evaluation.statistics.intervals import Interval
from jepabench.evaluation.verification.levels import BADGES
from jepabench.results.board.comparisons import Keys, differences_from
from jepabench.results.board.entries import Entry, normalised, overall, overall_rates
from jepabench.results.report.success_table import count, duration, milliseconds, percent

Number = float | None
NOT_STATED = "not stated"
# The numbers of a view in order; board.js reads this list.
NUMBERS = (
    "held",
    "low",
    "high",
    "norm",
    "ever",
    "final",
    "joint",
    "strict",
    "violations",
    "ms",
    "p95",
    "model_steps",
    "tied",
)


def board_data(entries: Sequence[Entry], suites: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the data of the index page: suites and their views, entries with ``NUMBERS`` per view.

    The suite with the most agents under test comes first; the page opens with it.

    Args:
        entries: Submissions that can be compared.
        suites: By name, with ``version``, ``description`` and ``tasks`` (mappings with ``task_id``
            and ``strata``).
    """
    data: dict[str, Any] = {"numbers": NUMBERS, "suites": [], "entries": []}
    tested = Counter(entry.suite for entry in entries if entry.kind == "learned")
    for name in sorted(suites, key=lambda name: -tested[name]):
        suite, own = suites[name], [entry for entry in entries if entry.suite == name]
        if not own:
            continue
        views = suite_views(suite)
        tasks = [
            {
                "id": task["task_id"],
                "short": short_name(task["task_id"]),
                "strata": list(task["strata"]),
            }
            for task in suite["tasks"]
        ]
        about = {key: suite[key] for key in ("version", "description")}
        data["suites"].append(
            {"name": name, **about, "tasks": tasks, "views": [label for label, _ in views]}
        )
        columns = [view_numbers(own, keys) for _, keys in views]
        data["entries"] += [
            _entry(entry, [column[place] for column in columns]) for place, entry in enumerate(own)
        ]
    return data


def suite_views(suite: Mapping[str, Any]) -> list[tuple[str, Keys]]:
    """Return the views of a suite with their cells: all tasks (""), each task and each stratum."""
    tasks = {task["task_id"]: list(task["strata"]) for task in suite["tasks"]}
    views: list[tuple[str, Keys]] = [
        ("", [(task, stratum) for task, strata in tasks.items() for stratum in strata])
    ]
    for task, strata in tasks.items():
        views.append((short_name(task), [(task, stratum) for stratum in strata]))
        if len(strata) > 1:
            views += [(f"{short_name(task)}/{stratum}", [(task, stratum)]) for stratum in strata]
    return views


def view_numbers(entries: Sequence[Entry], keys: Keys) -> list[list[Number] | None]:
    """Return ``NUMBERS`` of each entry over some cells; None for an entry that lacks one of them.

    ``tied`` is 1 for the best re-run submission and for re-run submissions that are not
    significantly worse. A submission that no maintainer has re-run never leads.
    """
    whole = [entry for entry in entries if all(key in entry.scores for key in keys)]
    rates = overall_rates(whole, keys)
    tested = [entry for entry in whole if entry.kind == "learned" and entry.can_lead]
    best = max(tested, key=lambda entry: rates[entry.name].estimate, default=None)
    references = [entry for entry in entries if entry.is_reference]
    lows = differences_from(best, tested, keys)[:, 1] if best else []
    tied = {entry.name for entry, low in zip(tested, lows, strict=True) if low <= 0}
    rows: list[list[Number] | None] = []
    for entry in entries:
        if entry.name not in rates:
            rows.append(None)
            continue
        rate = rates[entry.name]
        means = {
            name: _mean(entry.scores[key].others[name] for key in keys) for name in NUMBERS[4:-1]
        }
        numbers = [
            rate.estimate,
            rate.low,
            rate.high,
            normalised(entry, references, keys),
            *means.values(),
            float(entry.name in tied),
        ]
        rows.append([round(number, 4) if math.isfinite(number) else None for number in numbers])
    return rows


def submission_rows(entry: Entry, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the cells of a submission by task, for its page."""
    references = [other for other in entries if other.is_reference]
    tasks: dict[str, list[dict[str, Any]]] = {}
    for key, scores in entry.scores.items():
        rate = overall(entry, [key])
        share = normalised(entry, references, [key])
        tasks.setdefault(scores.task, []).append(
            {
                "stratum": scores.stratum,
                **bar(rate),
                "seeds": " ".join(percent(float(rate)) for rate in scores.outcomes.mean(axis=1)),
                "norm": f"{share:.2f}" if math.isfinite(share) else "-",
                "size": " \N{MULTIPLICATION SIGN} ".join(map(str, scores.outcomes.shape)),
                "numbers": [
                    *(
                        percent(scores.others[name])
                        for name in ("ever", "final", "joint", "strict")
                    ),
                    f"{100 * scores.others['violations']:.1f}",
                    milliseconds(scores.others["ms"]),
                    milliseconds(scores.others["p95"]),
                    count(scores.others["model_steps"]),
                ],
            }
        )
    return [{"task": task, "short": short_name(task), "rows": rows} for task, rows in tasks.items()]


def task_places(task: str, entries: Sequence[Entry], *, most: int = 12) -> list[dict[str, Any]]:
    """Return the best replayed entries of a task in each suite, with floors and ceilings.

    Args:
        task: Id of the task.
        entries: Submissions that can be compared.
        most: Largest number of agents under test per suite.
    """
    found = []
    for suite in dict.fromkeys(entry.suite for entry in entries):
        own = [
            entry
            for entry in entries
            if entry.suite == suite
            and entry.is_ranked
            and any(key[0] == task for key in entry.scores)
        ]
        if not own:
            continue
        keys = [key for key in own[0].scores if key[0] == task]
        whole = [entry for entry in own if all(key in entry.scores for key in keys)]
        rates = overall_rates(whole, keys)
        order = sorted(whole, key=lambda entry: -rates[entry.name].estimate)
        learned = [entry for entry in order if entry.kind == "learned"][:most]
        rows = [
            {"entry": entry, **bar(rates[entry.name]), "track": track(entry)}
            for entry in order
            if entry.kind != "learned" or entry in learned
        ]
        found.append(
            {"suite": suite, "rows": rows, "strata": ", ".join(stratum for _, stratum in keys)}
        )
    return found


def bar(rate: Interval) -> dict[str, str]:
    """Return a rate and its interval for the templates' ``interval`` macro."""
    low, high = rate.low, rate.high
    return {
        "held": percent(rate.estimate),
        "ends": f"{percent(low)}\N{EN DASH}{percent(high)}",
        "point": f"{100 * rate.estimate:.1f}",
        "low": f"{100 * low:.1f}",
        "width": f"{100 * (high - low):.1f}",
    }


def track(entry: Entry) -> str:
    """Return what an agent may use, in words."""
    own = entry.manifest.agent.track
    if own.privilege != "none":
        return f"sees the {own.privilege}"
    return "blind" if own.observation == "none" else f"{own.observation}, {own.data}"


def costs(entry: Entry) -> list[tuple[str, str]]:
    """Return the costs of an entry in words; a cost that is not stated is called so."""
    formats = (
        ("transitions", "transitions", count),
        ("training", "train_seconds", duration),
        ("parameters", "parameters", count),
    )
    return [(label, _cost(entry.cost(name), show)) for label, name, show in formats]


def best_on_task(task: str, entries: Sequence[Entry]) -> str:
    """Return the best replayed result of an agent under test on a task, or an empty string."""
    for place in task_places(task, entries, most=1):
        for row in place["rows"]:
            if row["entry"].kind == "learned":
                return f"{row['entry'].label}: {row['held']} % held ({row['ends']})"
    return ""


def gate_numbers(entry: Entry) -> dict[str, dict[str, Any]]:
    """Return by short task name what limits planning, as far as the submission states it."""
    return {
        short_name(report.task_id): report.gate.model_dump()
        for report in entry.reports
        if report.gate is not None
    }


def _describe_search(entry: Entry) -> str:
    if entry.kind != "learned":
        return ""
    return "searched" if entry.searches else "search-free"


def _cost(value: float, show: Callable[[float], str]) -> str:
    if not math.isfinite(value):
        return NOT_STATED
    return show(value) if value else "0"


def _entry(entry: Entry, rows: list[list[Number] | None]) -> dict[str, Any]:
    own = entry.manifest.agent.track
    shapes = [scores.outcomes.shape for scores in entry.scores.values()]
    return {
        "name": entry.name,
        "label": entry.label,
        "ranked": entry.is_ranked,
        "copies": list(entry.copies),
        "suspicions": list(entry.suspicions),
        "agent": entry.manifest.agent.name,
        "kind": entry.kind,
        "search": _describe_search(entry),
        "gates": gate_numbers(entry),
        "suite": entry.suite,
        "observation": own.observation,
        "data": own.data,
        "track": track(entry),
        "badges": [place for place, badge in enumerate(BADGES) if badge in entry.badges],
        "date": entry.manifest.created[:10],
        "seeds": shapes[0][0] if shapes else 0,
        "episodes": max((shape[1] for shape in shapes), default=0),
        **{
            name: _known(entry.cost(name))
            for name in ("transitions", "train_seconds", "parameters")
        },
        "views": rows,
    }


def _known(number: float) -> Number:
    return round(number, 1) if math.isfinite(number) else None


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)

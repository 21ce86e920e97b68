"""The answer of the board in one sentence, generated from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jepabench.envs.task import short_name
from jepabench.evaluation.statistics.intervals import Interval, mean_over_cells
from jepabench.results.board.entries import Entry, difference
from jepabench.results.figures.family_comparison import (
    count_wins,
    describe_comparison,
    describe_interval,
)
from jepabench.results.figures.planning_vs_rl import Panel


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAnswer:
    """The best planner and the best learned policy of a task.

    Attributes:
        task: Id of the task.
        planner, policy: The two submissions.
        difference: Held success of the planner minus that of the policy, paired by episode.
    """

    task: str
    planner: Entry
    policy: Entry
    difference: Interval


def answer_question(
    entries: Sequence[Entry], suites: Mapping[str, Mapping[str, Any]], panels: Sequence[Panel]
) -> str:
    """Return whether planners beat learned policies, in one sentence.

    The sentence comes from the replayed submissions of the suite with the most tasks on which a
    planner and a learned policy can be compared. If the headline figure has more tasks than that
    suite, the sentence describes the figure. Without either, it says what is missing.

    Args:
        entries: Submissions that can be compared.
        suites: See ``jepabench.results.board.page_values.board_data``.
        panels: Panels of the headline figure.
    """
    found = {name: compare_tasks(entries, name, suite) for name, suite in suites.items()}
    name = max(found, key=lambda one: len(found[one]), default="")
    if name and found[name] and len(found[name]) >= len(panels):
        return _describe(found[name], name, len(suites[name]["tasks"]))
    return describe_comparison(panels) or _describe_gap(entries)


def compare_tasks(
    entries: Iterable[Entry], name: str, suite: Mapping[str, Any]
) -> list[TaskAnswer]:
    """Return the comparison of each task of a suite that has a planner and a learned policy."""
    own = [entry for entry in entries if entry.suite == name and _counts(entry)]
    answers = []
    for task in suite["tasks"]:
        keys = [(task["task_id"], stratum) for stratum in task["strata"]]
        whole = [entry for entry in own if all(key in entry.scores for key in keys)]
        sides = [
            [entry for entry in whole if entry.searches == searches] for searches in (True, False)
        ]
        if all(sides):
            planner, policy = (_best(side, keys) for side in sides)
            answers.append(
                TaskAnswer(
                    task=task["task_id"],
                    planner=planner,
                    policy=policy,
                    difference=difference(planner, policy, keys),
                )
            )
    return answers


def _counts(entry: Entry) -> bool:
    return entry.is_ranked and entry.kind == "learned" and entry.manifest.agent.learns


def _best(entries: Sequence[Entry], keys: Sequence[tuple[str, str]]) -> Entry:
    return max(
        entries, key=lambda entry: sum(float(entry.scores[key].outcomes.mean()) for key in keys)
    )


def _describe(answers: Sequence[TaskAnswer], suite: str, num_tasks: int) -> str:
    wins, losses = count_wins([one.difference for one in answers])
    mean = _mean(answers)
    verdict = "Yes" if mean.low > 0 else "No" if mean.high < 0 else "Undecided"
    names = ", ".join(short_name(one.task) for one in answers if one.difference.low > 0)
    missing = num_tasks - len(answers)
    return (
        f"{verdict}: in suite {suite} the best planner holds more goals than the best learned "
        f"policy on {wins or 'none'} of {len(answers)} tasks{f' ({names})' if names else ''} "
        f"and fewer on {losses or 'none'}; the mean difference is {describe_interval(mean)}"
        + (f"; {missing} tasks have no such pair yet." if missing else ".")
    )


def _mean(answers: Sequence[TaskAnswer]) -> Interval:
    ours, theirs = [], []
    for one in answers:
        keys = [key for key in one.planner.scores if key[0] == one.task]
        ours.append([one.planner.scores[key].outcomes for key in keys])
        theirs.append([one.policy.scores[key].outcomes for key in keys])
    return mean_over_cells(ours, theirs)


def _describe_gap(entries: Sequence[Entry]) -> str:
    counted = [entry for entry in entries if _counts(entry)]
    planners = sum(entry.searches for entry in counted)
    policies = len(counted) - planners
    return (
        "Not answered yet: the board needs replayed planners and learned policies on the same "
        f"suite, and has {planners} and {policies}."
    )

"""Data of the page that compares two submissions: outcomes, paired differences and films.

Each submission has one script, ``compare/NAME.js``, which the page loads when it is chosen. Scripts
are used instead of JSON because a page that is opened from disk cannot fetch files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from jepabench.evaluation.statistics.rates import (
    Limits,
    cell_difference_limits,
    combine_cells,
)
from jepabench.results.board.entries import Entry
from jepabench.results.board.scores import Scores
from jepabench.results.media.episode_media import Shown

Cell = tuple[str, str]  # task, stratum
Keys = list[Cell]
Episode = tuple[str, str, int]  # task, stratum, index
_BLOCK = 25  # submissions that are compared with all others in one call


def comparison_script(
    entry: Entry,
    differences: Mapping[str, NDArray[np.float64]],
    films: Sequence[Shown],
) -> str:
    """Return the script of a submission.

    Args:
        entry: The submission.
        differences: [views, 3] by the name of each submission that follows it on the board; see
            ``paired_differences``.
        films: Its filmed episodes.
    """
    content = {
        "outcomes": {
            "/".join(key): [_digits(seed) for seed in scores.outcomes]
            for key, scores in entry.scores.items()
        },
        "differences": {
            peer: [None if math.isnan(numbers[0]) else numbers for numbers in table.tolist()]
            for peer, table in differences.items()
        },
        "films": {
            f"{shown.record.task_id}/{shown.record.stratum}/{shown.record.index}": [
                shown.film.path,
                shown.film.still,
                shown.film.width,
                shown.film.height,
            ]
            for shown in films
            if shown.film is not None
        },
    }
    text = json.dumps(content, separators=(",", ":"))
    return f"receive({json.dumps(entry.name)},{text});\n"


def paired_differences(entries: Sequence[Entry], views: Sequence[Keys]) -> NDArray[np.float64]:
    """Return the paired differences of held success with their 95 % intervals, to four digits.

    Args:
        entries: N submissions of one suite.
        views: Cells of each of V views.

    Returns:
        [N, N, V, 3], estimate, low and high of the first submission minus the second. Only pairs
        in the order of ``entries`` are computed; all others are NaN, and so are views of which
        one of the two lacks a cell.
    """
    found = np.full((len(entries), len(entries), len(views), 3), np.nan)
    groups = _group_by_shape(entries)
    for first in groups:
        for start in range(0, len(first), _BLOCK):
            block = first[start : start + _BLOCK]
            for group in groups:
                peers = [place for place in group if place > block[0]]
                if peers:
                    found[np.ix_(block, peers)] = _compare_groups(
                        [entries[place] for place in block],
                        [entries[place] for place in peers],
                        views,
                    )
    found[np.tril_indices(len(entries))] = np.nan
    return found.round(4)


def differences_from(entry: Entry, others: Sequence[Entry], keys: Keys) -> NDArray[np.float64]:
    """Return ``paired_differences`` of one submission minus each of N others, [N, 3], not rounded.

    NaN where one of the two lacks a cell.
    """
    found = np.full((len(others), 3), np.nan)
    for group in _group_by_shape(others):
        found[group] = _compare_groups([entry], [others[place] for place in group], [keys])[0, :, 0]
    return found


def choose_divisive_episodes(entries: Sequence[Entry], *, per_task: int) -> frozenset[Episode]:
    """Return the episodes on which the submissions disagree most, so that all of them film these.

    Args:
        entries: Submissions of one suite.
        per_task: Largest number of episodes per task.
    """
    shares: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    for entry in entries:
        for key, scores in entry.scores.items():
            shares.setdefault(key, []).append(scores.outcomes[0])
    ranked: dict[str, list[tuple[float, str, int]]] = {}
    for (task, stratum), outcomes in shares.items():
        if len({len(one) for one in outcomes}) == 1:
            share = np.mean(outcomes, axis=0)
            ranked.setdefault(task, []).extend(
                (-float(min(held, 1 - held)), stratum, index)
                for index, held in enumerate(share)
                if 0 < held < 1
            )
    return frozenset(
        (task, stratum, index)
        for task, episodes in ranked.items()
        for _, stratum, index in sorted(episodes)[:per_task]
    )


def _group_by_shape(entries: Sequence[Entry]) -> list[list[int]]:
    """Return the places of the submissions, grouped by their cells and the shapes of these."""
    groups: dict[frozenset[tuple[Cell, tuple[int, ...]]], list[int]] = {}
    for place, entry in enumerate(entries):
        shapes = frozenset((key, scores.outcomes.shape) for key, scores in entry.scores.items())
        groups.setdefault(shapes, []).append(place)
    return list(groups.values())


def _compare_groups(
    first: Sequence[Entry], second: Sequence[Entry], views: Sequence[Keys]
) -> NDArray[np.float64]:
    """Return the differences [N1, N2, V, 3] of two groups; the members of each have equal shapes.

    The strata of a task are compared once for all views that hold the same strata of it.
    """
    found = np.full((len(first), len(second), len(views), 3), np.nan)
    one, two = first[0].scores, second[0].scores
    compared: dict[tuple[Cell, ...], list[Limits]] = {}
    for place, keys in enumerate(views):
        if not all(_have_same_episodes(one.get(key), two.get(key)) for key in keys):
            continue
        limits = []
        for _, cells in groupby(keys, key=itemgetter(0)):
            strata = tuple(cells)
            if strata not in compared:
                ours, theirs = (_stack_outcomes(group, strata) for group in (first, second))
                ours = [outcomes[:, None] for outcomes in ours]
                compared[strata] = cell_difference_limits(ours, theirs, 0.95)
            limits += compared[strata]
        found[:, :, place] = np.stack(combine_cells(limits), axis=-1)
    return found


def _have_same_episodes(one: Scores | None, two: Scores | None) -> bool:
    return one is not None and two is not None and one.outcomes.shape[1] == two.outcomes.shape[1]


def _stack_outcomes(entries: Sequence[Entry], keys: Sequence[Cell]) -> list[NDArray[np.float64]]:
    """Return the outcomes [N, S, E] of each cell."""
    return [np.stack([entry.scores[key].outcomes for entry in entries]) for key in keys]


def _digits(outcomes: NDArray[np.float64]) -> str:
    """Return a string with 1 for each success and 0 for each failure."""
    return (outcomes.astype(np.uint8) + ord("0")).tobytes().decode("ascii")

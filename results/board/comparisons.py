"""Data of the page that compares two submissions: outcomes, paired differences and films.

Each submission has one script, ``compare/NAME.js``, which the page loads when it is chosen. Scripts
are used instead of JSON because a page that is opened from disk cannot fetch files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.evaluation.statistics.rates import Limits, difference_limits
from jepabench.results.board.entries import Entry
from jepabench.results.board.views import Keys, suite_views
from jepabench.results.media.gallery import Shown

Cell = tuple[str, str]  # task, stratum
Episode = tuple[str, str, int]  # task, stratum, index


def comparison_script(
    entry: Entry, peers: Sequence[Entry], suite: Mapping[str, Any], films: Sequence[Shown]
) -> str:
    """Return the script of a submission.

    Args:
        entry: the submission.
        peers: the submissions that follow it on the board, of the same suite.
        suite: see ``jepabench.results.board.views.board_data``.
        films: its filmed episodes.
    """
    content = {
        "outcomes": {
            "/".join(key): ["".join("01"[int(held)] for held in seed) for seed in scores.outcomes]
            for key, scores in entry.scores.items()
        },
        "differences": paired_differences(entry, peers, [keys for _, keys in suite_views(suite)]),
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


def paired_differences(
    entry: Entry, peers: Sequence[Entry], views: Sequence[Keys]
) -> dict[str, list[list[float] | None]]:
    """Return the paired difference of held success, with its 95 % interval, by peer and view.

    Args:
        entry: the submission.
        peers: others of the same suite.
        views: cells of each view.

    Returns:
        For each peer and view ``[difference, low, high]``, the entry minus the peer; None if one of
        the two lacks a cell of the view.
    """
    found: dict[str, list[list[float] | None]] = {peer.name: [None] * len(views) for peer in peers}
    num_episodes = {key: scores.outcomes.shape[1] for key, scores in entry.scores.items()}
    groups: dict[frozenset[tuple[Cell, tuple[int, ...]]], list[Entry]] = {}
    for peer in peers:  # peers with as many seeds and episodes are compared in one call
        shapes = frozenset((key, scores.outcomes.shape) for key, scores in peer.scores.items())
        groups.setdefault(shapes, []).append(peer)
    for shapes, group in groups.items():
        comparable = {key for key, shape in shapes if num_episodes.get(key) == shape[1]}
        for place, keys in enumerate(views):
            if comparable.issuperset(keys):
                limits = _differences(entry, group, keys)
                for number, peer in enumerate(group):
                    found[peer.name][place] = [round(float(end[number]), 4) for end in limits]
    return found


def choose_divisive_episodes(entries: Sequence[Entry], *, per_task: int) -> frozenset[Episode]:
    """Return the episodes on which the submissions disagree most, so that all of them film these.

    Args:
        entries: submissions of one suite.
        per_task: largest number of episodes per task.
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


def _differences(entry: Entry, peers: Sequence[Entry], keys: Keys) -> Limits:
    """Return the differences to N peers with the same number of seeds, each [N]."""
    ours: dict[str, list[NDArray[np.float64]]] = {}
    theirs: dict[str, list[NDArray[np.float64]]] = {}
    for key in keys:
        ours.setdefault(key[0], []).append(entry.scores[key].outcomes[None])
        others = np.stack([peer.scores[key].outcomes for peer in peers])
        theirs.setdefault(key[0], []).append(others)
    return difference_limits(list(ours.values()), list(theirs.values()), 0.95)

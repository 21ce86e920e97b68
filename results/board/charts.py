"""Inline SVG charts of submissions, in the colours of the page.

They are written by hand because matplotlib is too slow for hundreds of submissions.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from jepabench.results.board.entries import Entry

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 560, 250, 44, 38, 12, 120
_LABEL = 14  # minimum distance of two names


def profile_chart(entry: Entry, peers: Sequence[Entry]) -> str:
    """Return the performance profile of an entry as SVG.

    The profile is the share of runs (training seed, task and stratum) above each success rate.

    Args:
        entry: The submission.
        peers: Floors and ceilings of the same suite, drawn faint; incomplete ones are omitted.
    """
    lines = [
        (one.manifest.agent.name, _runs(one), "peer")
        for one in peers
        if one.scores.keys() >= entry.scores.keys()
    ]
    lines.append((entry.name, _runs(entry), "own"))
    parts, labels = _axes(), []
    for name, runs, kind in lines:
        parts.append(f'<path class="line {kind}" d="{_steps(runs)}"/>')
        labels.append((_y(float((runs > 0.5).mean())), name, kind))
    parts += _labels(labels)
    words = f"Share of runs of {entry.name} that succeed more often than a rate, from 0 to 100 %"
    return (
        f'<svg class="profile" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(words)}">{"".join(parts)}</svg>'
    )


def _runs(entry: Entry) -> np.ndarray:
    return np.concatenate([scores.outcomes.mean(axis=1) for scores in entry.scores.values()])


def _x(rate: float) -> float:
    return _LEFT + rate * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)


def _steps(runs: np.ndarray) -> str:
    """Return the path of a step function: at rate t, the share of runs above t."""
    rates = np.unique(runs)
    path = [f"M{_x(0):.1f} {_y((runs > -1).mean()):.1f}"]
    for rate in rates:
        path.append(f"H{_x(rate):.1f}V{_y((runs > rate).mean()):.1f}")
    path.append(f"H{_x(1):.1f}")
    return "".join(path)


def _axes() -> list[str]:
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        label = f"{100 * tick:.0f}{' %' if tick == 1 else ''}"
        parts.append(f'<path class="grid" d="M{_x(0):.1f} {_y(tick):.1f}H{_x(1):.1f}"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{_y(tick) + 4:.1f}" text-anchor="end">{label}</text>'
        )
        parts.append(
            f'<text x="{_x(tick):.1f}" y="{_HEIGHT - 16}" text-anchor="middle">{label}</text>'
        )
    parts.append(
        f'<text x="{_x(0.5):.1f}" y="{_HEIGHT - 2}" text-anchor="middle">held success above</text>'
    )
    return parts


def _labels(labels: list[tuple[float, str, str]]) -> list[str]:
    """Return names at the right, ordered as the lines, without overlap and above the axis."""
    places = sorted(labels)
    heights = []
    for y, _, _ in places:
        heights.append(max(y, heights[-1] + _LABEL) if heights else y)
    for place in range(len(heights) - 1, -1, -1):
        below = heights[place + 1] - _LABEL if place + 1 < len(heights) else _y(0) - 4
        heights[place] = min(heights[place], below)
    parts = []
    for y, (_, name, kind) in zip(heights, places, strict=True):
        shown = name if len(name) <= 16 else f"{name[:15]}…"
        parts.append(
            f'<text class="{kind}" x="{_x(1) + 8:.1f}" y="{y + 4:.1f}">{escape(shown)}</text>'
        )
    return parts

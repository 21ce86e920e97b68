"""Suspicious rows of a table: results that contradict what their tracks and methods allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jepabench.evaluation.references import Track
from jepabench.evaluation.statistics.intervals import Array, mean_over_cells

# The method that each agent approximates: a model in place of the simulator, latents in place of
# the state.
EXACT: Mapping[str, str] = {"state-cem": "oracle-cem", "jepa-cem": "state-cem"}
# An agent that computes for longer than this per control step [ms] searches with something.
SEARCH_MS = 2.0
Cells = Mapping[tuple[str, str], Array]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A row that is suspicious, and why; ``reason`` is a sentence about it."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table.

    Attributes:
        name: Unique in the table.
        agent: Name of its agent.
        track: What the agent may use.
        outcomes: ``success_held`` [S, E] by task and stratum.
        planning_ms, model_steps: Per control step, mean over cells; 0 if they are not known.
    """

    name: str
    agent: str
    track: Track
    outcomes: Cells
    planning_ms: float = 0.0
    model_steps: float = 0.0


def find_suspicions(rows: Sequence[Row]) -> list[Suspicion]:
    """Return the rows that a maintainer should look into.

    Flagged are privileged agents that are significantly worse than an agent without privilege, and
    approximations (``EXACT``) that are significantly better than the exact method. Differences are
    paired, over all cells that both rows have, and both rows are flagged. An agent without data and
    privilege is flagged if it states no model steps but plans for more than ``SEARCH_MS``: it may
    search in a simulator of its own. ``submissions.copies`` finds equal actions.
    """
    found: dict[tuple[str, str], Suspicion] = {}
    for privileged in rows:
        if privileged.track.privilege == "none":
            continue
        for other in rows:
            if other.track.privilege == "none" and _exceeds(other, privileged):
                _add(found, privileged, f"It is privileged and below {other.name}.")
                _add(found, other, f"It is above {privileged.name}, which is privileged.")
    for row in rows:
        for exact in rows:
            if EXACT.get(row.agent) == exact.agent and _exceeds(row, exact):
                _add(found, row, f"It approximates {exact.name} and is above it.")
                _add(found, exact, f"{row.name} approximates it and is above it.")
    for row in rows:
        untrained = row.track.data == "none" and row.track.kind == "learned"
        if untrained and not row.model_steps and row.planning_ms > SEARCH_MS:
            spent = f"plans for {row.planning_ms:.3g} ms per control step"
            _add(found, row, f"It uses no data, states no model steps and {spent}.")
    return list(found.values())


def _add(found: dict[tuple[str, str], Suspicion], row: Row, reason: str) -> None:
    found.setdefault((row.name, reason), Suspicion(row.name, reason))


def _exceeds(first: Row, second: Row) -> bool:
    """Return whether the first row is significantly better on the cells that both have."""
    tasks: dict[str, list[tuple[Array, Array]]] = {}
    for key in first.outcomes.keys() & second.outcomes.keys():
        pair = first.outcomes[key], second.outcomes[key]
        if pair[0].shape[1] == pair[1].shape[1]:
            tasks.setdefault(key[0], []).append(pair)
    if not tasks:
        return False
    pairs = [tasks[task] for task in sorted(tasks)]
    ours, theirs = ([[pair[side] for pair in cells] for cells in pairs] for side in (0, 1))
    return mean_over_cells(ours, theirs).low > 0

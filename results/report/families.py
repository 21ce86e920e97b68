"""The family of an agent (planner, RL, imitation, or floor and ceiling) and its colour."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.lines import Line2D

from jepabench.results.report.panels import GREY
from jepabench.results.report.success_table import Cell, Kind, agent_kind

FAMILIES = {
    "planner": "#4477AA",
    "RL": "#EE6677",
    "imitation": "#C99700",
    "floor or ceiling": GREY,
}
_IMITATION = re.compile(r"(^|-)(gcbc|bc|inverse|reactive)(-|$)")


def family_colours(cells: Iterable[Cell]) -> dict[str, str]:
    """Return the colour of each agent's family: planner, RL, imitation, or floor and ceiling.

    An agent that uses model steps is a planner. Imitation is behaviour cloning and inverse models.
    """
    planners: dict[str, bool] = {}
    kinds: dict[str, Kind] = {}
    for cell in cells:
        planners[cell.agent] = planners.get(cell.agent, False) or cell.model_steps > 0
        kinds[cell.agent] = cell.kind
    return {
        agent: FAMILIES[_classify(agent, kinds[agent], plans)] for agent, plans in planners.items()
    }


def classify_families(rows: Iterable[Mapping[str, Any]], column: str = "agent") -> dict[str, str]:
    """Return the family of each agent of a table with a column ``model_steps``.

    Args:
        rows: Rows of the table.
        column: That names the agents.
    """
    planners: dict[str, bool] = {}
    for row in rows:
        agent = str(row[column])
        planners[agent] = planners.get(agent, False) or row["model_steps"] > 0
    return {agent: _classify(agent, agent_kind(agent), plans) for agent, plans in planners.items()}


def family_handles(families: Iterable[str]) -> list[Line2D]:
    """Return the entries of a legend of families, in the order of ``FAMILIES``."""
    present = set(families)
    return [
        Line2D([], [], color=colour, marker="s", linestyle="", label=family)
        for family, colour in FAMILIES.items()
        if family in present
    ]


def _classify(agent: str, kind: Kind, plans: bool) -> str:
    if kind != "learned":
        return "floor or ceiling"
    if plans:
        return "planner"
    return "imitation" if _IMITATION.search(agent) else "RL"

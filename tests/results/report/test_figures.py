import math
import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from jepabench.results.board.claim_figures import claim_figure
from jepabench.results.report.families import FAMILIES, classify_families
from jepabench.results.report.figures import cost_figure, curves_figure, success_figure
from jepabench.results.report.panels import agent_colours
from jepabench.results.report.success_table import Cell

HOSTILE = "<script>&$x$\x00"
TEXT = "{http://www.w3.org/2000/svg}text"


def cell(agent, stratum="near", held=0.5, ms=1.0, transitions=math.nan):
    return Cell(
        task="T-v1",
        stratum=stratum,
        agent=agent,
        status="done",
        success_held=held,
        success_ever=min(1.0, held + 0.1),
        held_low=max(0.0, held - 0.2),
        held_high=min(1.0, held + 0.2),
        ms_per_step=ms,
        transitions=transitions,
    )


CELLS = [
    cell("oracle-cem", held=1.0, ms=200),
    cell("jepa", held=0.8, ms=20, transitions=1e5),
    cell("sac", held=0.4, transitions=1e6),
    cell(HOSTILE, held=0.3, transitions=1e5),
    cell("random", held=0.0, ms=0.01),
]
CELLS += [Cell(task="T-v1", stratum="far", agent=one.agent, status="missing") for one in CELLS]
COLOURS = agent_colours(one.agent for one in CELLS)


def texts(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(TEXT)]


def test_each_agent_has_a_colour_and_references_are_grey():
    assert COLOURS["oracle-cem"] == COLOURS["random"]
    assert len({COLOURS[agent] for agent in ("jepa", "sac", HOSTILE, "oracle-cem")}) == 4
    assert agent_colours(["jepa", "sac"])["jepa"] == COLOURS["jepa"]


def test_success_bars_name_agents_strata_and_numbers():
    shown = texts(success_figure(CELLS, colours=COLOURS))
    assert {"near", "far", "jepa", "sac", "80", "40"} <= set(shown)
    assert shown.count("missing") == 5 and "nan" not in shown


def test_agents_of_a_family_have_one_colour_in_charts_of_claims_and_of_scaling():
    rows = pd.DataFrame(
        {
            "agent": ["jepa-cem", "jepa-icem", "sac-her", "gcbc", "jepa-reactive", "random"],
            "model_steps": [900, 700, 0, 0, 0, 0],
            "held": [0.9, 0.8, 0.5, 0.4, 0.6, 0.1],
        }
    )
    assert classify_families(rows.to_dict("records")) == {
        "jepa-cem": "planner",
        "jepa-icem": "planner",
        "sac-her": "RL",
        "gcbc": "imitation",
        "jepa-reactive": "imitation",
        "random": "floor or ceiling",
    }
    spec = {"kind": "bars", "series": "agent", "value": "held", "label": "held"}
    assert set(FAMILIES) < set(texts(claim_figure(rows, spec)))
    stated = spec | {"families": {name: "planner" for name in rows["agent"]}}
    svg = claim_figure(rows.drop(columns="model_steps"), stated).decode().upper()
    assert FAMILIES["planner"] in svg and FAMILIES["RL"] not in svg and "PLANNER" not in svg


def test_a_hostile_name_is_text_in_a_chart():
    for svg in (
        success_figure(CELLS, colours=COLOURS),
        cost_figure(CELLS, cost=lambda one: one.ms_per_step, label="ms", colours=COLOURS),
    ):
        assert svg is not None
        assert "<script>&$x$·" in texts(svg) and b"<script" not in svg


@pytest.mark.parametrize("columns", [1, 3])
def test_a_chart_is_reproducible_and_makes_no_network_request(columns):
    first, second = (success_figure(CELLS, colours=COLOURS, columns=columns) for _ in range(2))
    assert first == second
    assert set(re.findall(rb'"(https?://[^"]*)"', first)) <= {
        b"http://www.w3.org/1999/xlink",
        b"http://www.w3.org/2000/svg",
    }


def test_a_chart_follows_the_theme_of_the_reader():
    svg = success_figure(CELLS, colours=COLOURS)
    assert b"prefers-color-scheme:dark" in svg and b"currentColor" in svg and b"#010203" not in svg


def test_one_column_makes_a_tall_chart():
    wide, tall = (
        ElementTree.fromstring(success_figure(CELLS, colours=COLOURS, columns=n)).get("viewBox")
        for n in (3, 1)
    )
    assert wide is not None and tall is not None
    (_, _, width, height), (_, _, width1, height1) = (
        map(float, box.split()) for box in (wide, tall)
    )
    assert width1 < width and height1 > height


def test_costs_are_points_for_trained_agents_and_lines_for_the_others():
    svg = cost_figure(CELLS, cost=lambda one: one.transitions, label="transitions", colours=COLOURS)
    assert svg is not None
    shown = texts(svg)
    assert {"transitions", "100k", "1M", "jepa", "random", "oracle-cem"} <= set(shown)


def test_a_cost_that_is_equal_for_all_agents_has_no_chart():
    same = [cell("jepa", transitions=1e5), cell("sac", transitions=1e5), cell("random")]
    for cells in (same, same[2:], []):
        assert (
            cost_figure(
                cells, cost=lambda one: one.transitions, label="transitions", colours=COLOURS
            )
            is None
        )


def test_training_curves_have_a_panel_a_metric():
    rows = [
        {
            "task": "jepabench/T-v1",
            "agent": agent,
            "seed": seed,
            "seconds": second,
            "metric": metric,
            "value": value,
        }
        for agent in ("jepa", "sac")
        for seed in (0, 1)
        for metric in ("loss", "probe")
        for second, value in ((0, 1.0), (5, math.nan), (9, 0.2))
    ]
    shown = texts(curves_figure(pd.DataFrame(rows), colours=COLOURS))
    assert {"T-v1: loss", "T-v1: probe", "jepa", "sac", "training time [s]"} <= set(shown)


def test_a_panel_of_a_claim_has_rows_only_for_its_own_series():
    rows = pd.DataFrame(
        {"task": ["A", "A", "B"], "planner": ["cem", "mppi", "cem"], "held": [0.5, 0.6, 0.7]}
    )
    spec = {"kind": "bars", "series": "planner", "value": "held", "panel": "task", "label": "held"}
    svg = claim_figure(rows, spec).decode()
    assert (svg.count(">cem<"), svg.count(">mppi<")) == (2, 1)


def test_a_grid_has_no_colour_where_the_value_is_zero():
    rows = pd.DataFrame(
        {"x": [0, 1, 0, 1], "y": [0, 0, 1, 1], "part": "all", "share": [0.0, 0.2, 0.8, 0.0]}
    )
    spec = {"kind": "grid", "series": "part", "families": {"all": "planner"}}
    spec |= {"x": "x", "y": "y", "value": "share", "label": "up", "x_label": "along"}
    svg = claim_figure(rows, spec).decode()
    assert {"up", "along"} <= set(texts(svg.encode()))
    cells = re.findall(r'<g id="QuadMesh_1">(.*?)</g>', svg, re.DOTALL)[0]
    planner = FAMILIES["planner"].lower()
    assert re.findall(r'style="(.*?)"', cells) == [
        "fill: none",
        f"fill: {planner}; fill-opacity: 0.575",
        f"fill: {planner}",
        "fill: none",
    ]

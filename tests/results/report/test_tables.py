import io
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from jepabench.results.report.success_table import (
    COLUMNS,
    TableError,
    agent_kind,
    agent_kinds,
    agent_order,
    count,
    duration,
    milliseconds,
    percent,
    read_cells,
    read_table,
    terminal_table,
    write_table,
)


def row(**values):
    return {
        **dict.fromkeys(COLUMNS, 0.5),
        "task": "T-v1",
        "stratum": "near",
        "agent": "mine",
        **values,
    }


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        ("random", "floor"),
        ("hold_still", "floor"),
        ("Hold-Still", "floor"),
        ("oracle-cem", "ceiling"),
        ("expert", "ceiling"),
        ("scripted_expert", "learned"),
        ("random-shooting", "learned"),
        ("jepa-cem", "learned"),
        ("experts", "learned"),
    ],
)
def test_only_reserved_names_are_references_where_the_track_is_unknown(agent, kind):
    assert agent_kind(agent) == kind


def test_ceilings_come_first_and_floors_last_in_a_stable_order():
    assert agent_order(["random", "b", "expert", "a", "b"]) == ["expert", "b", "a", "random"]
    kinds = {"a": "ceiling", "b": "floor"}
    assert agent_order(["random", "b", "c", "a"], kinds) == ["a", "c", "random", "b"]


def test_the_kind_of_an_agent_is_that_of_the_table():
    table = pd.DataFrame(
        [
            row(kind="learned"),
            row(agent="my-script", kind="ceiling"),
            row(agent="lazy", kind="floor"),
        ]
    )
    cells = read_cells(table)
    assert agent_kinds(cells) == {"my-script": "ceiling", "mine": "learned", "lazy": "floor"}
    assert [cell.agent for cell in cells] == ["my-script", "mine", "lazy"]
    assert agent_kinds(read_cells(pd.DataFrame([row(agent="expert")]))) == {"expert": "ceiling"}


def test_absent_cells_are_missing_and_cells_without_a_rate_are_failed():
    table = pd.DataFrame([row(), row(agent="broken", success_held=math.nan), row(stratum="far")])
    cells = read_cells(table, strata={"T-v1": ["near", "beyond"]}, agents=["late"])
    status = {(cell.stratum, cell.agent): cell.status for cell in cells}
    assert status == {
        **{(stratum, "mine"): "done" for stratum in ("near", "far")},
        ("near", "broken"): "failed",
        ("far", "broken"): "missing",
        **{("beyond", agent): "missing" for agent in ("late", "mine", "broken")},
        **{(stratum, "late"): "missing" for stratum in ("near", "far")},
    }
    assert all(math.isnan(cell.success_held) for cell in cells if cell.status != "done")
    assert list(dict.fromkeys(cell.stratum for cell in cells)) == ["near", "beyond", "far"]


def test_a_table_without_a_column_is_refused_by_name():
    with pytest.raises(TableError, match="held_low"):
        read_cells(pd.DataFrame([row()]).drop(columns="held_low"))


def test_rejects_duplicated_cells():
    with pytest.raises(TableError, match=r"near \| mine is duplicated"):
        read_cells(pd.DataFrame([row(), row(success_held=0.9)]))


@pytest.mark.parametrize("name", ["none", "NA", "nan", "1", 'a,"b"\nc', "null"])
def test_names_survive_the_table_file(tmp_path, name):
    table = pd.DataFrame([row(agent=name, transitions=math.nan, success_held=1 / 3)])
    path = write_table(tmp_path / "table.csv", table)
    (cell,) = read_cells(read_table(path))
    assert (
        cell.agent == name
        and cell.success_held == pytest.approx(1 / 3, rel=1e-5)
        and math.isnan(cell.transitions)
    )
    assert tuple(path.read_text(encoding="utf-8").splitlines()[0].split(",")) == COLUMNS


def test_a_missing_table_is_refused_with_a_hint(tmp_path):
    with pytest.raises(FileNotFoundError, match="Evaluate the suite first"):
        read_table(tmp_path / "table.csv")


def test_the_terminal_shows_literal_names_and_missing_cells():
    table = pd.DataFrame(
        [row(agent="[red]x[/red]"), row(stratum="far"), row(agent="broken", success_held=math.nan)]
    )
    console = Console(file=io.StringIO(), width=140)
    console.print(terminal_table(table))
    shown = console.file.getvalue()
    assert "[red]x[/red]" in shown and "missing" in shown and "failed" in shown and "50 %" in shown
    assert "nan" not in shown


@given(st.floats(min_value=1, max_value=9e11))
def test_counts_keep_three_figures(number):
    text = count(number)
    unit = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1], 1.0)
    shown = float(text.rstrip("kMG"))
    assert shown < 1000 and shown * unit == pytest.approx(number, rel=0.006)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (count(999_600), "1M"),
        (count(100_000), "100k"),
        (count(0), "-"),
        (count(math.nan), "-"),
        (duration(45), "45 s"),
        (duration(612), "10 min"),
        (duration(7300), "2.03 h"),
        (duration(0), "-"),
        (milliseconds(0.004), "<0.1"),
        (milliseconds(0.43), "0.4"),
        (milliseconds(21.4), "21"),
        (milliseconds(math.nan), "-"),
        (percent(0.785), "78"),
        (percent(math.nan), "-"),
    ],
)
def test_numbers_are_formatted_for_readers(shown, expected):
    assert shown == expected

"""Test the table of the tasks of `core`."""

import re

import pytest
from made_up_board import PUSH, ROOM, sources
from made_up_submissions import suite_of, write

from jepabench.pipeline.suites import describe_suites
from jepabench.results.board.core_tasks import core_rows
from jepabench.results.board.entries import read_entries
from jepabench.results.board.site import build_board

pytestmark = pytest.mark.usefixtures("pinned")
STRATA = ("near", "far")
SUITES = {
    "core": suite_of((ROOM, STRATA), (PUSH, ("steps25",))),
    "room": suite_of((ROOM, STRATA)),
    "push": suite_of((PUSH, ("steps25",))),
    "short": suite_of((ROOM, STRATA), episodes=10),
    "near": suite_of((ROOM, ("near",))),
}


def add(root, name, suite, **settings):
    settings = {"badges": 2} | settings
    write(root, name, suite, SUITES[suite], **settings)


def rows(root, suites=SUITES):
    entries = read_entries(root / "submissions", root / "verified", {name: 1 for name in suites})
    return core_rows(entries.current, suites)


def test_a_row_collects_the_suites_of_single_tasks(tmp_path):
    add(tmp_path, "jepa-cem-room-v1", "room", agent="jepa-cem", skill=1.0)
    add(tmp_path, "jepa-cem-push-v1", "push", agent="jepa-cem", skill=0.0)
    add(tmp_path, "gcbc-room-v1", "room", agent="gcbc", skill=1.0)
    add(tmp_path, "random-core-v1", "core", agent="random", skill=0.0)
    tasks, found = rows(tmp_path)
    assert tasks == ["TwoRoom-v1", "PushT-v1"]
    assert [row.label for row in found] == ["jepa-cem", "gcbc", "random"]
    held = [[cell and cell.rate.estimate > 0.5 for cell in row.cells] for row in found]
    assert held == [[True, False], [True, None], [False, False]]
    assert [row.missing for row in found] == [0, 1, 0]
    assert [cell.seeds for cell in found[0].cells if cell] == [3, 3]
    assert [cell.seeds for cell in found[2].cells if cell] == [1, 1]


def test_other_episodes_other_strata_and_unverified_rows_are_left_out(tmp_path):
    add(tmp_path, "a", "short", agent="jepa-cem")
    add(tmp_path, "b", "near", agent="jepa-cem")
    add(tmp_path, "c", "room", agent="jepa-cem", badges=1)
    assert rows(tmp_path)[1] == []


def test_the_row_with_the_highest_badge_is_shown(tmp_path):
    add(tmp_path, "gcbc-room-v1", "room", agent="gcbc", skill=0.0, badges=3)
    add(tmp_path, "gcbc-core-v1", "core", agent="gcbc", skill=1.0)
    (row,) = rows(tmp_path)[1]
    assert [cell.entry.name for cell in row.cells if cell] == ["gcbc-room-v1", "gcbc-core-v1"]


def test_agents_of_other_authors_have_rows_of_their_own(tmp_path):
    add(tmp_path, "gcbc-room-v1", "room", agent="gcbc", authors=["A"])
    add(tmp_path, "gcbc-push-v1", "push", agent="gcbc", authors=["B"])
    assert [row.missing for row in rows(tmp_path)[1]] == [1, 1]


def test_the_board_links_each_cell(tmp_path):
    add(tmp_path, "gcbc-room-v1", "room", agent="gcbc", skill=1.0)
    build_board(tmp_path / "site", sources(tmp_path, suites=SUITES), progress=False)
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "The tasks of core" in page
    assert re.search(r'<a href="submissions/gcbc-room-v1.html">\d+</a></td>', page)


def test_a_board_without_core_has_no_such_table(tmp_path):
    suites = {"room": SUITES["room"]}
    add(tmp_path, "gcbc-room-v1", "room", agent="gcbc")
    assert rows(tmp_path, suites) == ([], [])


def test_suites_state_their_episodes():
    tasks = describe_suites()["core"]["tasks"]
    assert {task["num_episodes"] for task in tasks} == {100}

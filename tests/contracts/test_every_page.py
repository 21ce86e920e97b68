"""Test that the pages of the environments are complete and up to date."""

from pathlib import Path

import cv2
import pytest

from jepabench import envs
from jepabench.envs.checks.task_pages import SECTIONS, index, page, picture
from jepabench.envs.maze.hidden_door import HiddenDoor
from jepabench.envs.task import short_name
from jepabench.results.board.world_facts import recorded_rates

FOLDER = Path(__file__).parents[2] / "docs" / "environments"
TASKS = {
    short_name(task.id): task for task in envs.list_tasks() if task.id.startswith("jepabench/")
}
PAGES = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README")
RECORD = "Run `python benchmarks/speed/environments.py expert TASK`."
MEND = "Run `python docs/environments/generate.py`."


def test_every_world_has_a_page():
    assert set(TASKS) == set(PAGES), MEND


@pytest.mark.parametrize("name", PAGES)
def test_a_page_states_floors_and_ceiling_of_every_stratum(name):
    task = TASKS[name]
    rates, num_episodes = recorded_rates(task.id)
    assert num_episodes >= 20 and {"hold-still", "random", "expert"} <= set(rates), RECORD
    assert all(tuple(of) == task.strata for of in rates.values()), RECORD
    assert set(rates["hold-still"].values()) == {0.0}
    assert all(rates["random"][stratum] < rates["expert"][stratum] for stratum in task.strata)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name):
    assert name in TASKS, f"There is no task {name} any more. Delete its page."
    written = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    rates, num_episodes = recorded_rates(TASKS[name].id)
    assert written == page(
        TASKS[name].id, picture=f"{name}.png", rates=rates, num_episodes=num_episodes
    ), MEND
    assert cv2.imread(str(FOLDER / f"{name}.png")).shape[0] == 160


def test_the_list_of_pages_is_up_to_date():
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == index(
        [TASKS[name].id for name in PAGES]
    ), MEND


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_sections_in_their_order(name):
    lines = (FOLDER / f"{name}.md").read_text(encoding="utf-8").splitlines()
    found = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert [section for section in found if section in SECTIONS] == list(SECTIONS)
    assert lines[0] == f"# {name}" and f"| id | `{TASKS[name].id}` |" in lines


def test_page_inherits_sections_but_not_versions(monkeypatch):
    monkeypatch.setattr(HiddenDoor, "__doc__", "A door.\n\n## Versions\n\n* v1: first version.")
    lines = page("jepabench/TwoRoom-HiddenDoor-v1").splitlines()
    found = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert [section for section in found if section in SECTIONS] == list(SECTIONS)
    assert lines[2] == "A door."
    monkeypatch.setattr(HiddenDoor, "__doc__", "A door.")
    with pytest.raises(ValueError, match="no section '## Versions'"):
        page("jepabench/TwoRoom-HiddenDoor-v1")


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match="Cannot write"):
        picture("jepabench/TwoRoom-v1", tmp_path / "nowhere" / "picture.png")

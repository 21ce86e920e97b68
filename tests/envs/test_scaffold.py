import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.checks import scaffold
from jepabench.envs.checks.checker import check_env
from jepabench.envs.checks.scaffold import ScaffoldError, families, write_draft
from jepabench.envs.checks.task_pages import page
from jepabench.envs.events import inject, list_events
from jepabench.envs.registry import UnknownNameError
from jepabench.envs.splits import episode_specs

HOME = Path(__file__).parents[2]
FILES = ("README.md", "__init__.py", "behaviours.py", "world.py", "world.xml")
NAMES = {"manipulation": "DraftOfPushing", "navigation": "DraftWithTheLongestNameThatThereCanBe42X"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("drafts")
    sys.path.insert(0, str(path))
    yield path
    sys.path.remove(str(path))


@pytest.fixture(scope="module")
def drafts(folder):
    return {family: write_draft(NAMES[family], family=family, path=folder) for family in families()}


every_family = pytest.mark.parametrize("family", NAMES)


def test_every_family_is_tried():
    assert families() == sorted(NAMES)


@every_family
def test_a_draft_is_a_sound_world(family, drafts):
    draft = drafts[family]
    assert (
        draft.files
        == FILES
        == tuple(sorted(path.name for path in draft.folder.iterdir() if path.is_file()))
    )
    card = check_env(draft.task_id, num_episodes=10)
    assert card.passed, card.text()
    assert envs.get_task(draft.task_id).family == family


@every_family
def test_its_page_is_the_one_that_its_code_gives(family, drafts):
    draft = drafts[family]
    written = (draft.folder / "README.md").read_text(encoding="utf-8")
    assert written == page(draft.task_id)
    for section in ("Action", "Observation", "Success", "Variations", "Events", "Versions"):
        assert f"\n## {section}\n" in written


@every_family
def test_it_has_variations_and_events(family, drafts):
    env = envs.make(drafts[family].task_id, pixels=48)
    plain, _ = env.reset(seed=0)
    varied, _ = env.reset(seed=0, options={"variation": "hard"})
    assert np.array_equal(plain["observation"], varied["observation"])
    assert not np.array_equal(plain["pixels"], varied["pixels"])
    events = [event.name for event in list_events(drafts[family].task_id)]
    assert {"teleport", "vanish", "appear", "freeze", "reverse", "recolour"} <= set(events)
    assert ("pass_wall" in events) == (family == "navigation")
    state = env.snapshot()
    for name in events:
        inject(env, name, np.random.default_rng(0))
        env.step(env.action_space.high)
        assert np.array_equal(env.restore(state)["pixels"], varied["pixels"])


@every_family
def test_its_expert_solves_it_in_any_episode(family, drafts):
    env = envs.make(drafts[family].task_id)
    for spec in episode_specs(drafts[family].task_id, "validation", 15):
        observation, info = envs.reset_to(env, spec)
        expert = env.task.behaviour("expert")
        expert.reset(env, np.random.default_rng(0))
        for _ in range(info["budget"]):
            observation, *_, info = env.step(expert.act(observation))
        assert info["is_success"], spec.key


@every_family
def test_it_is_written_as_the_house_writes(family, drafts):
    settings = ["--config", str(HOME / "pyproject.toml"), str(drafts[family].folder)]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *settings],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_draft_inside_a_package_is_a_part_of_it(folder):
    outer = folder / "outer_package"
    outer.mkdir()
    (outer / "__init__.py").touch()
    draft = write_draft("InnerDraft", family="navigation", path=outer)
    assert draft.task_id == "outer_package.inner_draft:InnerDraft-v0"
    env = envs.make(draft.task_id)
    env.reset(seed=0)
    assert type(env).__module__ == "outer_package.inner_draft.world"
    env.task.behaviour("expert").reset(env, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stack_cubes", "Perhaps 'StackCubes'"),
        ("Stack Cubes", "Perhaps 'StackCubes'"),
        ("stack-cubes", "Perhaps 'StackCubes'"),
        ("../Evil", "Perhaps 'Evil'"),
        ("", "is no name for a world"),
        ("A", "is no name for a world"),
        ("3D", "is no name for a world"),
        ("Würfel", "is no name for a world"),
        ("A" * 41, "is no name for a world"),
        ("Stack\n", "is no name for a world"),
        ("Class", "Python has the word 'class'"),
        ("Torch", "another package 'torch'"),
        ("Envs", "another package 'envs'"),
        ("CartPole", "registered already"),
    ],
)
def test_a_bad_name_is_refused_before_anything_is_written(name, message, tmp_path):
    with pytest.raises(ScaffoldError, match=message):
        write_draft(name, family="manipulation", path=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "stack_cubes").mkdir()
    (tmp_path / "stack_cubes" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ScaffoldError, match="is there already"):
        write_draft("StackCubes", family="manipulation", path=tmp_path)
    assert [path.name for path in (tmp_path / "stack_cubes").iterdir()] == ["mine.txt"]


def test_unknown_families_and_folders_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'manipulation'"):
        write_draft("StackCubes", family="manipulatoin", path=tmp_path)
    with pytest.raises(ScaffoldError, match="is not a folder"):
        write_draft("StackCubes", family="manipulation", path=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_draft_that_does_not_work_is_not_left_behind(tmp_path, monkeypatch):
    broken = tmp_path / "templates" / "broken"
    broken.mkdir(parents=True)
    (broken / "__init__.py.template").write_text(
        "raise RuntimeError('no such $package')\n", encoding="utf-8"
    )
    monkeypatch.setattr(scaffold, "TEMPLATES", broken.parent)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(ScaffoldError, match="no such stack_cubes"):
        write_draft("StackCubes", family="broken", path=target)
    assert list(target.iterdir()) == []


def test_the_command_says_what_comes_next_and_refuses_in_one_sentence(tmp_path):
    def jepabench(*arguments):
        command = [sys.executable, "-m", "jepabench", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = jepabench("new-env", "StackCubes")
    assert done.returncode == 0 and "jepabench check-env stack_cubes:StackCubes-v0" in done.stdout
    assert (tmp_path / "stack_cubes" / "world.py").exists()
    again = jepabench("new-env", "StackCubes")
    assert (
        again.returncode == 2
        and "nothing is overwritten" in again.stderr
        and "Traceback" not in again.stderr
    )
    listed = jepabench("list", "variations", "stack_cubes:StackCubes-v0")
    assert listed.returncode == 0 and "ball_colour" in listed.stdout


def test_the_installed_command_finds_worlds_of_the_folder_that_one_is_in(drafts, folder):
    command = Path(sys.executable).with_name("jepabench")
    done = subprocess.run(
        [command, "list", "events", drafts["navigation"].task_id],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "pass_wall" in done.stdout, done.stderr

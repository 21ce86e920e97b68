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
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.errors import UnknownNameError
from jepabench.envs.splits import episode_specs
from jepabench.envs.variations.events import inject, list_events

HOME = Path(__file__).parents[3]
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


def test_every_family_is_tested():
    assert families() == sorted(NAMES)


@every_family
def test_a_draft_passes_all_checks(family, drafts):
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
def test_the_page_of_a_draft_matches_its_code(family, drafts):
    draft = drafts[family]
    written = (draft.folder / "README.md").read_text(encoding="utf-8")
    assert written == page(draft.task_id)
    for section in (
        "Action space",
        "Observation space",
        "Success",
        "Variations",
        "Events",
        "Versions",
    ):
        assert f"\n## {section}\n" in written


@every_family
def test_a_draft_has_variations_and_events(family, drafts):
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
def test_the_expert_of_a_draft_solves_every_episode(family, drafts):
    env = envs.make(drafts[family].task_id)
    for spec in episode_specs(drafts[family].task_id, "validation", 15):
        observation, info = envs.reset_to(env, spec)
        expert = make_behaviour(env.task, "expert")
        expert.reset(env, np.random.default_rng(0))
        for _ in range(info["budget"]):
            observation, *_, info = env.step(expert.act(observation))
        assert info["is_success"], spec.key


@every_family
def test_a_draft_passes_the_linter_and_the_formatter(family, drafts):
    settings = ["--config", str(HOME / "pyproject.toml"), str(drafts[family].folder)]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *settings],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_draft_inside_a_package_is_a_subpackage(folder):
    outer = folder / "outer_package"
    outer.mkdir()
    (outer / "__init__.py").touch()
    draft = write_draft("InnerDraft", family="navigation", path=outer)
    assert draft.task_id == "outer_package.inner_draft:InnerDraft-v0"
    env = envs.make(draft.task_id)
    env.reset(seed=0)
    assert type(env).__module__ == "outer_package.inner_draft.world"
    make_behaviour(env.task, "expert").reset(env, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stack_cubes", "Perhaps 'StackCubes'"),
        ("Stack Cubes", "Perhaps 'StackCubes'"),
        ("stack-cubes", "Perhaps 'StackCubes'"),
        ("../Evil", "Perhaps 'Evil'"),
        ("", "is not a valid name"),
        ("A", "is not a valid name"),
        ("3D", "is not a valid name"),
        ("Würfel", "is not a valid name"),
        ("A" * 41, "is not a valid name"),
        ("Stack\n", "is not a valid name"),
        ("Class", "'class' is a keyword of Python"),
        ("Numpy", "hide the installed package 'numpy'"),
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
    with pytest.raises(ScaffoldError, match="exists already"):
        write_draft("StackCubes", family="manipulation", path=tmp_path)
    assert [path.name for path in (tmp_path / "stack_cubes").iterdir()] == ["mine.txt"]


def test_unknown_families_and_folders_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'manipulation'"):
        write_draft("StackCubes", family="manipulatoin", path=tmp_path)
    with pytest.raises(ScaffoldError, match="is not a folder"):
        write_draft("StackCubes", family="manipulation", path=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_draft_that_cannot_be_imported_is_removed(tmp_path, monkeypatch):
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


def test_the_command_prints_the_next_step_and_one_sentence_on_errors(tmp_path):
    def jepabench(*arguments):
        command = [sys.executable, "-m", "jepabench", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = jepabench("new-env", "StackCubes")
    assert done.returncode == 0 and "jepabench check-env stack_cubes:StackCubes-v0" in done.stdout
    assert (tmp_path / "stack_cubes" / "world.py").exists()
    again = jepabench("new-env", "StackCubes")
    assert (
        again.returncode == 2
        and "is not overwritten" in again.stderr
        and "Traceback" not in again.stderr
    )
    listed = jepabench("list", "variations", "stack_cubes:StackCubes-v0")
    assert listed.returncode == 0 and "ball_colour" in listed.stdout


def test_the_installed_command_finds_environments_in_the_working_directory(drafts, folder):
    command = Path(sys.executable).with_name("jepabench")
    done = subprocess.run(
        [command, "list", "events", drafts["navigation"].task_id],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "pass_wall" in done.stdout, done.stderr


def test_user_folders_with_our_names_are_ignored(tmp_path):
    folder = tmp_path / "my folder"
    for name in ("envs", "agents"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise ImportError", encoding="utf-8")
    for arguments in (("new-env", "StackCubes"), ("list", "events", "stack_cubes:StackCubes-v0")):
        done = subprocess.run(
            [sys.executable, "-m", "jepabench", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@every_family
def test_an_impossible_stratum_is_reported(family, drafts, monkeypatch):
    env = envs.make(drafts[family].task_id)
    monkeypatch.setitem(sys.modules[type(env).__module__].STRATA, "far", (20.0, 30.0))
    with pytest.raises((RuntimeError, ValueError), match=r"30\.0 m"):
        env.reset(seed=0, options={"stratum": "far"})

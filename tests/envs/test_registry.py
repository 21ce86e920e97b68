import dataclasses
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.core.action_block import ActionBlock
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.errors import InvalidActionError, UnknownNameError, unknown_name
from jepabench.envs.registry import find_task, get_task, list_tasks, make, register
from jepabench.envs.splits import EpisodeSpec
from jepabench.envs.task import TaskSpec


def spec(**changes):
    fields = dict(
        id="registry-test/Nothing-v0",
        family="test",
        entry_point="nowhere:Nothing",
        control_dt=0.1,
        max_steps=100,
        success="never",
        behaviours={"random": "nowhere:Random"},
        physics="none",
    )
    return TaskSpec(**{**fields, **changes})


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("TwoRooms", "jepabench/TwoRoom-v1"),
        ("jepabench/TwoRoom-v2", "jepabench/TwoRoom-v1"),
        ("PointMaze-Umaze", "jepabench/PointMaze-UMaze-v1"),
        ("jepabench/PointMazeLarge-v1", "jepabench/PointMaze-Large-v1"),
        ("pusht", "jepabench/PushT-v1"),
    ],
)
def test_an_unknown_task_suggests_the_nearest_id(asked, nearest):
    for ask in (get_task, make):
        with pytest.raises(UnknownNameError, match=f"Did you mean '{nearest}'"):
            ask(asked)


def test_a_missing_module_explains_where_to_run():
    with pytest.raises(
        UnknownNameError, match="There is no module 'no_such_package\\.worlds' here"
    ):
        get_task("no_such_package.worlds:Nothing-v0")


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module on the path; ``trap()`` says whether it was imported."""
    (tmp_path / "trap_world.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "trap_world", raising=False)
    return lambda: "trap_world" in sys.modules


def test_find_task_imports_no_module(trap):
    with pytest.raises(UnknownNameError, match="Unknown task 'trap_world:Trap-v1'"):
        find_task("trap_world:Trap-v1")
    assert not trap()
    assert find_task("jepabench/TwoRoom-v1") == get_task("jepabench/TwoRoom-v1")


def declare_task(folder, name, module):
    """Write what the installation of a package that declares a task leaves."""
    info = folder / "trap_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: trap-package\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(
        f"[jepabench.tasks]\n{name} = {module}\n", encoding="utf-8"
    )


def test_find_task_imports_only_what_a_distribution_declares(trap, tmp_path):
    declare_task(tmp_path, "trap/Trap-v1", "trap_world")
    with pytest.raises(UnknownNameError):
        find_task("trap/Other-v1")
    assert not trap()
    with pytest.raises(UnknownNameError):  # the module is imported, but registers nothing
        find_task("trap/Trap-v1")
    assert trap()


def test_a_distribution_in_the_working_directory_is_not_installed(trap, tmp_path, monkeypatch):
    declare_task(tmp_path, "trap/Trap-v1", "trap_world")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    with pytest.raises(UnknownNameError):
        find_task("trap/Trap-v1")
    assert not trap()


@pytest.mark.parametrize("task_id", ["trap_world:Trap-v1", "", None, 3, ["jepabench/TwoRoom-v1"]])
def test_episode_specs_and_registrations_take_plain_ids_only(trap, task_id):
    with pytest.raises(ValueError, match="not a plain task id"):
        EpisodeSpec(task_id, "test", "near", 0)
    spec = dataclasses.replace(get_task("jepabench/TwoRoom-v1"), id=task_id)
    with pytest.raises(ValueError, match="not a plain task id"):
        register(spec)
    assert not trap()


@pytest.mark.parametrize("given", [None, 3, ("near",)])
def test_a_stratum_that_is_not_a_string_is_unknown(given):
    with pytest.raises(UnknownNameError, match="Unknown stratum"):
        make("jepabench/TwoRoom-v1").reset(seed=0, options={"stratum": given})


@pytest.mark.parametrize("pixels", [64.5, "64", 8, 5000])
def test_the_frame_size_is_an_integer_in_range(pixels):
    with pytest.raises(ValueError, match="a whole number from 16 to 1024"):
        make("jepabench/TwoRoom-v1", pixels=pixels)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "action", [np.array(["a", "b"]), np.zeros(2, complex), np.array([None, None])]
)
def test_actions_that_are_not_real_numbers_are_rejected(action):
    world = make("jepabench/TwoRoom-v1")
    world.reset(seed=0)
    with pytest.raises(InvalidActionError, match="an action must consist of real numbers"):
        world.step(action)


def test_a_name_far_from_all_known_names_lists_them():
    error = unknown_name("task", "xyzzy", ["b", "a"])
    assert str(error) == "Unknown task 'xyzzy'. Known: a, b."
    assert "none" in str(unknown_name("task", "xyzzy", []))


def test_a_different_spec_under_a_registered_id_is_rejected():
    register(spec())
    register(spec())
    with pytest.raises(ValueError, match="Give it a new version"):
        register(spec(max_steps=99))
    assert get_task("registry-test/Nothing-v0").max_steps == 100


def test_registering_imports_nothing():
    register(spec())
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        make("registry-test/Nothing-v0")


def test_inconsistent_specs_are_rejected():
    with pytest.raises(ValueError, match="action_block 5 is not a multiple of actions_per_block 2"):
        spec(action_block=5, actions_per_block=2)
    with pytest.raises(UnknownNameError, match="Did you mean 'random'"):
        spec(default_behaviour="randon")


def test_tasks_are_sorted_and_filtered_by_family_and_tag():
    ids = [task.id for task in list_tasks(family="maze")]
    assert ids == sorted(ids) and len(ids) >= 5
    assert set(ids) <= {task.id for task in list_tasks(tag="navigation")}
    assert list_tasks(family="nothing") == []


def test_a_module_in_the_id_is_imported_first():
    assert get_task("jepabench.envs.maze:jepabench/TwoRoom-v1") is get_task("jepabench/TwoRoom-v1")


def test_an_unknown_behaviour_suggests_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'expert'"):
        make_behaviour(get_task("jepabench/TwoRoom-v1"), "experts")


def test_gymnasium_makes_the_same_world():
    ours = make("jepabench/TwoRoom-v1", pixels=32)
    theirs = gymnasium.make("jepabench/TwoRoom-v1", pixels=32)
    first, second = ours.reset(seed=3)[0], theirs.reset(seed=3)[0]
    assert all(np.array_equal(first[key], second[key]) for key in first)
    vector = gymnasium.make_vec("jepabench/TwoRoom-v1", num_envs=2, vectorization_mode="sync")
    assert vector.reset(seed=3)[0]["observation"].shape == (2, 4)


def test_action_block_agrees_with_its_control_steps():
    env, block = make("jepabench/TwoRoom-v1"), ActionBlock(make("jepabench/TwoRoom-v1"))
    env.reset(seed=0)
    block.reset(seed=0)
    action = np.array([0.3, -0.9], np.float32)
    for _ in range(env.task.action_block):
        observation, *_ = env.step(action)
    assert np.array_equal(block.step(action)[0]["observation"], observation["observation"])


def test_options_of_a_reset_are_checked():
    env = make("jepabench/TwoRoom-v1")
    with pytest.raises(UnknownNameError, match="Did you mean 'medium'"):
        env.reset(options={"stratum": "medum"})
    with pytest.raises(UnknownNameError, match="Did you mean 'validation'"):
        env.reset(options={"split": "valid"})
    with pytest.raises(ValueError, match="16 to 1024"):
        make("jepabench/TwoRoom-v1", pixels=8)
    with pytest.raises(KeyError, match="Did you mean 'sparse'"):
        make("jepabench/TwoRoom-v1", reward="spare")


def test_all_public_names_exist():
    assert all(hasattr(envs, name) for name in envs.__all__)


def test_gymnasium_finds_the_tasks_after_importing_jepabench_alone():
    code = (
        "import sys, jepabench, gymnasium\n"
        "heavy = {'torch', 'mujoco', 'pandas', 'cv2', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "first = gymnasium.make('jepabench/PushT-v1').reset(seed=0)[0]\n"
        "second = gymnasium.make('jepabench:jepabench/PushT-v1').reset(seed=0)[0]\n"
        "assert all((first[key] == second[key]).all() for key in first)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_gymnasium_imports_jepabench_when_the_id_names_it():
    code = "import gymnasium; gymnasium.make('jepabench:jepabench/TwoRoom-v1').reset(seed=0)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_infos_of_an_episode_can_be_stacked():
    env = make("jepabench/PushT-v1")
    infos = [env.reset(seed=0)[1], env.step(np.zeros(2, np.float32))[4]]
    assert set(infos[0]) == set(infos[1])
    assert infos[0]["budget"] == infos[1]["budget"] == env.budget

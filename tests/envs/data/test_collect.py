"""Test that collected data depend on the request only, and not on processes or interruptions."""

import filecmp
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from filelock import FileLock

from jepabench import envs
from jepabench.envs.core.action_block import ActionBlock
from jepabench.envs.data.collect import collect
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.manifest import DatasetError
from jepabench.envs.errors import UnknownNameError
from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import reset_to

NAME = "tiny/Point-v0"
SIZES = {
    "num_episodes": 24,
    "num_steps": 6,
    "pixels": 16,
    "progress": False,
}  # 12 chunks of 2 episodes
HERE = Path(__file__).parents[1]  # of tiny_world.py
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def tiny_world():
    """Registers the tiny world for these tests only: suites over all registered tasks shall not
    meet it.
    """
    yield get_task(f"tiny_world:{NAME}")
    del envs.registry._TASKS[NAME], gymnasium.registry[NAME], sys.modules["tiny_world"]


@pytest.fixture(scope="module")
def undisturbed(tiny_world, tmp_path_factory):
    return collect(NAME, tmp_path_factory.mktemp("collect") / "undisturbed", num_workers=1, **SIZES)


def seed_of(dataset, index):
    return dataset.manifest.episode_spec(index).seed


def assert_same_bytes(first, second):
    names = sorted(file.name for file in first.iterdir())
    assert names == sorted(file.name for file in second.iterdir())
    assert filecmp.cmpfiles(first, second, names, shallow=False)[0] == names
    assert not first.with_name(f"{first.name}.partial").exists()


def collect_elsewhere(path, *, trap, num_workers):
    """Collects in a process of its own, in which one episode springs a trap.

    Returns when all its processes are gone.
    """
    code = (
        # A gate that runs in the background may have been started with SIGINT ignored, which
        # children inherit.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from jepabench.envs.data.collect import collect\n"
        f"collect('tiny_world:{NAME}', {str(path)!r}, num_workers={num_workers}, **{SIZES!r})"
    )
    environment = os.environ | {
        "TINY_WORLD_TRAP": trap,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]),
    }
    # The pipe of its output is closed when the last process that holds it is gone: the workers hold
    # it too.
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )


# -- what is collected -----------------------------------------------------------------------------


def test_the_number_of_processes_does_not_change_a_byte(undisturbed, tmp_path):
    parallel = collect(NAME, tmp_path / "parallel", num_workers=2, **SIZES)
    assert_same_bytes(parallel.path, undisturbed.path)
    assert EpisodeDataset.open(parallel.path, verify=True).manifest == undisturbed.manifest


def test_episodes_cycle_through_the_strata_with_the_seeds_of_their_specs(undisturbed):
    specs = [undisturbed.manifest.episode_spec(index) for index in range(24)]
    assert [spec.stratum for spec in specs[:4]] == ["near", "far", "near", "far"]
    assert [episode.seed for episode in undisturbed] == [spec.seed for spec in specs]
    assert len({spec.seed for spec in specs}) == 24
    assert set(undisturbed.lengths) == {6}
    assert all(episode.truncated and not episode.terminated for episode in undisturbed)


def replay(dataset, index, pixels):
    """Plays an episode's actions again, from its spec and a block at a time, and compares
    everything.
    """
    episode = dataset[index]
    env = make(dataset.manifest.task_id, pixels=pixels)
    blocks = ActionBlock(env)
    observation, _ = reset_to(env, dataset.manifest.episode_spec(index))
    for step in range(len(episode) + 1):
        for name, values in episode.observations.items():
            np.testing.assert_array_equal(values[step], observation[name])
        if step < len(episode):
            observation, reward, _, _, info = blocks.step(episode.actions[step])
            assert (reward, info["violation"]) == (episode.rewards[step], episode.violations[step])


def test_replaying_the_actions_gives_the_same_episodes(undisturbed):
    for index in range(24):
        replay(undisturbed, index, pixels=16)
    assert len({tuple(row) for row in undisturbed[0].actions[:, :2]}) == 6
    assert (undisturbed.field("action")[:, :2] != undisturbed.field("action")[:, 2:]).any()


@pytest.mark.parametrize("task_id", ["jepabench/TwoRoom-v1", "jepabench/PointMaze-UMaze-v1"])
def test_mazes_are_collected_and_replay_exactly(tmp_path, task_id):
    dataset = collect(
        task_id,
        tmp_path / "data",
        num_episodes=3,
        num_steps=4,
        pixels=32,
        num_workers=1,
        progress=False,
    )
    assert dataset.manifest.action_block == get_task(task_id).action_block
    assert dataset.manifest.behaviour == get_task(task_id).default_behaviour
    for index in range(3):
        replay(dataset, index, pixels=32)
    assert len(np.unique(dataset.field("pixels")[: dataset.lengths[0] + 1], axis=0)) > 1


def test_the_world_runs_on_after_success_and_beyond_the_budget(tmp_path):
    dataset = collect(
        NAME,
        tmp_path / "data",
        num_episodes=2,
        num_steps=30,
        behaviour="expert",
        pixels=None,
        num_workers=1,
        progress=False,
    )
    assert dataset.manifest.pixels is None
    assert "pixels" not in dataset.fields
    for episode in dataset:
        assert len(episode) * get_task(NAME).action_block > 50
        assert set(episode.rewards[:1]) | {0.0} == set(episode.rewards)
        assert (episode.rewards[10:] == 0).all()


def test_a_violation_in_the_middle_of_a_block_is_recorded(undisturbed):
    at_wall = (np.abs(undisturbed.field("observation")) == 1).any(1)
    seen = [values[:-1] | values[1:] for values in np.split(at_wall, undisturbed.starts[1:])]
    recorded = [episode.violations for episode in undisturbed]
    assert (np.concatenate(recorded) & ~np.concatenate(seen)).any()
    assert not np.concatenate(recorded).all()


def test_a_dataset_can_continue_another_one(undisturbed, tmp_path):
    sizes = SIZES | {"num_episodes": 5}
    later = collect(NAME, tmp_path / "later", first_index=19, num_workers=1, **sizes)
    np.testing.assert_array_equal(later.field("pixels"), undisturbed.field("pixels")[19 * 7 :])
    np.testing.assert_array_equal(later.field("action"), undisturbed.field("action")[19 * 7 :])


def test_splits_do_not_share_episodes(undisturbed, tmp_path):
    test = collect(NAME, tmp_path / "test", split="test", num_workers=1, **SIZES)
    assert test.manifest.split == "test"
    assert not {episode.seed for episode in test} & {episode.seed for episode in undisturbed}


# -- interruptions ---------------------------------------------------------------------------------


def test_a_killed_collection_resumes_to_the_same_bytes(undisturbed, tmp_path):
    path = tmp_path / "data"
    run = collect_elsewhere(path, trap=f"kill-self:{seed_of(undisturbed, 13)}", num_workers=1)
    assert run.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "data.partial/chunks").iterdir())) == 6
    with pytest.raises(DatasetError, match="incomplete"):
        EpisodeDataset.open(path)
    assert_same_bytes(collect(NAME, path, num_workers=1, **SIZES).path, undisturbed.path)


def test_workers_end_when_their_parent_is_killed(undisturbed, tmp_path):
    run = collect_elsewhere(
        tmp_path / "data", trap=f"kill-parent:{seed_of(undisturbed, 13)}", num_workers=2
    )
    assert run.returncode == -signal.SIGKILL
    assert_same_bytes(
        collect(NAME, tmp_path / "data", num_workers=1, **SIZES).path, undisturbed.path
    )


def test_ctrl_c_keeps_finished_stages_and_reports_them(undisturbed, tmp_path):
    run = collect_elsewhere(
        tmp_path / "data", trap=f"ctrl-c:{seed_of(undisturbed, 13)}", num_workers=2
    )
    assert run.returncode == -signal.SIGINT
    assert "Finished episodes are kept in" in run.stderr
    assert any((tmp_path / "data.partial/chunks").iterdir())
    assert_same_bytes(
        collect(NAME, tmp_path / "data", num_workers=1, **SIZES).path, undisturbed.path
    )


def test_a_dead_worker_is_reported_and_the_rest_resumes(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_WORLD_TRAP", f"exit:{seed_of(undisturbed, 13)}")
    with pytest.raises(DatasetError, match=r"worker process died.*kept in .*data\.partial"):
        collect(NAME, tmp_path / "data", num_workers=2, **SIZES)
    monkeypatch.delenv("TINY_WORLD_TRAP")
    assert_same_bytes(
        collect(NAME, tmp_path / "data", num_workers=1, **SIZES).path, undisturbed.path
    )


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_episode_that_fails_is_named(undisturbed, tmp_path, monkeypatch, num_workers):
    monkeypatch.setenv("TINY_WORLD_TRAP", f"raise:{seed_of(undisturbed, 13)}")
    with pytest.raises(
        DatasetError,
        match=r"tiny/Point-v0\|train\|far\|6 failed with RuntimeError: the tiny world fell apart",
    ):
        collect(NAME, tmp_path / "data", num_workers=num_workers, **SIZES)


def test_a_behaviour_with_the_wrong_action_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"action of shape \(1,\) instead of \(2,\)") as failure:
        collect(NAME, tmp_path / "data", behaviour="broken", num_workers=1, **SIZES)
    assert "nothing was kept" in str(failure.value)
    assert not (tmp_path / "data.partial").exists()


def interrupt(path, dataset, monkeypatch):
    monkeypatch.setenv("TINY_WORLD_TRAP", f"raise:{seed_of(dataset, 20)}")
    with pytest.raises(DatasetError):
        collect(NAME, path, num_workers=1, **SIZES)
    monkeypatch.delenv("TINY_WORLD_TRAP")
    return path.with_name(f"{path.name}.partial")


def flip_a_byte(file):
    content = bytearray(file.read_bytes())
    content[7 * 2 * 16 * 16 * 3] ^= 1
    file.write_bytes(content)


def cut_off(file):
    file.write_bytes(file.read_bytes()[:5000])


@pytest.mark.parametrize("damage", [flip_a_byte, cut_off, Path.unlink])
def test_damaged_chunks_are_regenerated(undisturbed, tmp_path, monkeypatch, damage):
    partial = interrupt(tmp_path / "data", undisturbed, monkeypatch)
    damage(partial / "data" / "pixels.npy")
    assert_same_bytes(
        collect(NAME, tmp_path / "data", num_workers=1, **SIZES).path, undisturbed.path
    )


def test_an_incomplete_marker_is_ignored(undisturbed, tmp_path, monkeypatch):
    partial = interrupt(tmp_path / "data", undisturbed, monkeypatch)
    for file in ((partial / "chunks" / "0"), (partial / "chunks" / "4")):
        file.write_text(file.read_text(encoding="utf-8")[:3], encoding="utf-8")
    assert_same_bytes(
        collect(NAME, tmp_path / "data", num_workers=1, **SIZES).path, undisturbed.path
    )


# -- refusals --------------------------------------------------------------------------------------

OTHER_REQUESTS = [
    {"num_episodes": 25},
    {"num_steps": 7},
    {"pixels": 32},
    {"pixels": None},
    {"behaviour": "expert"},
    {"split": "validation"},
    {"first_index": 1},
]


@pytest.mark.parametrize("change", OTHER_REQUESTS, ids=str)
def test_another_request_for_a_finished_dataset_is_refused(undisturbed, change):
    with pytest.raises(DatasetError, match=f"{next(iter(change))}=.* was requested"):
        collect(NAME, undisturbed.path, num_workers=1, **(SIZES | change))
    assert EpisodeDataset.open(undisturbed.path, verify=True).manifest == undisturbed.manifest


def test_another_request_for_a_half_done_dataset_is_refused(undisturbed, tmp_path, monkeypatch):
    partial = interrupt(tmp_path / "data", undisturbed, monkeypatch)
    before = {file: file.read_bytes() for file in partial.rglob("*") if file.is_file()}
    for change in OTHER_REQUESTS:
        with pytest.raises(DatasetError, match=f"{next(iter(change))}=.* was requested"):
            collect(NAME, tmp_path / "data", num_workers=1, **(SIZES | change))
    assert {file: file.read_bytes() for file in partial.rglob("*") if file.is_file()} == before


def test_a_finished_dataset_is_opened_without_playing_an_episode(undisturbed, monkeypatch):
    monkeypatch.setenv("TINY_WORLD_TRAP", f"exit:{seed_of(undisturbed, 0)}")
    assert collect(NAME, undisturbed.path, num_workers=1, **SIZES).manifest == undisturbed.manifest


def test_two_collections_cannot_share_a_path(tmp_path):
    (tmp_path / "data.partial").mkdir()
    with (
        FileLock(tmp_path / "data.partial" / "lock"),
        pytest.raises(DatasetError, match="Another process is collecting"),
    ):
        collect(NAME, tmp_path / "data", num_workers=1, **SIZES)


def test_a_folder_that_is_not_a_dataset_is_unchanged(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("precious", encoding="utf-8")
    with pytest.raises(DatasetError, match="not a complete dataset"):
        collect(NAME, tmp_path / "data", num_workers=1, **SIZES)
    assert (tmp_path / "data" / "thesis.tex").read_text(encoding="utf-8") == "precious"


def test_a_dataset_that_does_not_fit_on_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DatasetError, match="the disk of"):
        collect(NAME, tmp_path / "data", num_workers=1, **SIZES)


@pytest.mark.parametrize(
    ("task_id", "change", "error", "message"),
    [
        ("tiny/Pont-v0", {}, UnknownNameError, "Did you mean 'tiny/Point-v0'"),
        (NAME, {"behaviour": "expart"}, UnknownNameError, "Did you mean 'expert'"),
        (NAME, {"split": "training"}, UnknownNameError, "Did you mean 'train'"),
        (NAME, {"split": "private"}, UnknownNameError, "Unknown split"),
        (NAME, {"num_episodes": 0}, ValueError, "must be at least 1"),
        (NAME, {"num_steps": 0}, ValueError, "must be at least 1"),
        (NAME, {"first_index": -1}, ValueError, "at least 0"),
        (NAME, {"num_workers": 0}, ValueError, "num_workers must be at least 1"),
        (NAME, {"pixels": 5}, ValueError, "side length of a frame"),
    ],
)
def test_a_bad_request_is_refused_before_anything_is_written(
    tmp_path, task_id, change, error, message
):
    with pytest.raises(error, match=message):
        collect(task_id, tmp_path / "data", **({"num_workers": 1} | SIZES | change))
    assert list(tmp_path.iterdir()) == []


def test_a_behaviour_decides_once_per_block(tmp_path):
    dataset = collect(
        "jepabench/TwoRoom-v1",
        tmp_path / "d",
        num_episodes=4,
        num_steps=20,
        num_workers=1,
        pixels=None,
    )
    for episode in (dataset[index] for index in range(4)):
        repeated = (episode.actions[1:] == episode.actions[:-1]).all(axis=1)
        assert not repeated.any()


def test_a_collection_without_finished_episodes_frees_the_path(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_WORLD_TRAP", f"raise:{seed_of(undisturbed, 0)}")
    with pytest.raises(DatasetError, match="fell apart"):
        collect(NAME, tmp_path / "data", num_workers=1, **SIZES)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delenv("TINY_WORLD_TRAP")
    other = collect(NAME, tmp_path / "data", num_workers=1, **SIZES | {"num_steps": 4})
    assert set(other.lengths) == {4}


@pytest.mark.parametrize("bad", [{"num_episodes": 0}, {"num_steps": 0}, {"pixels": -5}])
def test_numbers_out_of_range_are_refused_before_work(tmp_path, bad):
    with pytest.raises(ValueError, match="got"):
        collect(NAME, tmp_path / "data", num_workers=1, **SIZES | bad)
    assert list(tmp_path.iterdir()) == []

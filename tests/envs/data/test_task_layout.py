"""Test that datasets fit their task: shapes, ranges and rates."""

import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.data.episodes import GOAL_KEYS, Episode, EpisodeDataset
from jepabench.envs.data.manifest import DatasetError, Provenance
from jepabench.envs.data.writing import write_dataset


def make_push_t_episode(*, action_size=10, scale=0.0, goal_size=None, seed=1):
    space = envs.make("jepabench/PushT-v1").observation_space
    sizes = {name: space[name].shape[0] for name in GOAL_KEYS}
    if goal_size:
        sizes["desired_goal"] = goal_size
    return Episode(
        observations={name: np.zeros((5, size)) for name, size in sizes.items()},
        actions=np.full((4, action_size), scale, np.float32),
        rewards=np.zeros(4, np.float32),
        violations=np.zeros(4, np.bool_),
        terminated=False,
        truncated=True,
        task_id="jepabench/PushT-v1",
        seed=seed,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action_size": 2}, "seem to be recorded at control rate"),
        ({"action_size": 9}, "a model step of the task has 10"),
        ({"scale": 1e6}, "exceeds the bounds"),
        ({"goal_size": 2}, "'desired_goal' has 2 numbers"),
    ],
)
def test_episodes_that_do_not_fit_their_task_are_refused(tmp_path, changes, message):
    with pytest.raises(DatasetError, match=f"(?i){message}"):
        write_dataset(
            tmp_path / "data",
            [make_push_t_episode(**changes)],
            provenance=Provenance.of("jepabench/PushT-v1", behaviour="random"),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_provenance_with_another_rate_than_the_task_is_refused(tmp_path):
    provenance = Provenance(task_id="jepabench/PushT-v1", split="train", behaviour="random")
    with pytest.raises(DatasetError, match="action_block=1, but jepabench/PushT-v1 has"):
        write_dataset(tmp_path / "data", [make_push_t_episode()], provenance=provenance)


@pytest.mark.parametrize("seed", [-1, 0, 2**63 - 1, 2**63, 2**64 - 2])
def test_seeds_of_64_bits_are_kept(tmp_path, seed):
    write_dataset(tmp_path / "data", [make_push_t_episode(seed=seed)])
    assert EpisodeDataset.open(tmp_path / "data")[0].seed == seed


def test_seeds_of_more_than_64_bits_are_refused():
    with pytest.raises(DatasetError, match="The seed of an episode"):
        make_push_t_episode(seed=2**64)

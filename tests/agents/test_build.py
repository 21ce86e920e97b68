"""Test how an agent is assembled from artifacts that are named by role."""

import json
from pathlib import Path

import pytest

from jepabench.agents.artifacts import artifact_folders
from jepabench.agents.build import build_mpc
from jepabench.agents.costs.cost_tasks import GoTo
from jepabench.agents.costs.energy import EnergyConfig, LearnedDistanceConfig
from jepabench.agents.planners.best_proposal import BestProposalPlanner
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.evaluation.submissions.old_targets import update_preset

TASK = "jepabench/TwoRoom-v1"


def test_an_artifact_is_one_folder_or_several_inside_it():
    home = Path("trained")
    assert artifact_folders({}, home) == {"policy": home}
    assert artifact_folders({"artifact": "guardrail"}, home) == {"guardrail": home}
    parts = {"distance": ".", "proposals": "proposal"}
    assert artifact_folders({"artifact": parts}, home) == {
        "distance": home,
        "proposals": home / "proposal",
    }


@pytest.mark.parametrize("folder", ["../other", "/etc", "a/../../b"])
def test_an_artifact_outside_of_the_trained_folder_is_refused(folder):
    with pytest.raises(ValueError, match="inside the one that `train` writes"):
        artifact_folders({"artifact": {"distance": folder}}, Path("trained"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subgoals": Path("graph")}, "subgoals needs subgoals_config"),
        ({"task": GoTo()}, "task needs probe"),
    ],
)
def test_arguments_that_need_each_other_are_refused_alone(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        build_mpc(task_id=TASK, world_model=tmp_path, planner=CEMPlanner(), **arguments)


@pytest.mark.parametrize(
    ("metadata", "searches"),
    [
        ({}, True),  # trained without a reading
        ({"in_place": [{"0": 0.9, "1": 0.6, "5": 0.2}, {"0": 1.0, "1": 0.98, "5": 0.2}]}, True),
        ({"in_place": [{"0": 1.0, "1": 0.95, "5": 0.7}, {"0": 1.0, "1": 0.97, "5": 0.9}]}, False),
    ],
)
def test_an_unreliable_world_model_is_not_searched(save_twin, tmp_path, metadata, searches):
    save_twin(tmp_path / "model", tmp_path / "other")
    path = tmp_path / "model" / "model.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    saved["metadata"] |= {"training": {}} | metadata
    path.write_text(json.dumps(saved), encoding="utf-8")
    agent = build_mpc(
        task_id=TASK,
        world_model=tmp_path / "model",
        planner=CEMPlanner(horizon=3),
        cautious_planner=BestProposalPlanner(horizon=4),
    )
    assert agent._control.planner.horizon == (3 if searches else 4)


def test_a_learned_distance_needs_its_artifact(save_twin, tmp_path):
    save_twin(tmp_path / "model", tmp_path / "other")
    with pytest.raises(ValueError, match="distance=FOLDER"):
        build_mpc(
            task_id=TASK,
            world_model=tmp_path / "model",
            planner=CEMPlanner(),
            energy=EnergyConfig(terms=[LearnedDistanceConfig()]),
        )


def test_presets_of_old_submissions_name_their_artifacts():
    old = {
        "name": "mine",
        "train": {"_target_": "agents.contacts.train"},
        "agent": {
            "_target_": "agents.contacts.build",
            "energy": {
                "_target_": "agents.energy.Energy",
                "terms": [{"_target_": "agents.energy.LearnedDistance"}],
            },
        },
    }
    new = update_preset(old)
    assert new["artifact"] == {"distance": ".", "proposals": "proposal"}
    assert new["train"]["_target_"] == "jepabench.agents.mpc.distance_and_proposals.train"
    assert new["agent"] == {
        "_target_": "jepabench.agents.build.build_mpc",
        "energy": {
            "_target_": "jepabench.agents.costs.energy.EnergyConfig",
            "terms": [{"_target_": "jepabench.agents.costs.energy.LearnedDistanceConfig"}],
        },
    }
    assert "artifact" not in update_preset({"agent": {"_target_": "agents.base.RandomAgent"}})


def test_without_decoder_no_imagined_frames_are_recorded(save_twin, tmp_path):
    agent = build_mpc(
        task_id=TASK,
        world_model=save_twin(tmp_path / "model"),
        planner=CEMPlanner(horizon=2, num_samples=4, num_elites=2, num_iterations=1),
        record_imagination=4,
    )
    assert agent.record_imagination == 0

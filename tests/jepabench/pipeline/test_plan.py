import pytest

from jepabench.pipeline.config import ConfigError, compose_root, load_preset, options
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan
from jepabench.world_models.checkpoint import load_world_model


def plan(tmp_path, *overrides: str) -> SuitePlan:
    return SuitePlan(compose_run([f"output={tmp_path}", *overrides]))


def test_agents_share_datasets_and_models(tmp_path):
    stages = plan(tmp_path, "suite=quick").stages
    kinds = [key.split("/")[0] for key in stages]
    num_tasks = 2
    assert kinds.count("data") == 2 * num_tasks  # train and validation
    assert kinds.count("model") == 2 * num_tasks  # the JEPA and the state twin
    assert kinds.count("evaluation") == 10 * num_tasks


def test_every_stage_comes_after_its_inputs(tmp_path):
    stages = plan(tmp_path, "suite=quick").stages
    seen: set[str] = set()
    for key, stage in stages.items():
        assert set(stage.needs) <= seen
        seen.add(key)


def test_training_seeds_multiply_only_learning_stages(tmp_path):
    stages = plan(tmp_path, "suite=quick", "suite.training_seeds=[0,1,2]").stages
    evaluations = [key for key in stages if key.startswith("evaluation/TwoRoom-v1/")]
    assert sum("/jepa-cem/" in key for key in evaluations) == 3
    assert sum("/expert/" in key for key in evaluations) == 1
    assert sum(key.startswith("data/TwoRoom-v1") for key in stages) == 2


def test_only_settings_that_change_a_result_change_its_folder(tmp_path):
    def folders(*overrides: str) -> dict[str, str]:
        return {
            key: stage.directory.name
            for key, stage in plan(tmp_path, "suite=quick", *overrides).stages.items()
        }

    base = folders()
    assert folders("num_workers=7") == base
    longer = folders("suite.data.num_steps=31")
    changed = {key for key in base if base[key] != longer[key]}
    assert "data/TwoRoom-v1/train" in changed and "model/TwoRoom-v1/jepa/0" in changed
    assert "policy/TwoRoom-v1/sac-her/0" not in changed  # it makes its own data


def test_checkpoint_replaces_training_stage(tmp_path):
    given = "+suite.overrides.checkpoint={TwoRoom-v1: {jepa: two-room}}"
    stages = plan(
        tmp_path,
        "suite=quick",
        given,
        "suite.agents=[jepa-cem,inverse]",
        "suite.training_seeds=[0,1]",
    ).stages
    assert [key for key in stages if key.startswith("model/TwoRoom-v1")] == [
        "model/TwoRoom-v1/two-room/given"
    ]
    assert "model/PointMaze-UMaze-v1/jepa/0" in stages
    taken = stages["model/TwoRoom-v1/two-room/given"]
    assert "model/TwoRoom-v1/two-room/given" in stages["evaluation/TwoRoom-v1/inverse/1"].needs
    taken.directory.mkdir(parents=True)
    taken.work(taken.directory)
    assert (
        load_world_model(taken.directory, task_id="jepabench/TwoRoom-v1").metadata["transitions"]
        == 90_000
    )


@pytest.mark.parametrize(
    ("checkpoint", "why"),
    [("push-t", "trained on jepabench/PushT-v1, not on"), ("tworoom", "Did you mean 'two-room'")],
)
def test_a_checkpoint_of_another_task_or_name_is_refused_before_any_work(checkpoint, why, tmp_path):
    given = f"+suite.overrides.checkpoint={{TwoRoom-v1: {{jepa: {checkpoint}}}}}"
    with pytest.raises((ValueError, KeyError), match=why):
        plan(tmp_path, "suite=quick", given)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("group", ["suite", "agent", "world_model"])
def test_every_preset_can_be_read(group):
    assert options(group)
    for name in options(group):
        assert load_preset(group, name)["name" if group != "world_model" else "kind"]


def test_overrides_reach_deep_into_a_preset():
    preset = load_preset(
        "world_model", "jepa", ["training.num_steps=7", "model.terms.sigreg.weight=0.5"]
    )
    assert preset["training"]["num_steps"] == 7
    assert preset["model"]["terms"]["sigreg"]["weight"] == 0.5


def test_an_override_may_set_a_key_that_the_preset_omits():
    assert (
        load_preset("world_model", "jepa", ["training.on_collapse=warn"])["training"]["on_collapse"]
        == "warn"
    )
    with pytest.raises(KeyError, match="Did you mean 'training'"):
        load_preset("world_model", "jepa", ["train.num_steps=3"])


@pytest.mark.parametrize(
    "override",
    ["suite.tasks=[{task_id:jepabench/TwoRom-v1}]", "suite.split=tset", "suite.agents=[japa-cem]"],
)
def test_a_suite_with_a_wrong_name_in_it_is_refused_before_any_work(tmp_path, override):
    with pytest.raises(KeyError, match="Did you mean"):
        plan(tmp_path, override)
    assert not any(tmp_path.iterdir())


def test_a_malformed_override_is_refused():
    with pytest.raises(ConfigError, match="key=value"):
        compose_root(["suite"])

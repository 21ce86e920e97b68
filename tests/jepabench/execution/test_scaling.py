"""Test the scaling plan: nested data, one online run for all budgets, merged shared stages."""

import pytest
from rich.console import Console

from jepabench.execution.progress import read_progress
from jepabench.execution.run_plan import run_plan
from jepabench.execution.status import load_sweeps, save_sweep
from jepabench.pipeline.config import ConfigError
from jepabench.pipeline.scaling import ScalingPlan, collect_table, compose_scaling
from jepabench.results.report.scaling_figure import scaling_figure

TINY = [
    "task=tworoom",
    "budgets=300,600",
    "model_transitions=300",
    "suite.data={num_episodes: 9, num_validation: 2, num_steps: 10}",
]


def plan(tmp_path, *overrides):
    return ScalingPlan(compose_scaling([f"output={tmp_path}", *TINY, *overrides]))


def test_planners_learn_from_nested_data_and_online_agents_once(tmp_path):
    made = plan(tmp_path, "agents=jepa-cem,gcbc,sac-her,sac-latent,random")
    kinds = {
        kind: [stage for key, stage in made.stages.items() if key.startswith(kind)]
        for kind in ("data", "model")
    }
    train = [
        stage.config["num_episodes"] for stage in kinds["data"] if stage.config["split"] == "train"
    ]
    assert sorted(train) == [
        6,
        12,
    ]  # 50 transitions an episode; the 300 of the latents are those of the first budget
    assert len(kinds["model"]) == 2
    online = [
        stage for key, stage in made.stages.items() if "sac-her" in key and key.startswith("policy")
    ]
    assert len(online) == 1 and online[0].config["train"]["num_steps"] == 120
    evaluated = [stage for key, stage in made.stages.items() if key.startswith("evaluation")]
    names = [(stage.config["agent"]["name"], stage.config["budget"]) for stage in evaluated]
    assert names.count(("sac-her", 300)) == names.count(("sac-her", 600)) == 1
    assert [name for name in names if name[0] == "random"] == [("random", 600)]
    assert len({stage.directory for stage in made.stages.values()}) == len(made.stages)
    assert all(need in made.stages for stage in made.stages.values() for need in stage.needs)


def test_a_checkpoint_is_for_online_agents_only(tmp_path):
    made = plan(
        tmp_path,
        "agents=jepa-cem,sac-latent",
        "+suite.overrides.checkpoint={TwoRoom-v1: {jepa: two-room}}",
    )
    models = {
        stage.directory.name.partition("-")[0]
        for key, stage in made.stages.items()
        if key.startswith("model")
    }
    assert models == {"two", "jepa"}
    policy = next(stage for key, stage in made.stages.items() if key.startswith("policy"))
    assert list(policy.config["world_model"]) == ["checkpoint"]


@pytest.mark.parametrize("text", ["", "many", "0", "3000,1000"])
def test_refuses_budgets_that_are_not_ascending_numbers(text):
    with pytest.raises(ConfigError, match="budgets must be ascending whole numbers"):
        compose_scaling([f"budgets={text}"])


def test_refuses_unknown_tasks_and_agents():
    with pytest.raises(KeyError, match="TwoRoom"):
        compose_scaling(["task=jepabench/TwoRom-v1"])
    with pytest.raises(KeyError, match="sac-her"):
        compose_scaling(["agents=sac-hre"])


@pytest.mark.slow
def test_one_command_draws_the_curve(tmp_path):
    made = plan(
        tmp_path,
        "agents=gcbc,sac-her,random",
        "suite.tasks.0.num_episodes=2",
        "+suite.overrides.agent.gcbc={train: {num_steps: 20}}",
        "+suite.overrides.agent.sac-her={train: {learning_starts: 60}}",
    )
    save_sweep(made.config)
    waiting = read_progress(tmp_path, load_sweeps(made.config))
    assert waiting["total"] == len(made.stages) and waiting["counts"] == {
        "missing": len(made.stages)
    }
    run_plan(made.config, Console(quiet=True), kind=ScalingPlan)
    finished = read_progress(tmp_path, load_sweeps(made.config))
    assert finished["counts"] == {"done": len(made.stages)} and finished["left"] == "0 s"
    assert any(row["title"].endswith(" at 600") for row in finished["recent"])
    table = collect_table(made).query("stratum == 'all'")
    assert table["episodes"].tolist() == [6] * 5
    spent = table.set_index(["agent", "budget"])["transitions"].to_dict()
    assert (
        spent["gcbc", 300] == spent["sac-her", 300] == 300
        and spent["gcbc", 600] == spent["sac-her", 600] == 600
    )
    assert spent["random", 600] == 0
    figure = scaling_figure(collect_table(made)).decode()
    assert figure.count("transitions (control steps)") == 1 and "gcbc" in figure

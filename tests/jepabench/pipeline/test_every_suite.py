import pytest

from jepabench import envs
from jepabench.execution.costs import stage_seconds
from jepabench.execution.estimates import StageTimes
from jepabench.execution.speeds import Speeds, load_speeds
from jepabench.main import main
from jepabench.pipeline.config import load_preset, options
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.schema import MEASURES
from jepabench.pipeline.stages import SuitePlan

SPEEDS = Speeds(step=2e-5, frame=1e-4, model_step=3e-6, training_step=0.2)
SUITES = options("suite")


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    made = {}

    def plan(name):
        if name not in made:
            made[name] = SuitePlan(
                compose_run([f"suite={name}", f"output={tmp_path_factory.getbasetemp()}"])
            )
        return made[name]

    return plan


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_plans_its_stages_and_their_costs(name, plans):
    plan = plans(name)
    seen: set[str] = set()
    for key, stage in plan.stages.items():
        assert set(stage.needs) <= seen
        seen.add(key)
        assert 0 < stage_seconds(stage, SPEEDS) < 1e6, key
    assert len({stage.directory for stage in plan.stages.values()}) == len(plan.stages)
    asked = {"success": "evaluation", "generalization": "change", "surprise": "surprise"}[
        plan.measure
    ]
    for task in plan.suite.tasks:
        for agent in plan.agents.values():
            assert any(
                key.startswith(f"{asked}/{task.task_id.split('/')[1]}/{agent.name}/")
                for key in plan.stages
            )


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_states_its_version_and_purpose(name):
    suite = load_preset("suite", name)
    assert suite["name"] == name and suite["version"] >= 1 and len(suite["description"]) > 20
    assert suite.get("measure", "success") in MEASURES


def test_ranked_suites_follow_the_protocol():
    for name, seeds in (("core", 3), ("full", 5), ("long-horizon", 3), ("guardrails", 3)):
        suite = load_preset("suite", name)
        assert len(suite["training_seeds"]) >= seeds
        assert all(task["num_episodes"] >= 100 for task in suite["tasks"])
        assert {"random", "hold-still", "expert"} <= set(suite["agents"])
    assert {spec.id for spec in envs.list_tasks()} >= {
        task["task_id"] for task in load_preset("suite", "full")["tasks"]
    }


def test_the_full_suite_has_every_world_of_the_project():
    # The tasks of claim C18 are worlds of other tasks, with other data.
    ours = {
        spec.id
        for spec in envs.list_tasks()
        if spec.id.startswith("jepabench/") and "recombination" not in spec.tags
    }
    assert {task["task_id"] for task in load_preset("suite", "full")["tasks"]} == ours


def test_the_literature_suite_is_the_published_protocol(plans):
    plan = plans("literature")
    world = envs.make("jepabench/PushT-v1")
    for index in range(3):
        (spec,) = envs.episode_specs("jepabench/PushT-v1", "test", 3, strata=("steps25",))[
            index : index + 1
        ]
        world.reset(seed=spec.seed, options=spec.options)
        assert world.budget == 50
    config = plan.stages["evaluation/PushT-v1/jepa-cem/0"].config
    planner, agent = config["agent"]["agent"]["planner"], config["agent"]["agent"]
    assert (
        planner["num_samples"],
        planner["num_elites"],
        planner["num_iterations"],
        planner["horizon"],
    ) == (
        300,
        30,
        30,
        5,
    )
    assert agent["execute_steps"] == 5 and agent["energy"]["terms"][0]["when"] == "terminal"
    assert (config["num_episodes"], config["strata"]) == (50, ["steps25"])


def test_settings_of_one_task_change_that_task_only(plans):
    plan = plans("full")
    assert plan.stages["model/PushT-v1/jepa-precise/0"].config["model"]["latent_dim"] == 48
    assert plan.stages["model/TwoRoom-v1/jepa/0"].config["model"]["latent_dim"] == 32
    dims = {
        task: plan.stages[f"evaluation/{task}-v1/state-cem/0"]
        .config["agent"]["agent"]["energy"]["terms"][0]
        .get("dims")
        for task in ("TwoRoom", "Reach", "PushT")
    }
    assert dims == {"TwoRoom": [0, 2], "Reach": [0, 3], "PushT": [0, 6]}


def test_state_twin_energy_covers_exactly_the_goal_dimensions(plans):
    plan = plans("full")
    for task in plan.suite.tasks:
        name = task.task_id.split("/")[1]
        terms = plan.stages[f"evaluation/{name}/state-cem/0"].config["agent"]["agent"]["energy"][
            "terms"
        ]
        space = envs.make(task.task_id).observation_space
        sizes = {key: part.shape[0] for key, part in space.items() if part.shape}
        first, last = terms[0].get("dims") or (0, sizes["observation"])
        assert (first, last) == (0, sizes["desired_goal"]), name


def test_estimates_use_finished_stages_or_else_the_speed_of_the_machine(plans):
    plan = plans("quick")
    times = StageTimes(plan.stages, SPEEDS)
    key = "evaluation/TwoRoom-v1/jepa-cem/0"
    assert times.remaining([key]) == pytest.approx(stage_seconds(plan.stages[key], SPEEDS))
    times.add(key, 7.0)
    assert times.remaining([key]) == 7.0


def test_speeds_are_saved_and_damaged_ones_remeasured(tmp_path):
    SPEEDS.save(tmp_path / "doctor.json")
    assert load_speeds(tmp_path / "doctor.json") == SPEEDS
    (tmp_path / "doctor.json").write_text('{"step": 1}', encoding="utf-8")
    assert load_speeds(tmp_path / "doctor.json") is None
    assert load_speeds(tmp_path / "none.json") is None


def test_suites_are_listed_with_their_cost(tmp_path, capsys):
    SPEEDS.save(tmp_path / "doctor.json")
    assert main(["list", "suites", "quick", "--output", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "quick v" in text and "TwoRoom-v1" in text and "near medium" in text and "min" in text
    assert main(["list", "suites", "quickk", "--output", str(tmp_path)]) == 2
    assert "Did you mean 'quick'" in capsys.readouterr().err


def test_an_unknown_measure_is_refused(tmp_path):
    with pytest.raises(KeyError, match="Did you mean 'surprise'"):
        SuitePlan(compose_run(["suite=surprise", "suite.measure=surprises", f"output={tmp_path}"]))


def test_a_surprise_suite_refuses_agents_without_a_world_model(tmp_path):
    with pytest.raises(ValueError, match="'random' has no world model"):
        SuitePlan(compose_run(["suite=surprise", "suite.agents=[random]", f"output={tmp_path}"]))


def test_each_task_of_core_is_also_a_suite_of_its_own():
    core = load_preset("suite", "core")
    singles = [load_preset("suite", name) for name in SUITES]
    singles = [
        suite for suite in singles if suite["description"].endswith("100 episodes per stratum")
    ]
    for task in core["tasks"]:
        (single,) = [suite for suite in singles if suite["tasks"] == [task]]
        for key in ("agents", "training_seeds", "data", "overrides", "split"):
            assert single[key] == core[key], (single["name"], key)

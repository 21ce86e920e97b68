"""Test ``jepabench compare planners`` on an untrained model: rows, budgets and the figure."""

import numpy as np
import pandas as pd
import pytest

from jepabench.agents.model_free.offline import timed
from jepabench.cli.benchmark.compare_planners import PLANNERS, scale_planner
from jepabench.envs.data.collect import collect
from jepabench.main import main
from jepabench.pipeline.config import load_preset


@pytest.fixture(scope="module")
def checkpoint(save_twin, tmp_path_factory):
    return save_twin(tmp_path_factory.mktemp("models") / "twin")


def test_a_larger_budget_costs_more_and_finished_rows_are_not_measured_again(
    checkpoint, tmp_path, capsys
):
    table = tmp_path / "planners.csv"
    command = [
        "compare",
        "planners",
        f"checkpoint={checkpoint}",
        "--planners",
        "jepa-icem,jepa-adaptive",
        "--budgets",
        "0.1,0.3",
        "--episodes",
        "2",
        "--strata",
        "near",
        "--table",
        str(table),
    ]
    assert main(command) == 0
    rows = pd.read_csv(table)
    assert rows[["planner", "budget"]].to_numpy().tolist() == [
        ["jepa-icem", 0.1],
        ["jepa-icem", 0.3],
        ["jepa-adaptive", 0.1],
        ["jepa-adaptive", 0.3],
    ]
    icem = rows[rows["planner"] == "jepa-icem"]["model_steps_a_plan"].tolist()
    assert 2 < icem[1] / icem[0] < 4
    assert set(rows["checkpoint"]) == {f"{checkpoint.parent.name}/twin"}
    assert table.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main(command) == 0
    assert "jepa-icem" not in capsys.readouterr().out and len(pd.read_csv(table)) == 4


def test_all_but_the_planner_may_come_from_another_preset_and_plans_may_be_longer(
    checkpoint, tmp_path
):
    table = tmp_path / "planners.csv"
    command = [
        "compare",
        "planners",
        f"checkpoint={checkpoint}",
        "--planners",
        "jepa-hybrid",
        "--budgets",
        "0.1",
        "--episodes",
        "2",
        "--strata",
        "near",
        "--table",
        str(table),
    ]
    assert main(command) == 0
    assert main([*command, "--agent", "jepa-shrinking"]) == 0
    assert main([*command, "--agent", "jepa-shrinking", "--horizon", "3"]) == 0
    rows = pd.read_csv(table)
    assert rows[["agent", "horizon"]].to_numpy().tolist() == [
        ["state-cem", 5],
        ["jepa-shrinking", 5],
        ["jepa-shrinking", 3],
    ]
    evaluations = (10 * 4 + 1) + 2 * (10 + 1)  # of the sampler, and of the refiner
    mean_horizons = np.array(
        [5, 3, 2.1]
    )  # in ten blocks: always 5; 5 to 1 twice; 3 to 1 three times and a 3
    assert rows["model_steps_a_plan"].to_numpy() == pytest.approx(evaluations * mean_horizons)
    assert main([*command, "--agent", "gcbc"]) == 2


def test_a_search_may_start_from_what_a_policy_proposes(checkpoint, tmp_path):
    walks = collect(
        "jepabench/TwoRoom-v1", tmp_path / "walks", num_episodes=3, num_steps=6, num_workers=1
    ).path
    policy, table = tmp_path / "policy", tmp_path / "planners.csv"
    timed.train(
        task_id="jepabench/TwoRoom-v1",
        dataset=walks,
        directory=policy,
        seed=0,
        world_model=checkpoint,
        num_steps=5,
        max_goal_steps=4,
        progress=False,
    )
    command = [
        "compare",
        "planners",
        f"checkpoint={checkpoint}",
        "--planners",
        "jepa-icem",
        "--budgets",
        "0.1",
        "--episodes",
        "2",
        "--strata",
        "near",
        "--table",
        str(table),
    ]
    assert main(command) == 0 and main([*command, "--proposals", str(policy)]) == 0
    alone, proposed = pd.read_csv(table).to_dict("records")
    assert proposed["agent"] == "state-cem, proposals"
    assert (
        proposed["model_steps_a_plan"] >= alone["model_steps_a_plan"] + 4 * 5
    )  # four plans of five steps were imagined


@pytest.mark.parametrize("name", PLANNERS)
def test_a_budget_changes_the_size_of_every_planner(name):
    from hydra.utils import instantiate

    settings = load_preset("agent", name)["agent"]["planner"]
    small = scale_planner(settings, 0.25)
    assert small != settings and scale_planner(settings, 1) == settings
    assert (
        instantiate(small, _convert_="all").horizon
        == instantiate(settings, _convert_="all").horizon
    )


def test_inputs_of_a_comparison_are_checked_first(capsys):
    for wrong, hint in (
        ("tusk=TwoRoom", "Did you mean 'task'"),
        ("task=TwoRom", "Did you mean 'jepabench/TwoRoom-v1'"),
        ("checkpoint=nowhere", "Unknown checkpoint"),
    ):
        assert main(["compare", "planners", wrong]) == 2
        assert hint in capsys.readouterr().err

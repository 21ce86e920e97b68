import numpy as np
import pandas as pd
import pytest

from jepabench.agents.scripted import ScriptedAgent
from jepabench.envs import episode_specs
from jepabench.evaluation.model_checks.generalization import (
    Change,
    generalization_table,
    list_changes,
)
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.main import main

TWO_ROOM = "jepabench/TwoRoom-v1"


def test_every_factor_changes_alone_after_the_unchanged_world():
    changes = list_changes(TWO_ROOM)
    assert changes[0].variation is None and len(set(changes)) == len(changes) > 10
    assert Change("step_length", "hard").variation == {"step_length": "hard"}
    assert list_changes(TWO_ROOM, factors=["light"], levels=["mild"]) == [
        changes[0],
        Change("light", "mild"),
    ]
    with pytest.raises(KeyError, match="Did you mean 'light'"):
        list_changes(TWO_ROOM, factors=["lihgt"])
    with pytest.raises(KeyError, match="level"):
        list_changes(TWO_ROOM, levels=["harder"])


def test_a_change_keeps_start_and_goal_and_reaches_the_world():
    specs = episode_specs(TWO_ROOM, "test", 3, strata=("near",))

    def run(variation):
        agent = ScriptedAgent(task_id=TWO_ROOM, behaviour="expert")
        return evaluate_episodes(agent, specs, agent_name="expert", variation=variation).records

    plain, slower = run(None), run({"step_length": [0.01]})
    for ours, theirs in zip(plain, slower, strict=True):
        assert ours.distance_start == theirs.distance_start
        assert ours.distance_min < theirs.distance_min  # a fifth of the way
    outcomes = {Change("-", "none"): plain, Change("step_length", "hard"): slower}
    table = generalization_table(outcomes, outcomes)
    assert table["lost"].tolist() == [0.0, plain_rate(plain) - plain_rate(slower)]
    assert table["random"].tolist() == table["held"].tolist()


def plain_rate(records):
    return float(np.mean([record.success_held for record in records]))


def test_the_command_resumes(pixel_model, tmp_path, capsys):
    cheap = ["--factors", "light", "--levels", "hard", "--episodes", "2", "--output", str(tmp_path)]
    folder = pixel_model.metadata["folder"]
    assert main(["generalize", folder, "--agent", "jepa-shooting", *cheap]) == 0
    table = pd.read_csv(tmp_path / "generalization.csv")
    assert table["factor"].tolist() == ["-", "light"] and {"held", "random", "lost"} <= set(
        table.columns
    )
    stamp = (tmp_path / "evaluations/random/light-hard/done.json").stat().st_mtime_ns
    assert main(["generalize", folder, "--agent", "jepa-shooting", *cheap]) == 0
    assert (tmp_path / "evaluations/random/light-hard/done.json").stat().st_mtime_ns == stamp
    assert main(["generalize", folder, "--agent", "random", *cheap]) == 2
    assert "needs more than a world model" in capsys.readouterr().err


def test_a_saved_model_is_evaluated_at_once(pixel_model, tmp_path, capsys):
    where = f"checkpoint={pixel_model.metadata['folder']}"
    quick = ["episodes=2", "strata=near", "agent=jepa-shooting", "agent.planner.num_samples=8"]
    assert main(["evaluate", where, *quick, f"output={tmp_path}"]) == 0
    assert "held" in capsys.readouterr().out
    assert len(pd.read_parquet(tmp_path / "episodes.parquet")) == 2
    for wrong, hint in (
        (["checkpoint=no-such-thing"], "no-such-thing"),
        ([where, "episode=3"], "Did you mean 'episodes'"),
        ([where, "episodes=many"], "whole numbers"),
        ([where, "episodes=1"], "at least 2"),
        ([where, "strata=nearest"], "Did you mean 'near'"),
    ):
        assert main(["evaluate", *wrong]) == 2
        assert hint in capsys.readouterr().err

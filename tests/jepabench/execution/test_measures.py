"""Run suites with further measures on minimal data."""

import pandas as pd
import pytest

from jepabench.main import main

TINY = [
    "suite.tasks=[{task_id: jepabench/TwoRoom-v1, strata: [near], num_episodes: 3}]",
    "suite.training_seeds=[0]",
    "suite.data={num_episodes: 12, num_validation: 6, num_steps: 8}",
    "+suite.overrides.world_model={"
    "jepa: {training: {num_steps: 6, batch_size: 8, decoder_steps: 0, on_collapse: warn}},"
    " state-twin: {training: {num_steps: 6, batch_size: 8, on_collapse: warn}}}",
    "num_workers=1",
]


@pytest.mark.slow
def test_a_surprise_suite_measures_the_world_models(tmp_path, capsys):
    assert (
        main(["run", "suite=surprise", "suite.agents=[state-cem]", f"output={tmp_path}", *TINY])
        == 0
    )
    table = pd.read_csv(tmp_path / "surprise" / "surprise.csv")
    assert (
        set(table["kind"]) == {"impossible", "harmless"} and (table["task"] == "TwoRoom-v1").all()
    )
    assert table["auroc"].dropna().between(0, 1).all()
    assert "surprise.csv" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.slow
def test_a_generalization_suite_changes_one_thing_at_a_time(tmp_path):
    agents = "suite.agents=[expert,random]"
    assert main(["run", "suite=generalization", agents, f"output={tmp_path}", *TINY]) == 0
    table = pd.read_csv(tmp_path / "generalization" / "generalization.csv")
    expert = table[table["agent"] == "expert"].set_index(["factor", "level"])
    assert expert.loc[("-", "none"), "held"] == 1.0
    assert ("step_length", "hard") in expert.index and expert["random"].between(0, 1).all()
    # What only the picture shows does not change what the expert does.
    assert expert.loc[("light", "hard"), "lost"] == 0.0
    assert len(
        list((tmp_path / "generalization" / "changes").glob("*/*/*/seed0/episodes.parquet"))
    ) == len(table)

"""Test agents of other packages: digests of their code, costs, and names with brackets."""

import importlib
import json
import subprocess
import sys

import pandas as pd
import pytest

from jepabench.evaluation.stages.config import differences
from jepabench.pipeline.presets.plugins import plugin_names, preset_of_plugin
from jepabench.pipeline.terminal import make_console, rich_table

AGENT = """
class Agent:
    observation_keys = ("observation",)
    {words}

    def reset(self, specs): ...
    def act(self, observations, active): ...
    def model_steps(self): ...
"""
STAGE_IDS = """
import json
from jepabench.evaluation.stages.stage import stage_id
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan
config = compose_run(["suite=smoke", "suite.agents=[outside:Agent]", "output=out"])
print(json.dumps([stage_id(stage.config) for stage in SuitePlan(config).evaluations]))
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Return a function that writes the module ``outside`` and loads the preset of its agent."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(words="pass"):
        (tmp_path / "outside.py").write_text(AGENT.format(words=words), encoding="utf-8")
        sys.modules.pop("outside", None)
        importlib.invalidate_caches()
        return preset_of_plugin("outside:Agent")

    yield load
    sys.modules.pop("outside", None)


def test_changed_code_is_named_without_its_digest():
    known, asked = ({"agent": {"code": digest * 64, "horizon": 5}} for digest in "ab")
    assert differences(known, asked) == ["the agent's code changed since then"]


def test_changed_code_changes_the_stage_id(tmp_path):
    def stage_ids(words):
        (tmp_path / "outside.py").write_text(AGENT.format(words=words), encoding="utf-8")
        command = [sys.executable, "-B", "-c", STAGE_IDS]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return set(json.loads(done.stdout))

    first = stage_ids("speed = 1")
    assert first == stage_ids("speed = 1")
    assert not first & stage_ids("speed = 2.5")


@pytest.mark.parametrize(
    "words, expected",
    [
        ("pass", (None, None, None)),
        ("learns = False", (0, 0.0, 0)),
        ("cost = {'transitions': 7}", (7, None, None)),
    ],
)
def test_unstated_costs_are_null(outside, words, expected):
    cost = outside(words)["cost"]
    assert (cost["transitions"], cost["train_seconds"], cost["parameters"]) == expected


def test_brackets_in_a_task_name_are_text(capsys):
    name = "Task[red]-v1 [/] [bold]"
    make_console().print(rich_table(pd.DataFrame({"task": [name]}), name))
    assert capsys.readouterr().out.count(name) == 2


def test_a_distribution_in_the_working_directory_declares_no_agents(tmp_path, monkeypatch):
    info = tmp_path / "trap-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: trap\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(
        "[jepabench.agents]\ntrap = trap:Agent\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "trap" in plugin_names()
    monkeypatch.chdir(tmp_path)
    assert "trap" not in plugin_names() and preset_of_plugin("trap") is None

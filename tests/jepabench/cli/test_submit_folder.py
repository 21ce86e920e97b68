"""Test that mistakes in `submit` and `verify` are reported before any work starts."""

import json
import sys

import pytest

from jepabench.cli.leaderboard.submit import read_cost
from jepabench.main import main
from jepabench.pipeline.checkpoints import checkpoint_files
from jepabench.pipeline.config import load_preset
from jepabench.pipeline.presets.plugins import find_package, preset_of_plugin
from jepabench.pipeline.schema import AgentPreset
from jepabench.pipeline.stage_work import sum_costs
from jepabench.pipeline.stages import Stage

AGENT = """
class {kind}:
    observation_keys = {keys}
    track = {track}
    reset = act = model_steps = None
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, **values) -> str:
        (tmp_path / f"{name}.py").write_text(AGENT.format(**values), encoding="utf-8")
        return name

    yield write
    for name in [name for name in sys.modules if name.startswith("agents_of_a_test")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["submit", "hold-stil", "suite=smoke"], "Did you mean 'hold-still'"),
        (["submit", "random", "suite=smok"], "Did you mean 'smoke'"),
        (["submit", "random", "nme=x"], "Did you mean 'name'"),
        (["submit", "random", "seed=3"], "with all of its tasks, episodes and seeds"),
        (
            ["submit", "random", "suite.training_seeds=[3]"],
            "with all of its tasks, episodes and seeds",
        ),
        (["submit", "random", "suite=surprise"], "a suite that measures success"),
        (["submit", "random", "checkpoints=maybe"], "checkpoints must be yes or no"),
        (["submit", "random", "suite=smoke", "name=taken", "to=."], "exists already"),
        (["submit", "random", "suite=smoke", "name=A/b", "to=."], "name: String should match"),
        (
            ["submit", "random", "suite=smoke", "link=javascript:alert(1)"],
            "link: String should match",
        ),
        (["verify", "taken", "--level", "3"], "--salt-file FILE"),
    ],
)
def test_a_mistake_is_refused_before_any_work(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("name", ["no-such-folder", "empty"])
def test_a_folder_that_is_not_a_submission_is_refused(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["verify", name]) == 1
    assert "refused" in capsys.readouterr().out


def test_the_track_of_an_external_agent_follows_from_its_observations(module):
    pixels = module(
        "agents_of_a_test_1",
        kind="PixelAgent",
        keys=("pixels", "goal_pixels"),
        track={"data": "online"},
    )
    preset = load_preset("agent", f"{pixels}:PixelAgent", ["agent.gain=3"])
    assert len(preset.pop("code")) == 64
    assert preset == {
        "name": "agents-of-a-test-1.pixel",
        "track": {"observation": "pixels", "data": "online", "privilege": "none"},
        "learns": False,
        "agent": {"_target_": f"{pixels}.PixelAgent", "gain": 3},
        "cost": {"transitions": None, "train_seconds": None, "parameters": None},  # not stated
    }
    blind = module("agents_of_a_test_2", kind="Blind", keys=(), track={})
    assert (preset_of_plugin(f"{blind}:Blind") or {})["track"]["observation"] == "none"
    assert preset_of_plugin("no-package-has-this-agent") is None
    assert find_package(f"{blind}.Blind") == "" and find_package("numpy.ndarray").startswith(
        "numpy 2"
    )


def test_the_manifest_keeps_the_cost_that_an_agents_class_states(module, tmp_path):
    cost = {"transitions": 123456, "train_seconds": 60.0, "parameters": 7000}
    name = module("agents_of_a_test_3", kind="Trained", keys=("observation",), track={})
    with (tmp_path / f"{name}.py").open("a", encoding="utf-8") as file:
        file.write(f"    learns, cost = True, {cost}\n")
    stated = load_preset("agent", f"{name}:Trained", [])
    silent = {key: value for key, value in stated.items() if key != "cost"}
    for agent, expected in ((stated, cost), (silent, dict.fromkeys(cost))):
        (tmp_path / "cost.json").write_text(
            json.dumps(sum_costs(AgentPreset.from_config(agent), [])), encoding="utf-8"
        )
        config = {"task_id": "jepabench/TwoRoom-v1", "seed": 0, "agent": agent}
        stage = Stage("evaluation/a", "a", tmp_path, config, (), lambda folder: None)
        found = read_cost(stage, [])
        assert {key: found[key] for key in cost} == expected


def test_a_submission_has_the_final_policy_without_earlier_budgets(tmp_path):
    for name in (
        "policy.safetensors",
        "proposal/policy.safetensors",
        "budgets/000001000/policy.safetensors",
        "stage.log",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in checkpoint_files(tmp_path)]
    assert found == ["policy.safetensors", "proposal/policy.safetensors"]

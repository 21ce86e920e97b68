"""The Python interface."""

import subprocess
import sys

import pytest

import jepabench
from jepabench.envs.registry import UnknownNameError
from jepabench.pipeline.config import ConfigError

TASK = "jepabench/TwoRoom-v1"


def test_a_preset_is_evaluated_on_a_suite(tmp_path):
    results = jepabench.evaluate("hold-still", suite="smoke", output=tmp_path, progress=False)
    table = results.table()
    assert list(table["agent"]) == ["hold-still"] and (table["held"] == 0).all()
    assert len(results.to_frame()) == table["episodes"].sum() == 2
    assert "hold-still" in str(table) and "..." not in str(table), "no column is left out"


def test_an_agent_plans_with_a_reference_model():
    agent = jepabench.make_agent(
        "jepa-icem", world_model="two-room", overrides=["agent.planner.num_samples=32"]
    )
    results = jepabench.evaluate(
        agent, task=TASK, strata=["near"], episodes=2, name="mine", progress=False
    )
    assert list(results.table()["agent"]) == ["mine"]
    (film,) = results.films(1)
    assert film.suffix == ".webp" and film.exists()
    assert "data:image/webp" in results._repr_html_()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: jepabench.load_world_model("two-rom"), UnknownNameError, "two-room"),
        (lambda: jepabench.make("jepabench/TwoRom-v1"), UnknownNameError, "TwoRoom"),
        (lambda: jepabench.make_agent("gcbc", world_model="two-room"), ConfigError, "gcbc"),
        (lambda: jepabench.make_agent("jepa-cme", world_model="two-room"), UnknownNameError, "cem"),
        (lambda: jepabench.evaluate("random", suite="quik"), UnknownNameError, "quick"),
        (lambda: jepabench.evaluate("radom", suite="quick"), UnknownNameError, "random"),
        (lambda: jepabench.evaluate(object()), ValueError, "task="),
    ],
)
def test_a_mistake_names_what_is_meant(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_importing_it_is_light(tmp_path):
    heavy = "{'torch', 'mujoco', 'pandas', 'hydra', 'matplotlib'}"
    code = f"import sys, jepabench\nassert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)

"""Test `status` and `report` of a small suite, and a sweep that is ended by SIGTERM."""

import json
import shlex
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from jepabench.evaluation.stages.stage import run_stage
from jepabench.main import main
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan
from jepabench.pipeline.suite_report import describe_command

TASK = "{task_id: jepabench/TwoRoom-v1, strata: [near], num_episodes: 2}"
SUITE = ["suite=smoke", f"suite.tasks=[{TASK}]"]
BOTH = "agent=hold-still,random"


@pytest.fixture
def output(tmp_path):
    """Run two agents without workers, and return the output argument."""
    argument = f"output={tmp_path / 'out[v2]'}"
    for stage in SuitePlan(compose_run([*SUITE, BOTH, argument])).stages.values():
        run_stage(stage.directory, stage.config, stage.work)
    return argument


def test_report_of_some_agents_contains_only_those(output, tmp_path, capsys):
    assert main(["report", *SUITE, "agent=hold-still", output]) == 0
    for name in ("table", "aggregates"):
        table = pd.read_csv(tmp_path / "out[v2]" / "smoke" / "report" / f"{name}.csv")
        assert set(table["agent"]) == {"hold-still"}
    page = (tmp_path / "out[v2]" / "smoke" / "report" / "index.html").read_text(encoding="utf-8")
    assert "evaluate random" not in page and ">random<" not in page
    assert str(tmp_path / "out[v2]" / "smoke" / "report") in capsys.readouterr().out


def test_the_command_of_a_report_repeats_all_that_decides_its_numbers():
    settings = [*SUITE, "agent=jepa-cem,random", "output=o", "num_workers=4", "launcher.cluster=x"]
    words = ["jepabench", "run", *SUITE, "agent=jepa-cem,random"]
    assert shlex.split(describe_command(settings)) == words


def test_status_shows_brackets_literally(output, capsys):
    reason = "[/red] is [bold]no[/bold] markup"

    def fail(_):
        raise ValueError(reason)

    (stage,) = SuitePlan(compose_run([*SUITE, "agent=random", output])).evaluations
    (stage.directory / "done.json").unlink()
    with pytest.raises(ValueError, match="markup"):
        run_stage(stage.directory, stage.config, fail)
    assert main(["status", *SUITE, BOTH, output, "--all"]) == 1
    text = capsys.readouterr().out
    assert reason in text and "out[v2]" in text


def test_status_as_json_has_every_stage(output, capsys):
    assert main(["status", *SUITE, BOTH, output, "--json"]) == 0
    (sweep,) = json.loads(capsys.readouterr().out)
    assert sweep["suite"] == "smoke" and sweep["output"] == output.removeprefix("output=")
    states = {stage["stage"]: stage["state"] for stage in sweep["stages"]}
    assert states == {
        f"evaluation/TwoRoom-v1/{agent}/0": "done" for agent in ("hold-still", "random")
    }


@pytest.mark.slow
def test_a_terminated_sweep_explains_how_to_resume(tmp_path):
    many = TASK.replace("num_episodes: 2", "num_episodes: 2000")
    words = ["suite=smoke", f"suite.tasks=[{many}]", "agent=random", f"output={tmp_path}"]
    sweep = subprocess.Popen(
        [sys.executable, "-m", "jepabench", "sweep", *words, "num_workers=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not list(tmp_path.rglob("stage.log")):
        assert sweep.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    sweep.terminate()
    _, error = sweep.communicate(timeout=60)
    assert sweep.returncode == 128 + signal.SIGTERM
    assert "Run the same command again to resume" in error
    assert "leaked" not in error and "Traceback" not in error
    states = [
        json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.rglob("failed.json")
    ]
    assert not states

"""Test shell completion of commands, settings and names."""

import os
import subprocess
import sys

import pytest

from jepabench.cli.completion import complete_checkpoints, complete_settings, complete_tasks


def complete(line: str, folder) -> list[str]:
    """Return what the shell would offer at the end of a line."""
    answer = folder / "answer"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "",
    }
    subprocess.run(
        [sys.executable, "-m", "jepabench"], cwd=folder, env=environment, check=True, timeout=300
    )
    return [word.strip() for word in answer.read_text(encoding="utf-8").split("\n")]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("jepabench swe", "sweep"),
        ("jepabench run suite=smo", "suite=smoke"),
        ("jepabench run --tr", "--trust"),
        ("jepabench train a b c --world-model jepa-sig", "jepa-sigreg"),
    ],
)
def test_completion_offers_matching_names(line, offered, tmp_path):
    assert offered in complete(line, tmp_path)


@pytest.mark.parametrize(
    ("prefix", "offered"),
    [
        ("", "suite="),
        ("agent=", "agent=jepa-cem"),
        ("agent=random,", "agent=random,jepa-cem"),
        ("agent.", "agent.jepa-cem."),
        ("agent.jepa-cem.", "agent.jepa-cem.planner.num_samples="),
        ("agent.sac-her.", "agent.sac-her.train.num_steps="),
        ("task=", "task=TwoRoom-v1"),
        ("checkpoint=", "checkpoint=two-room"),
        ("output=", None),
    ],
)
def test_settings_are_completed_by_key_and_by_value(prefix, offered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = complete_settings(prefix)
    assert found == [] if offered is None else offered in found


def test_own_presets_are_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf" / "agent"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "defaults: [jepa-cem, _self_]\nname: mine\n", encoding="utf-8"
    )
    assert "agent=mine" in complete_settings("agent=")


def test_tasks_and_checkpoints_are_listed():
    assert "jepabench/PushT-v1" in complete_tasks() and "push-t" in complete_checkpoints()

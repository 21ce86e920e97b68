"""Test that wrong values of every argument are refused before any work, with one sentence."""

import argparse
import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from jepabench.cli.arguments import Task
from jepabench.main import VERBS, get_module_name, main

COMMANDS = [*VERBS, "compare planners"]
SUITE_COMMANDS = {
    "run": ("agent=gcbc",),
    "sweep": ("agent=gcbc",),
    "status": ("agent=gcbc",),
    "watch": (),
    "report": ("agent=gcbc",),
    "evaluate": ("agent=gcbc",),
    "compare": ("random", "expert"),
    "scaling": ("agent=gcbc", "task=tworoom"),
    "tune": ("agent=gcbc", "task=tworoom"),
}
WRONG_SETTINGS = (
    "agent=",
    "agent=,",
    "agent=a,,b",
    "seed=",
    "seed=-1",
    "seed=1.5",
    "seed=99999999999999999999999",
    "pixels=-5",
    "pixels=many",
    "num_workers=0",
    "num_workers=two",
    "output=",
    "suite=quik",
    "launcher=slurm",
    "suite.data.num_episodes=0",
    "suite.data.num_steps=few",
    "suite.training_seeds=[-1]",
    "suite.split=tset",
    "suite=data",
    "nonsense",
)


def configured(command):
    parser = argparse.ArgumentParser()
    importlib.import_module(get_module_name(command)).configure(parser)
    return parser


def wrong_values(command):
    for action in configured(command)._actions:
        assert action.type not in (int, float, Path), f"{action.dest}: state the allowed values"
        wrong = getattr(action.type, "wrong", ("no-such-choice",) if action.choices else ())
        for value in wrong:
            if action.option_strings:
                yield [f"{action.option_strings[-1]}={value}"], action
            else:
                yield [value], action


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_values_are_refused_before_any_work(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    parser = configured(command)
    for words, wrong in wrong_values(command):
        needed = []
        for action in parser._actions:
            if action.dest == wrong.dest and not action.option_strings:
                needed += words
                break
            if not action.option_strings and hasattr(action.type, "wrong"):
                needed.append("TwoRoom" if isinstance(action.type, Task) else "0.5")
            elif not action.option_strings and action.nargs not in ("*", "?"):
                needed.append("word")
        options = words if wrong.option_strings else []
        with pytest.raises(SystemExit) as exit_:
            main([*command.split(), *options, *needed])
        error = capsys.readouterr().err
        assert exit_.value.code == 2, (command, words)
        assert error.count("\n") == 1 and error.startswith("error: "), error
        assert wrong.dest.replace("_", "-") in error.replace("_", "-"), error
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("command", SUITE_COMMANDS)
@pytest.mark.parametrize("setting", WRONG_SETTINGS)
def test_wrong_settings_are_refused(command, setting, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [word for word in SUITE_COMMANDS[command] if not setting.startswith(word[:6])]
    assert main([command, *words, setting]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: "), error
    assert not any(tmp_path.iterdir())


def test_a_suite_is_evaluated_only_if_an_agent_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate"]) == 2
    assert "agent=NAME" in capsys.readouterr().err and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["Jörg", "runs (1), new", "a=b", "out[v2]", "100%text", "it's", "${x}", "{a: b}"]
)
def test_output_paths_are_used_literally(name, tmp_path, capsys):
    output = tmp_path / name
    assert main(["status", "suite=smoke", "agent=random", f"output={output}"]) == 0
    assert str(output) in capsys.readouterr().out


@pytest.mark.parametrize("command", ["collect", "check-env"])
@pytest.mark.parametrize("name", ["tworoom", "TwoRoom-v1", "jepabench/TwoRoom-v1"])
def test_every_command_accepts_the_short_name_of_a_task(command, name):
    words = ["data"] if command == "collect" else []
    assert configured(command).parse_args([name, *words]).task == "jepabench/TwoRoom-v1"


@pytest.mark.parametrize(
    "setting", [*WRONG_SETTINGS[7:13], "to=", "readme=missing.md", "name=A b", "checkpoints=2"]
)
def test_wrong_settings_of_a_submission_are_refused(setting, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["submit", "random", "suite=smoke", setting]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: "), error
    assert not any(tmp_path.iterdir())


WORLD = """
import dataclasses
from jepabench import envs
envs.register(dataclasses.replace(envs.get_task("jepabench/TwoRoom-v1"), id="mine/Own-v0"))
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_imported_module_gives_its_tasks_plain_names(workers, tmp_path):
    (tmp_path / "my_world.py").write_text(WORLD, encoding="utf-8")

    def jepabench(*words):
        command = [sys.executable, "-m", "jepabench", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    words = ["mine/Own-v0", "data", "--episodes=2", "--steps=2", "--pixels=0"]
    words.append(f"--workers={workers}")
    assert "Unknown task 'mine/Own-v0'" in jepabench("collect", *words).stderr
    done = jepabench("collect", "--import", "my_world", *words)
    assert done.returncode == 0 and "2 episodes" in done.stdout, done.stderr
    assert "no module 'my_wrld'" in jepabench("list", "--import", "my_wrld").stderr
    assert "mine/Own-v0" in jepabench("list", "--import=my_world").stdout


def test_an_empty_name_is_not_a_task(monkeypatch):
    from jepabench.envs import get_task
    from jepabench.pipeline import tasks

    own = dataclasses.replace(get_task("jepabench/TwoRoom-v1"), id="mine/Own")
    monkeypatch.setattr(tasks, "list_tasks", lambda: (own,))
    assert tasks.resolve_task("own") == "mine/Own"
    with pytest.raises(KeyError):
        tasks.resolve_task("")


def test_an_interrupt_during_imports_explains_how_to_resume(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("jepabench.main._configure", interrupt)
    assert main(["status"]) == 130
    assert "Run the same command again" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--debug", "status"), ("status", "--debug")])
def test_debug_shows_the_traceback_before_or_after_the_command(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="agent"):
        main([*words, "agent="])

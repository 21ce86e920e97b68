"""Fixtures: a small suite folder, evaluated in a real environment, shared by these tests."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_board import ROOM, SUITES, sources
from made_up_submissions import suite_of, write

from jepabench.agents.base import HoldStillAgent, RandomAgent
from jepabench.agents.scripted import ScriptedAgent
from jepabench.envs import episode_specs, get_task
from jepabench.evaluation.records import read_records
from jepabench.evaluation.references import PINNED_ACTIONS
from jepabench.evaluation.rollout import Imagination, evaluate_episodes, save_evaluation
from jepabench.evaluation.statistics.success_tables import score_table
from jepabench.results.board.site import build_board
from jepabench.results.report.page import write_report
from jepabench.results.report.success_table import write_table

TASK = "jepabench/TwoRoom-v1"
HOSTILE = '<img src=x onerror="alert(1)">&[red]$x$'
STRATA = ("near", "medium")
MACHINE = {"processor": "abacus <1>", "versions": {"torch": "2.13"}}


def with_imagination(evaluation, horizon=3):
    """The evaluation with plans that 'imagined' noise at every model step."""
    generator, block, imagined = np.random.default_rng(0), get_task(TASK).action_block, {}
    for name, actions in evaluation.actions.items():
        steps = np.arange(0, len(actions), block)
        frames = generator.integers(0, 255, (len(steps), horizon, 16, 16, 3), dtype=np.uint8)
        imagined[name] = Imagination(steps, frames)
    return replace(evaluation, imagined=imagined)


def named(evaluation, agent):
    """The same episodes under another agent's name."""
    return replace(
        evaluation,
        records=tuple(replace(record, agent=agent) for record in evaluation.records),
    )


@pytest.fixture(scope="session")
def evaluations():
    """Two episodes per stratum of an expert, a random and a resting agent."""
    specs = episode_specs(TASK, "test", 2, strata=STRATA)
    agents = {
        "expert": ScriptedAgent(task_id=TASK),
        "random": RandomAgent(task_id=TASK),
        "hold-still": HoldStillAgent(task_id=TASK),
    }
    return {
        name: evaluate_episodes(agent, specs, agent_name=name) for name, agent in agents.items()
    }


@pytest.fixture(scope="session")
def finished_suite(tmp_path_factory, evaluations, suite) -> Path:
    """A suite with its report: one agent with a hostile name, ``mine`` failed, ``late`` never ran.

    It is shared; tests that change files use ``suite_dir``.
    """
    root = tmp_path_factory.mktemp("suite")
    rows = {**evaluations, HOSTILE: with_imagination(named(evaluations["expert"], HOSTILE))}
    frames = []
    for number, evaluation in enumerate(rows.values()):
        directory = root / "evaluations" / "TwoRoom-v1" / f"agent{number}" / "seed0"
        save_evaluation(directory, evaluation)
        frames.append(read_records(directory / "episodes.parquet"))
    failed = root / "evaluations" / "TwoRoom-v1" / "mine" / "seed0"
    failed.mkdir(parents=True)
    (failed / "failed.json").write_text(
        json.dumps({"error": "ValueError: <b>no</b>"}), encoding="utf-8"
    )
    table = score_table(pd.concat(frames, ignore_index=True))
    table["transitions"] = [100_000.0 if name == HOSTILE else 0.0 for name in table["agent"]]
    table["train_seconds"] = 0.0
    write_table(root / "table.csv", table)
    write_report(root, suite=suite, machine=MACHINE)
    return root


@pytest.fixture
def suite_dir(tmp_path, finished_suite) -> Path:
    """A copy of the finished suite, to do with as one likes."""
    return Path(shutil.copytree(finished_suite, tmp_path / "suite"))


@pytest.fixture(scope="session")
def page(finished_suite) -> Path:
    """The report's page, to be read only."""
    return finished_suite / "report" / "index.html"


@pytest.fixture(scope="session")
def suite():
    """What was to be done."""
    return {
        "name": "tiny",
        "version": 1,
        "description": "Two episodes & one <world>.",
        "tasks": [{"task_id": TASK, "strata": list(STRATA), "num_episodes": 2}],
        "agents": ["expert", HOSTILE, "mine", "late", "random", "hold-still"],
        "training_seeds": [0, 1],
        "tracks": {HOSTILE: "pixels, <script>offline</script>"},
        "command": "make <bench>",
    }


@pytest.fixture
def pinned(monkeypatch):
    """The made-up references of the suite ``small`` are pinned; all have the same empty actions."""
    digest = hashlib.sha256(b"PK\x05\x06" + bytes(18)).hexdigest()
    monkeypatch.setitem(
        PINNED_ACTIONS, ("small", 1), {"random": digest, "oracle-cem": digest, "expert": digest}
    )


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    """A folder of results: ten submissions of two suites, one outdated and one broken."""
    root = tmp_path_factory.mktemp("made-up")
    for number, agent in enumerate(
        ("expert", "oracle-cem", "random", "hold-still", "jepa-cem", "gcbc", "sac-her")
    ):
        write(root, agent, "small", SUITES["small"], agent=agent, number=number, badges=2)
    write(
        root,
        "one-seed",
        "small",
        SUITES["small"],
        agent="jepa-icem",
        seeds=(0,),
        number=8,
        badges=3,
    )
    write(root, "elsewhere", "other", SUITES["other"], agent="jepa-cem", number=9)
    write(root, "elsewhere-random", "other", SUITES["other"], agent="random", number=10)
    write(root, "aged", "small", {**SUITES["small"], "version": 7}, agent="jepa-cem")
    bad = write(root, "hostile", "small", SUITES["small"], agent="jepa-cem", number=11)
    (bad / "submission.json").write_text(
        (bad / "submission.json").read_text(encoding="utf-8").replace("jepa-cem", "<script>", 1),
        encoding="utf-8",
    )
    (root / "submissions" / "empty").mkdir()
    write(
        root,
        "lonely",
        "other",
        suite_of((ROOM, ("near",)), episodes=1),
        agent="jepa-cem",
        number=12,
    )
    return root


@pytest.fixture(scope="session")
def site(made_up, tmp_path_factory):
    output = tmp_path_factory.mktemp("site")
    build_board(output, sources(made_up), progress=False)
    return output

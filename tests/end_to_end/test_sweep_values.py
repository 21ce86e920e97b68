"""Sweep over values of a planner, with an interruption; each row occurs once."""

import io
import itertools
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

import jepabench

HORIZONS, SAMPLES, SEEDS = (1, 2, 3), (2, 4, 8), (0, 1)
GIVEN = "+suite.overrides.checkpoint={TwoRoom-v1: {jepa: two-room}}"  # no training
SWEEP = [
    "suite=smoke",
    "agent=jepa-cem",
    GIVEN,
    "agent.jepa-cem.planner.horizon=range(1,4)",
    "agent.jepa-cem.planner.num_samples=2,4,8",
    "agent.jepa-cem.planner.num_elites=1",
    "agent.jepa-cem.planner.num_iterations=1",
    "agent.jepa-cem.record_imagination=0",
    "seed=0,1",
]


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "jepabench", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
def test_a_killed_sweep_over_values_resumes_with_one_row_per_value(tmp_path):
    evaluations = tmp_path / "outputs" / "smoke" / "evaluations"
    first = start(tmp_path, "sweep", *SWEEP)
    while len(list(evaluations.rglob("done.json"))) < 3:
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.2)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    early = {path: path.read_bytes() for path in evaluations.rglob("done.json")}
    assert 3 <= len(early) < 18
    finish(start(tmp_path, "sweep", "-m", *SWEEP))
    assert all(path.read_bytes() == content for path, content in early.items())

    episodes = jepabench.load_results(tmp_path / "outputs")
    counts = episodes.groupby(["agent", "training_seed"]).size()
    labels = [
        f"jepa-cem+planner.horizon={horizon}+planner.num_samples={samples}"
        "+planner.num_elites=1+planner.num_iterations=1+record_imagination=0"
        for horizon, samples in itertools.product(HORIZONS, SAMPLES)
    ]
    assert set(counts.index) == set(itertools.product(labels, SEEDS))
    assert (counts == 2).all()  # episodes of the suite
    steps = episodes.groupby("agent")["model_steps"].mean()
    assert steps[labels[8]] > steps[labels[0]]  # the values arrive at the planner

    compared = finish(
        start(
            tmp_path,
            "compare",
            labels[0],
            labels[8],
            "suite=smoke",
            GIVEN,
            "seed=0,1",
            "--films",
            "0",
        )
    )
    assert "minus" in compared
    query = "SELECT agent, count(*) AS n FROM episodes GROUP BY agent"
    answer = finish(start(tmp_path, "query", query, "--csv"))
    rows = pd.read_csv(io.StringIO(answer))
    assert set(rows["agent"]) == set(labels) and (rows["n"] == 4).all()

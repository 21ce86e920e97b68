import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console
from toy_stages import ToyPlan

from jepabench.evaluation.stages.stage import StageError, is_done, stage_state
from jepabench.execution.executor import StagesFailedError, last_lines, run_stages
from jepabench.execution.launchers import JoblibLauncher, RayLauncher, SubmititLauncher
from jepabench.pipeline.config import ConfigError

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[3]


def run(make_plan, launcher=None, **options):
    """Runs a plan and returns what was printed."""
    said = io.StringIO()
    run_stages(
        make_plan,
        launcher=launcher or JoblibLauncher(2),
        console=Console(file=said, width=200),
        **options,
    )
    return said.getvalue()


def check_deaths(said, num_workers):
    """Checks that one death was printed. With two workers, the other may do all work before."""
    assert said.count("a worker died") in ({1} if num_workers == 1 else {0, 1})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Results of the 200-stage plan, done in this process one by one."""
    plan = ToyPlan(tmp_path_factory.mktemp("undisturbed"), num_models=18, num_evaluations=10)
    for stage in plan.stages.values():
        stage.directory.mkdir(parents=True)
        stage.work(stage.directory)
    assert len(plan.stages) == 200
    return plan.results()


def test_a_second_run_does_no_work(tmp_path):
    make = partial(ToyPlan, tmp_path)
    assert "8 stages, 0 done already." in run(make)
    plan = make()
    assert all(is_done(stage.directory, stage.config) for stage in plan.stages.values())
    assert set(plan.begun().values()) == {1} and len(plan.begun()) == 8
    assert "8 stages, 8 done already." in run(make)
    assert set(plan.begun().values()) == {1}


def test_only_requested_stages_and_their_inputs_run(tmp_path):
    make = partial(ToyPlan, tmp_path)
    run(make, only=["evaluation/toy/a1/0"])
    begun = list(make().begun())
    assert set(begun[:2]) == {"data/toy/train", "data/toy/validation"}  # side by side
    assert begun[2:] == ["model/toy/m/0", "evaluation/toy/a1/0"]


def test_a_failed_stage_and_its_dependents_are_named_and_the_rest_runs(tmp_path):
    make = partial(ToyPlan, tmp_path, failing=("model/toy/m/0",))
    (tmp_path / "broken").touch()
    with pytest.raises(StagesFailedError) as raised:
        run(make)
    message = str(raised.value)
    assert (
        "3 stages failed" in message
        and "model/toy/m/0: ValueError: model/toy/m/0 is broken" in message
    )
    assert "evaluation/toy/a1/0: needs model/toy/m/0, which failed" in message
    stages = make().stages
    failed = stages["model/toy/m/0"]
    assert stage_state(failed.directory, failed.config).name == "failed"
    log = last_lines(failed, 40)
    assert "working on model/toy/m/0" in log
    assert log[-1] == "ValueError: model/toy/m/0 is broken"  # the end of the traceback
    assert is_done(stages["evaluation/toy/a1/1"].directory, stages["evaluation/toy/a1/1"].config)
    assert make().begun()["model/toy/m/0"] == 1
    (tmp_path / "broken").unlink()
    assert "3 stages" not in run(make)
    assert make().begun()["model/toy/m/0"] == 2


def test_a_dead_worker_is_replaced_and_its_stage_rerun(tmp_path):
    make = partial(ToyPlan, tmp_path, lethal=("model/toy/m/1", "evaluation/toy/a0/1"))
    assert run(make, JoblibLauncher(1)).count("a worker died") == 2
    begun = make().begun()
    assert begun.pop("model/toy/m/1") == begun.pop("evaluation/toy/a0/1") == 2
    assert set(begun.values()) == {1}


KILL = """
import sys, time
from functools import partial
from pathlib import Path
from jepabench.execution.launchers import JoblibLauncher
from jepabench.execution.workers import Worker
from toy_stages import ToyPlan

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    launcher = JoblibLauncher(1)
    launcher.start(Worker(partial(ToyPlan, folder, seconds=60), ("data/toy/train",)))
    while not any("it" in path.read_text(encoding="utf-8") for path in folder.rglob("stage.log")):
        time.sleep(0.05)
    launcher.close()
"""


def test_a_worker_that_is_killed_at_a_progress_bar_leaves_no_semaphore_behind(tmp_path):
    script = tmp_path / "kill.py"
    script.write_text(KILL, encoding="utf-8")
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (HERE, ROOT)))}
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        timeout=120,
    )
    logs = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("stage.log")]
    assert done.returncode == 0 and len(logs) == 1, done.stderr
    assert not [
        text for text in (done.stderr, *logs) if "leaked" in text or "resource_tracker" in text
    ]


@pytest.mark.parametrize("damage", [b"", b"x" * 64])
def test_a_corrupt_result_is_remade_and_dependent_results_stay(tmp_path, damage):
    make = partial(ToyPlan, tmp_path)
    run(make)
    before = make().results()
    (make().stages["data/toy/train"].directory / "result.txt").write_bytes(damage)
    run(make)
    assert make().results() == before
    assert make().begun() == {key: 1 + (key == "data/toy/train") for key in before}


def test_a_folder_of_another_configuration_is_refused_before_any_work(tmp_path):
    run(partial(ToyPlan, tmp_path, num_models=1))
    stage = tmp_path / "data/toy/train/stage.json"
    stage.write_text(json.dumps({"hash": "0" * 16, "config": {"key": "another"}}), encoding="utf-8")
    (stage.parent / "done.json").unlink()
    with pytest.raises(StageError, match="another configuration"):
        run(partial(ToyPlan, tmp_path, num_models=2))
    assert not (tmp_path / "model/toy/m/1").exists()


def test_no_workers_are_refused():
    with pytest.raises(ConfigError, match="at least 1"):
        JoblibLauncher(0)


SWEEP = """
import sys
from functools import partial
from rich.console import Console
from toy_stages import ToyPlan
from jepabench.execution.executor import run_stages
from jepabench.execution.launchers import JoblibLauncher

make = partial(ToyPlan, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
if __name__ == "__main__":
    run_stages(make, launcher=JoblibLauncher(2), console=Console(width=200))
"""


def sweep(folder, num_models, num_evaluations, seconds):
    """Starts a sweep in a process of its own."""
    script = folder.parent / "sweep_of_toys.py"
    script.write_text(SWEEP, encoding="utf-8")
    return subprocess.Popen(
        [
            sys.executable,
            str(script),
            str(folder),
            str(num_models),
            str(num_evaluations),
            str(seconds),
        ],
        env={**os.environ, "PYTHONPATH": f"{HERE}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_two_sweeps_at_once_share_the_work(tmp_path):
    sweeps = [sweep(tmp_path / "toys", 6, 3, 0.05) for _ in range(2)]
    for one in sweeps:
        output, _ = one.communicate(timeout=120)
        assert one.returncode == 0, output
    plan = ToyPlan(tmp_path / "toys", 6, 3)
    assert set(plan.begun().values()) == {1} and len(plan.begun()) == len(plan.stages)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_submitit_gives_the_same_result_on_its_local_executor(tmp_path, monkeypatch, num_workers):
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{ROOT}")
    make = partial(ToyPlan, tmp_path / "toys", lethal=("model/toy/m/1",))
    launcher = SubmititLauncher(
        num_workers=num_workers, folder=str(tmp_path / "jobs"), cluster="local", timeout_min=5
    )
    check_deaths(run(make, launcher), num_workers)
    assert make().begun() == {key: 1 + (key == "model/toy/m/1") for key in make().stages}


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)
@pytest.mark.parametrize("num_workers", [1, 2])
def test_ray_gives_the_same_result_on_a_local_cluster(tmp_path, monkeypatch, num_workers):
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{ROOT}")
    make = partial(ToyPlan, tmp_path / "toys", lethal=("model/toy/m/1",))
    check_deaths(run(make, RayLauncher(num_workers=num_workers)), num_workers)
    assert make().begun() == {key: 1 + (key == "model/toy/m/1") for key in make().stages}


@pytest.mark.slow
def test_200_jobs_with_killed_workers_give_undisturbed_results(tmp_path, undisturbed):
    folder, dice = tmp_path / "toys", random.Random(0)
    plan = ToyPlan(folder, 18, 10)
    kills = 0
    while True:
        process = sweep(folder, 18, 10, 0.1)
        rounds = dice.randint(4, 8)
        while process.poll() is None and rounds:
            rounds -= 1
            time.sleep(
                dice.uniform(0.5, 2.0)
            )  # what is tested is what happens meanwhile, in other processes
            if victims := workers_of(plan):
                os.kill(dice.choice(victims), signal.SIGKILL)
                kills += 1
        if process.poll() is None:  # and now the sweep itself, the parent alone
            process.kill()
            kills += 1
        output, _ = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, output
    assert kills >= 5
    assert plan.results() == undisturbed
    assert sum(1 for _ in folder.rglob("done.json")) == 200
    assert not list(folder.rglob("failed.json"))
    # A stage may be repeated only if the earlier attempt was killed.
    lines = [
        line.split()[:2]
        for line in (folder / "journal.txt").read_text(encoding="utf-8").splitlines()
    ]
    for key in plan.stages:
        words = [word for word, name in lines if name == key]
        assert words.count("begin") - 1 <= kills


def workers_of(plan):
    """Processes that are at work on a stage now."""
    found = []
    for stage in plan.stages.values():
        detail = stage_state(stage.directory, stage.config).detail
        if detail.startswith("process "):
            found.append(int(detail.split()[1]))
    return found

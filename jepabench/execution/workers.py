"""Workers, which run the stages of a plan. A stage is run by one worker at a time.

Workers do not communicate. The folder of a stage records whether it is done, running or failed.
Workers can therefore be started by any process and on any machine.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from jepabench.envs.registry import import_modules, list_imported_modules
from jepabench.evaluation.stages.stage import (
    StageBusyError,
    StageLostError,
    run_stage,
    stage_state,
)
from jepabench.pipeline.stages import Stage

MAX_DEATHS = 10  # consecutive deaths of processes in the same stage
_POLL_SECONDS = (0.05, 2.0)  # first and longest pause


class Plan(Protocol):
    """Stages by key. Each stage follows those that it needs."""

    @property
    def stages(self) -> Mapping[str, Stage]: ...  # noqa: D102


@dataclass(frozen=True)
class Worker:
    """The work of one worker.

    An instance is picklable. It can be called in any process with access to the folders.

    Attributes:
        plan: Function that returns the plan.
        wanted: Keys of the stages to run.
        past_failures: ``StageState.stamp`` of stages that failed in an earlier run. Only these
            failed stages are tried again.
        modules: Modules with the user's tasks, which are imported before the plan is made.
    """

    plan: Callable[[], Plan]
    wanted: tuple[str, ...]
    past_failures: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = field(default_factory=list_imported_modules)

    def __call__(self) -> None:
        """Work until every stage is done, has failed, or needs a stage that failed."""
        import_modules(self.modules)
        stages = self.plan().stages
        waiting = {key: stages[key] for key in self.wanted}
        _prepare_process()
        polls = 0
        while waiting:
            if self._do_one(waiting):
                polls = 0
            elif waiting:
                time.sleep(min(_POLL_SECONDS[0] * 2**polls, _POLL_SECONDS[1]))
                polls = min(polls + 1, 10)

    def _do_one(self, waiting: dict[str, Stage]) -> bool:
        """Run the first available stage. Remove finished and blocked ones from ``waiting``."""
        for key, stage in list(waiting.items()):
            if key not in waiting or any(need in waiting for need in stage.needs):
                continue
            if self._has_failed(key, stage):
                drop_failed(key, waiting)
                continue
            try:
                with _open_log(stage) as work:
                    did = run_stage(
                        stage.directory, stage.config, work, wait=0, max_deaths=MAX_DEATHS
                    )
            except (StageBusyError, StageLostError):
                continue
            except Exception:  # failed.json has the error, for all workers and the executor
                drop_failed(key, waiting)
                return True
            del waiting[key]
            if did:
                return True
        return False

    def _has_failed(self, key: str, stage: Stage) -> bool:
        if not (stage.directory / "failed.json").exists():
            return False
        state = stage_state(stage.directory, stage.config)
        return state.name == "failed" and state.stamp != self.past_failures.get(key, "")


def drop_failed(key: str, waiting: dict[str, Stage]) -> list[str]:
    """Remove a failed stage and all that need it from ``waiting``, and return their keys."""
    dropped = [key]
    del waiting[key]
    for other, stage in list(waiting.items()):  # prerequisites come first
        if set(stage.needs) & set(dropped):
            dropped.append(other)
            del waiting[other]
    return dropped


@contextmanager
def _open_log(stage: Stage) -> Iterator[Callable[[Path], None]]:
    """Yield the stage's work with all output, including that of C code, sent to ``stage.log``."""
    saved: list[int] = []

    def work(directory: Path) -> None:
        # The process has locked the folder at this point.
        with (stage.directory / "stage.log").open("ab", buffering=0) as log:
            _flush()
            for number in (1, 2):
                saved.append(os.dup(number))
                os.dup2(log.fileno(), number)
        try:
            stage.work(directory)
        except Exception:
            traceback.print_exc()  # goes to stage.log
            raise

    try:
        yield work
    finally:
        _flush()
        for number, copy in zip((1, 2), saved, strict=False):
            os.dup2(copy, number)
            os.close(copy)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _prepare_process() -> None:
    from tqdm import tqdm

    # The default lock of progress bars is a semaphore, which a killed worker leaves behind.
    tqdm.set_lock(threading.RLock())
    os.environ.setdefault("TQDM_MININTERVAL", "1")
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)

"""Run the missing stages of a plan: start workers, replace dead ones and show progress.

The executor reads the state of the stages from their folders, as the workers do. It can therefore
be interrupted and restarted, and several executors can work on the same plan.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from jepabench.evaluation.stages.stage import is_done, stage_state
from jepabench.execution import launchers
from jepabench.execution.estimates import StageTimes, duration
from jepabench.execution.speeds import Speeds
from jepabench.execution.workers import Plan, Worker, drop_failed
from jepabench.pipeline.config import ConfigError
from jepabench.pipeline.stages import KINDS, Stage

_MOST_DEATHS = 20  # consecutive deaths of workers without a finished stage
_POLL_SECONDS = 0.2
_LOG_BYTES = 4096
_FAREWELL_SECONDS = 5.0  # time for workers to notice that all stages are done


class StagesFailedError(RuntimeError):
    """Some stages failed. All stages that do not depend on them are done."""


def run_stages(
    make_plan: Callable[[], Plan],
    *,
    launcher: launchers.Launcher,
    console: Console,
    only: Sequence[str] | None = None,
    speeds: Speeds | None = None,
) -> None:
    """Run the missing stages of a plan.

    Args:
        make_plan: Function that returns the plan. It must be picklable, because each worker calls
            it.
        launcher: Launcher of the workers. It is closed at the end.
        console: Console on which progress is printed.
        only: Keys of the stages to run, together with the stages that they need. By default, all
            stages are run.
        speeds: Speeds of this machine, for the first estimates of the remaining time.

    Raises:
        StagesFailedError: Stages failed. The message gives the reasons, and another run retries
            them.
        StageError: The folder of a stage belongs to another configuration.
    """
    try:
        stages = make_plan().stages
        wanted = add_prerequisites(stages, list(stages) if only is None else only)
        missing = {
            key: stages[key]
            for key in wanted
            if not is_done(stages[key].directory, stages[key].config)
        }
        console.print(f"{len(wanted)} stages, {len(wanted) - len(missing)} done already.")
        if missing:
            check_writable([stage.directory for stage in missing.values()])
            _Run(make_plan, stages, sort_by_kind(missing), launcher, console, speeds).execute()
    except BaseException:
        launcher.close(wait_seconds=0)
        raise
    launcher.close(wait_seconds=_FAREWELL_SECONDS)


def check_writable(directories: Iterable[Path]) -> None:
    """Check that the folders can be created or written to.

    Raises:
        ConfigError: A folder cannot be written to, or a file has the name of a folder.
    """
    for folder in {next(path for path in item.parents if path.exists()) for item in directories}:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is a file, not a folder. Choose another output folder.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(f"{folder} is read-only. Choose another output folder.")
        try:  # some file systems reject writing although permissions allow it
            TemporaryDirectory(prefix=".jepabench-", dir=folder).cleanup()
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be written to ({error.strerror}). Choose another output folder."
            ) from error


def add_prerequisites(stages: Mapping[str, Stage], keys: Sequence[str]) -> list[str]:
    """Return the keys and those of all stages that they need, prerequisites first."""
    wanted: dict[str, None] = {}

    def add(key: str) -> None:
        for need in stages[key].needs:
            add(need)
        wanted.setdefault(key)

    for key in keys:
        add(key)
    return list(wanted)


def sort_by_kind(stages: Mapping[str, Stage]) -> dict[str, Stage]:
    """Return the stages sorted by kind, which is the order in which they are started."""
    order = sorted(stages, key=lambda key: KINDS.index(key.partition("/")[0]))
    return {key: stages[key] for key in order}


@dataclass
class _Run:
    """A run of a plan, in the process that started it."""

    make_plan: Callable[[], Plan]
    stages: Mapping[str, Stage]
    waiting: dict[str, Stage]
    launcher: launchers.Launcher
    console: Console
    speeds: Speeds | None
    failures: dict[str, str] = field(default_factory=dict)
    deaths: int = 0
    last_death: str = ""

    def execute(self) -> None:
        past = {
            key: stage_state(stage.directory, stage.config).stamp
            for key, stage in self.waiting.items()
        }
        past = {key: stamp for key, stamp in past.items() if stamp}
        self.past, self.total, self.times = (
            past,
            len(self.waiting),
            StageTimes(self.stages, self.speeds),
        )
        worker = Worker(self.make_plan, tuple(self.waiting), past)
        count = min(self.launcher.num_workers, len(self.waiting))
        active = [self.launcher.start(worker) for _ in range(count)]
        with Live(console=self.console, transient=True, auto_refresh=False) as live:
            while self.waiting:
                began = time.monotonic()
                self._update_stages()
                active = self._replace_dead(active, worker)
                live.update(self._describe(count), refresh=self.console.is_terminal)
                if not active and self.waiting:
                    self._give_up()
                # Pause longer if polling is slow, as on some network file systems.
                time.sleep(
                    max(_POLL_SECONDS, 5 * (time.monotonic() - began)) if self.waiting else 0
                )
        if self.failures:
            lines = "\n".join(f"  {key}: {reason}" for key, reason in self.failures.items())
            raise StagesFailedError(
                f"{len(self.failures)} stages failed. Run the same command again to retry them.\n"
                f"{lines}"
            )

    def _update_stages(self) -> None:
        """Update ``waiting`` and ``failures`` with the stages that are done or have failed."""
        for key, stage in list(self.waiting.items()):
            if key not in self.waiting or any(need in self.waiting for need in stage.needs):
                continue
            names = ("done.json", "failed.json")
            if not any((stage.directory / name).exists() for name in names):
                continue
            state = stage_state(stage.directory, stage.config)
            if state.name == "done":
                del self.waiting[key]
                self.deaths = 0
                self.times.add(key, state.seconds)
                self._say(f"[green]done[/] {escape(stage.title)}  [dim]{state.seconds:.1f} s[/]")
            elif state.name == "failed" and state.stamp != self.past.get(key):
                self._record_failure(key, state.detail)

    def _record_failure(self, key: str, reason: str) -> None:
        title = self.waiting[key].title
        for dropped in drop_failed(key, self.waiting):
            self.failures[dropped] = reason if dropped == key else f"needs {key}, which failed"
        self._say(f"[red]failed[/] {escape(title)}: {escape(reason)}")

    def _replace_dead(
        self, active: list[launchers.Worker], worker: Worker
    ) -> list[launchers.Worker]:
        """Return the active workers, with new ones for those that died."""
        running = []
        for one in active:
            if not one.ended():
                running.append(one)
            elif reason := one.error():
                self.deaths, self.last_death = self.deaths + 1, reason
                self._say(f"[yellow]a worker died[/] [dim]{escape(reason)}[/]")
                if self.deaths < _MOST_DEATHS:
                    running.append(self.launcher.start(worker))
        return running

    def _give_up(self) -> None:
        """Mark the remaining stages as failed, because no worker is running any more."""
        self._update_stages()
        for key in list(self.waiting):
            if key in self.waiting:
                self._record_failure(key, f"Not done: {self._explain(self.waiting[key])}")

    def _explain(self, stage: Stage) -> str:
        """Return why a stage was not run."""
        folder = next(path for path in stage.directory.parents if path.exists())
        if not os.access(folder, os.W_OK):
            return f"{folder} is read-only. Choose another output folder."
        free = shutil.disk_usage(folder).free / 1e9
        reason = "no worker started it"
        if self.deaths:
            reason = f"{self.deaths} workers in a row died, the last with {self.last_death}"
        return f"{reason}. {folder} has {free:.2f} GB of free disk space."

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False)

    def _describe(self, count: int) -> Group:
        """Return the progress and the last log line of each running stage."""
        done = self.total - len(self.waiting)
        left = self.times.remaining(list(self.waiting)) / count
        lines = [Text(f"{done} of {self.total} stages, {duration(left)} to go", style="bold")]
        if self.console.is_terminal:
            for stage in self.waiting.values():
                if (stage.directory / ".owner.json").exists():
                    lines.append(
                        Text(f"{stage.title}  {last_line(stage)}", style="dim", no_wrap=True)
                    )
        return Group(*lines)


def last_line(stage: Stage) -> str:
    """Return the last line of a stage's log, such as a progress bar, or an empty string."""
    return next(iter(last_lines(stage, 1)), "")


def last_lines(stage: Stage, count: int) -> list[str]:
    """Return the last lines of a stage's log."""
    try:
        with (stage.directory / "stage.log").open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - _LOG_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    # A progress bar rewrites its line, so keep what follows the last carriage return.
    lines = (line.rstrip().rpartition("\r")[2] for line in text.replace("\x1b[A", "").split("\n"))
    return list(deque((line for line in lines if line.strip()), maxlen=count))

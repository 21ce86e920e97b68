"""Runs the stages of a plan on this machine: single-threaded worker processes side by side, in the order of their needs.

One thread a process is both fastest on few cores (two two-threaded trainings wait for each other) and what makes results
independent of the number of workers.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

from rich.console import Console
from tqdm import tqdm

from evaluation.runs import is_done, run_stage
from jepabench.stages import KINDS, Stage, SuitePlan


class StagesFailedError(RuntimeError):
    """Some stages failed; what did not depend on them is done."""


def run_stages(plan: SuitePlan, *, num_workers: int, console: Console, only: Sequence[str] | None = None) -> None:
    """Does what is missing of a plan.

    Args:
        plan: the stages.
        num_workers: processes side by side.
        console: where the line of each stage goes.
        only: keys of the stages that are wanted, with all they need; all by default.

    Raises:
        StagesFailedError: names each failed stage and why; rerunning retries them.
    """
    wanted = _closure(plan, only or list(plan.stages))
    missing = {
        key: plan.stages[key] for key in wanted if not is_done(plan.stages[key].directory, plan.stages[key].config)
    }
    console.print(f"{len(wanted)} stages, {len(wanted) - len(missing)} done already.")
    if not missing:
        return
    workers = max(1, min(num_workers, len(missing)))
    context = multiprocessing.get_context("spawn")
    slots, lock = context.Queue(), context.RLock()
    for slot in range(workers):
        slots.put(slot)
    tqdm.set_lock(lock)
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(slots, os.getpid(), lock)) as pool:
        failures = _drain(pool, plan.root, missing, num_workers=workers, console=console)
    if failures:
        lines = "\n".join(f"  {key}: {reason}" for key, reason in failures.items())
        raise StagesFailedError(f"{len(failures)} stages failed; the same command tries them again.\n{lines}")


def _drain(
    pool: ProcessPoolExecutor, root: Mapping[str, Any], missing: dict[str, Stage], *, num_workers: int, console: Console
) -> dict[str, str]:
    waiting, running, failures = dict(missing), dict[Future[float], str](), dict[str, str]()
    bar = tqdm(total=len(missing), desc="stages", unit="stage", leave=False)
    while waiting or running:
        while len(running) < num_workers and (key := _next_stage(waiting, set(running.values()))):
            stage = waiting.pop(key)
            broken = [need for need in stage.needs if need in failures]
            if broken:
                failures[key] = f"needs {broken[0]}, which failed"
                bar.update()
                continue
            running[pool.submit(run_one, root, key)] = key
        for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
            key = running.pop(future)
            bar.update()
            error = future.exception()
            if error is None:
                line = f"[green]done[/] {missing[key].title}  [dim]{future.result():.1f} s[/]"
            else:
                failures[key] = f"{type(error).__name__}: {error}"
                line = f"[red]failed[/] {missing[key].title}: {type(error).__name__}"
            with bar.external_write_mode():
                console.print(line, highlight=False)
    bar.close()
    return failures


def _next_stage(waiting: Mapping[str, Stage], running: set[str]) -> str | None:
    """The stage to start next among those whose needs are met: what most others wait for comes first."""
    ready = [key for key, stage in waiting.items() if not set(stage.needs) & (waiting.keys() | running)]
    return min(ready, key=lambda key: KINDS.index(key.partition("/")[0]), default=None)


def run_one(root: Mapping[str, Any], key: str) -> float:
    """Does one stage in this process and returns its seconds."""
    began = time.monotonic()
    stage = SuitePlan(root).stages[key]
    run_stage(stage.directory, stage.config, stage.work)
    return time.monotonic() - began


def _start_worker(slots: Any, parent: int, lock: Any) -> None:
    os.environ["TQDM_POSITION"] = str(slots.get() + 1)
    tqdm.set_lock(lock)
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_leave_with_parent, args=(parent,), daemon=True).start()


def _leave_with_parent(parent: int) -> None:
    # A killed command must not leave workers behind that still hold the locks of their stages.
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _closure(plan: SuitePlan, keys: Sequence[str]) -> list[str]:
    wanted: dict[str, None] = {}

    def add(key: str) -> None:
        for need in plan.stages[key].needs:
            add(need)
        wanted.setdefault(key)

    for key in keys:
        add(key)
    return list(wanted)

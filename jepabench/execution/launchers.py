"""Launchers, which start workers as local processes, SLURM jobs or Ray tasks.

A worker finds its stages in the output folder (``jepabench.execution.workers``). A launcher starts
workers and reports whether they are running. If a worker or the process that started it dies,
finished stages are kept.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from jepabench.pipeline.config import ConfigError

Work = Callable[[], None]


class Worker(Protocol):
    """A worker that was started."""

    def ended(self) -> bool:
        """Return whether the worker has returned or died."""
        ...

    def error(self) -> str:
        """Return why the worker died, or an empty string if it returned normally."""
        ...


class Launcher(Protocol):
    """Starts workers. ``num_workers`` of them run at a time."""

    num_workers: int

    def start(self, work: Work) -> Worker:
        """Start a worker that calls ``work``, which must be picklable."""
        ...

    def close(self, *, wait_seconds: float = 0.0) -> None:
        """Wait up to ``wait_seconds`` for workers to return, then end the others."""
        ...


class JoblibLauncher:
    """Runs workers as local processes with joblib's loky.

    Each worker has its own executor, so that a crash affects only one worker.

    Args:
        num_workers: Number of processes, each with one thread.
    """

    def __init__(self, num_workers: int = 2) -> None:
        self.num_workers = _positive(num_workers)
        self._workers: list[_Joblib] = []

    def start(self, work: Work) -> Worker:
        """Start a process."""
        from joblib.externals.loky.process_executor import ProcessPoolExecutor

        executor = ProcessPoolExecutor(
            max_workers=1, initializer=_leave_with, initargs=(os.getpid(),)
        )
        self._workers.append(_Joblib(executor, executor.submit(work)))
        return self._workers[-1]

    def close(self, *, wait_seconds: float = 0.0) -> None:
        """Wait up to ``wait_seconds`` for processes to return, then kill the others."""
        _wait(self._workers, wait_seconds)
        for worker in self._workers:
            worker.close()


class SubmititLauncher:
    """Runs workers as jobs of a SLURM cluster, with submitit.

    All machines of the cluster need access to the output folder.

    Args:
        num_workers: Number of jobs at a time.
        folder: Folder for the files of submitit and the output of the jobs.
        cluster: ``slurm``, ``local``, or None to use SLURM if it is available.
        timeout_min: Time limit of a job [minutes]. A new job resumes its work.
        cpus_per_task: Processors of a job.
        mem_gb: Memory of a job [GB].
        parameters: Other arguments of ``AutoExecutor.update_parameters``, such as
            ``slurm_partition``.
    """

    def __init__(
        self,
        *,
        num_workers: int = 2,
        folder: str = "outputs/submitit",
        cluster: str | None = None,
        timeout_min: int = 720,
        cpus_per_task: int = 1,
        mem_gb: float = 8,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        submitit = _import("submitit", "slurm")
        self.num_workers = _positive(num_workers)
        self._executor = submitit.AutoExecutor(
            folder=_without_percent(Path(folder).resolve()) / "%j", cluster=cluster
        )
        self._executor.update_parameters(
            timeout_min=timeout_min,
            cpus_per_task=cpus_per_task,
            mem_gb=mem_gb,
            **(parameters or {}),
        )
        self._jobs: list[Any] = []

    def start(self, work: Work) -> Worker:
        """Submit a job."""
        self._jobs.append(self._executor.submit(work))
        return _Submitit(self._jobs[-1])

    def close(self, *, wait_seconds: float = 0.0) -> None:
        """Wait up to ``wait_seconds`` for jobs to return, then cancel the others."""
        _wait([_Submitit(job) for job in self._jobs], wait_seconds)
        for job in self._jobs:
            if not job.done():
                job.cancel()
        give_up = time.monotonic() + 5
        while time.monotonic() < give_up and not all(job.done() for job in self._jobs):
            time.sleep(0.05)


class RayLauncher:
    """Runs workers as tasks of a Ray cluster.

    All machines need access to the output folder and an installation of jepabench.

    Args:
        num_workers: Number of tasks at a time.
        address: Address of the cluster, such as ``auto`` or ``ray://host:10001``; None starts Ray
            on this machine.
        num_cpus: Processors per task.
    """

    def __init__(
        self, *, num_workers: int = 2, address: str | None = None, num_cpus: float = 1
    ) -> None:
        self._ray = _import("ray", "ray")
        self.num_workers = _positive(num_workers)
        self._began = not self._ray.is_initialized()
        if self._began:
            own = (
                {} if address else {"num_cpus": num_workers * num_cpus, "include_dashboard": False}
            )
            self._ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
        self._remote = self._ray.remote(num_cpus=num_cpus, max_retries=0, max_calls=1)(_call)
        self._references: list[Any] = []

    def start(self, work: Work) -> Worker:
        """Submit a task."""
        self._references.append(self._remote.remote(work))
        return _Ray(self._ray, self._references[-1])

    def close(self, *, wait_seconds: float = 0.0) -> None:
        """Wait up to ``wait_seconds`` for tasks, cancel the others and disconnect from Ray."""
        _wait([_Ray(self._ray, reference) for reference in self._references], wait_seconds)
        for reference in self._references:
            self._ray.cancel(reference, force=True)
        if self._began:
            self._ray.shutdown()


class _Joblib:
    def __init__(self, executor: Any, future: Any) -> None:
        self._executor, self._future = executor, future

    def ended(self) -> bool:
        return self._future.done()

    def error(self) -> str:
        error = self._future.exception()
        self.close()
        return "" if error is None else _words(error)

    def close(self) -> None:
        # Shut an idle worker down cleanly, because a killed worker leaves semaphores behind.
        self._executor.shutdown(wait=True, kill_workers=not self._future.done())


class _Submitit:
    def __init__(self, job: Any) -> None:
        self._job = job

    def ended(self) -> bool:
        return self._job.done()

    def error(self) -> str:
        error = self._job.exception()
        return "" if error is None else _words(error)


class _Ray:
    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self._reference = ray, reference

    def ended(self) -> bool:
        return bool(self._ray.wait([self._reference], timeout=0)[0])

    def error(self) -> str:
        try:
            self._ray.get(self._reference)
        except Exception as error:
            return _words(error)
        return ""


def _wait(workers: Sequence[Worker], seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up and not all(worker.ended() for worker in workers):
        time.sleep(0.05)


def _without_percent(folder: Path) -> Path:
    """Return a folder without ``%`` in its path, because submitit replaces %j, %t and others."""
    if "%" not in str(folder):
        return folder
    parent = next(path for path in folder.parents if "%" not in str(path))
    return parent / f"submitit-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def _call(work: Work) -> None:
    work()


def _words(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1]}"


def _positive(num_workers: int) -> int:
    if num_workers < 1:
        raise ConfigError(f"num_workers must be at least 1, got {num_workers}.")
    return num_workers


def _import(module: str, extra: str) -> Any:

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"launcher={module} needs a package that is not installed: {error}. "
            f"Install it with: pip install 'jepabench[{extra}]'"
        ) from error


def _leave_with(parent: int) -> None:
    """End this process when ``parent`` ends, so that it does not keep a stage locked."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

"""Experiment trackers: training curves in TensorBoard, Weights & Biases, MLflow or Trackio.

A training always writes a TensorBoard log into its own folder. Within ``track(...)`` it also
reports to a tracker, through the trackers of Hugging Face Accelerate. A tracker changes no result:
the random generators are left as they were, and a tracker that fails is dropped with a warning.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jepabench.envs.errors import unknown_name

logger = logging.getLogger(__name__)
TRACKERS = ("none", "tensorboard", "wandb", "mlflow", "trackio")
_PROJECT = "jepabench"
_LONGEST_VALUE = 500  # characters of a setting


@dataclass(frozen=True)
class _Tracking:
    """The tracker to which the trainings of this context report.

    Attributes:
        name: Name of the tracker.
        folder: Folder for the files of trackers without an account.
        run: Name of the runs.
        directory: Folder of the training. Runs in subfolders of it add their path to the name.
        settings: Hyperparameters of the runs.
    """

    name: str
    folder: Path
    run: str
    directory: Path
    settings: Mapping[str, Any] = field(default_factory=dict)


_active: ContextVar[_Tracking | None] = ContextVar("tracking", default=None)


def check_tracker_name(name: object) -> None:
    """Check the name of a tracker.

    Raises:
        UnknownNameError: There is no such tracker.
    """
    if name not in TRACKERS:
        raise unknown_name("tracker", str(name), TRACKERS)


def check_tracker(name: str) -> None:
    """Check that a tracker can be used, before any work.

    Raises:
        UnknownNameError: There is no such tracker.
        ModuleNotFoundError: Its package or Accelerate is not installed.
        ValueError: Weights & Biases has no account to report to.
    """
    check_tracker_name(name)
    if name == "none":
        return
    extra = "models,accelerate" if name == "tensorboard" else name
    for package in ("accelerate", name):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(
                f"tracker={name} needs the package {package}, which is not installed. "
                f"Install it with: pip install 'jepabench[{extra}]'"
            )
    if name == "wandb":
        _check_account()


def _check_account() -> None:
    import wandb  # pyright: ignore[reportMissingImports]

    if os.environ.get("WANDB_MODE", "online") == "online" and not wandb.setup().settings.api_key:
        with suppress(Exception):
            if wandb.Api().api_key:
                return
        raise ValueError(
            "tracker=wandb needs an account: run `wandb login`, or set WANDB_MODE=offline to keep "
            "the runs in the output folder for `wandb sync`."
        )


@contextmanager
def track(
    name: str,
    *,
    folder: Path,
    run: str,
    directory: Path,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Report the trainings within the context to a tracker.

    Each training loop is a run of its own. Settings of a tracker's own environment variables, such
    as ``WANDB_MODE``, ``MLFLOW_TRACKING_URI`` or ``TRACKIO_DIR``, take precedence over ``folder``.

    Args:
        name: One of ``TRACKERS``; "none" reports nothing.
        folder: Folder for the files of trackers that run without an account.
        run: Name of the run. Runs of loops in subfolders of ``directory`` add the subfolder.
        directory: Folder that the training writes into.
        settings: Hyperparameters to store with the run.

    Raises:
        UnknownNameError, ModuleNotFoundError, ValueError: See ``check_tracker``.
    """
    check_tracker(name)
    tracking = None
    if name != "none":
        tracking = _Tracking(name, folder.resolve(), run, directory.resolve(), settings or {})
    token = _active.set(tracking)
    try:
        yield
    finally:
        _active.reset(token)


class ScalarLog:
    """The curves of one training loop: a TensorBoard log in its folder, and a run of a tracker.

    Args:
        directory: Folder of the training. The TensorBoard log is in its folder ``tensorboard``.
        first_step: Step at which the training resumes; 0 at the start.
    """

    def __init__(self, directory: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory / "tensorboard"), purge_step=first_step)
        self._run = TrackedRun.start(directory)

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Log scalars of a gradient step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._run.log(values, step)

    def close(self) -> None:
        """Write everything to disk and end the run."""
        self._writer.close()
        self._run.close()


class TrackedRun:
    """A run of the active tracker; without one, a run that ignores everything."""

    def __init__(self, tracker: Any = None) -> None:
        self._tracker = tracker

    @classmethod
    def start(cls, directory: Path) -> TrackedRun:
        """Start the run of the training in ``directory``, or resume it."""
        tracking, run = _active.get(), cls()
        if tracking is not None and os.environ.get("RANK", "0") == "0":
            run._attempt(lambda: run._open(tracking, directory.resolve()))
        return run

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log scalars of a step."""
        tracker = self._tracker
        if tracker is not None:
            numbers = {name: float(value) for name, value in values.items()}
            self._attempt(lambda: tracker.log(numbers, step=step))

    def close(self) -> None:
        """End the run."""
        if self._tracker is not None:
            self._attempt(self._tracker.finish)
            self._tracker = None

    def _open(self, tracking: _Tracking, directory: Path) -> None:
        from accelerate import PartialState
        from filelock import FileLock

        PartialState()  # Accelerate's trackers ask it for the rank of this process
        name = tracking.run
        if directory.is_relative_to(tracking.directory) and directory != tracking.directory:
            name += f"/{directory.relative_to(tracking.directory).as_posix()}"
        tracking.folder.mkdir(parents=True, exist_ok=True)
        tracker = _MAKERS[tracking.name](name, tracking.folder)
        with FileLock(tracking.folder / ".lock"):  # several workers may create one database
            tracker.start()
        self._tracker = tracker
        tracker.store_init_configuration(_flatten(tracking.settings))

    def _attempt(self, action: Callable[[], Any]) -> None:
        try:
            with _keep_generators():
                action()
        except Exception as error:
            logger.warning(
                "The tracker failed, and the training continues without it: %s: %s",
                type(error).__name__,
                error,
            )
            self._tracker = None


def _make_tensorboard(run: str, folder: Path) -> Any:
    from accelerate.tracking import TensorBoardTracker

    return TensorBoardTracker(run, folder / "tensorboard")


def _make_wandb(run: str, folder: Path) -> Any:
    import wandb  # pyright: ignore[reportMissingImports]
    from accelerate.tracking import WandBTracker

    return WandBTracker(
        os.environ.get("WANDB_PROJECT", _PROJECT),
        name=run,
        id=_identify(run, folder),
        resume="allow",
        dir=os.environ.get("WANDB_DIR", str(folder)),
        settings=wandb.Settings(console="off"),
    )


def _make_mlflow(run: str, folder: Path) -> Any:
    import mlflow  # pyright: ignore[reportMissingImports]
    from accelerate.tracking import MLflowTracker

    artifacts = None
    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        artifacts = (folder / "mlflow").as_uri()
    identity = _identify(run, folder)
    found = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.jepabench_run = '{identity}'",
        output_format="list",
    )
    return MLflowTracker(
        experiment_name=_PROJECT,
        logging_dir=artifacts,
        run_id=found[0].info.run_id if found else None,
        run_name=run,
        tags={"jepabench_run": identity},
    )


def _make_trackio(run: str, folder: Path) -> Any:
    os.environ.setdefault("TRACKIO_DIR", str(folder / "trackio"))  # read on import
    from accelerate.tracking import TrackioTracker

    return TrackioTracker(_PROJECT, name=run, resume="allow")


_MAKERS: dict[str, Callable[[str, Path], Any]] = {
    "tensorboard": _make_tensorboard,
    "wandb": _make_wandb,
    "mlflow": _make_mlflow,
    "trackio": _make_trackio,
}


def _identify(run: str, folder: Path) -> str:
    """Return an id of a run, so that an interrupted training resumes its own run."""
    return hashlib.sha256(f"{folder}|{run}".encode()).hexdigest()[:16]


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings with dotted keys and values that every tracker accepts."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            plain = isinstance(value, bool | int | float)
            flat[f"{prefix}{key}"] = value if plain else str(value)[:_LONGEST_VALUE]
    return flat


@contextmanager
def _keep_generators() -> Iterator[None]:
    """Restore the global generators of Python, numpy and torch at the end of the context.

    Stable-Baselines3 draws from them, and a tracker may draw the name of a run.
    """
    import torch

    python, torch_state = random.getstate(), torch.get_rng_state()
    legacy = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.set_rng_state(torch_state)

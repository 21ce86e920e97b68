"""Idempotent stages: running the same command again does what is missing, on any launcher.

A stage is one directory and one resolved configuration. What is in it:

    stage.json      the configuration and its hash, written first: no other configuration may use the directory
    .partial/       where the work is done; kept across crashes, so that a trainer resumes from its checkpoints
    .commit.json    what is about to be moved out of .partial; a crash while moving is repaired from it
    done.json       written last, by one rename: configuration, versions, files and their sizes
    failed.json     why the last attempt failed
    .lock, .owner.json    who is at work (``evaluation.locks``)
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import shutil
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from evaluation.locks import StageBusyError, StageError, StageLock, StageLostError

__all__ = ["StageBusyError", "StageError", "StageLostError", "is_done", "run_stage", "stage_id", "written_whole"]

COSMETIC_KEYS = frozenset({"progress", "num_workers", "verbose", "log_level"})
PACKAGES = ("jepabench", "gymnasium", "mujoco", "numpy", "pymunk", "stable-baselines3", "torch")
_RESERVED = frozenset({"stage.json", "done.json", "failed.json", ".partial", ".commit.json", ".lock", ".owner.json"})
_TRACEBACK_LINES = 30
_log = logging.getLogger(__name__)


def stage_id(config: Mapping[str, Any]) -> str:
    """Returns 16 hexadecimal digits that stand for a resolved configuration.

    Order of keys, tuples or lists, and cosmetic keys (``COSMETIC_KEYS``, at any depth) make no difference.

    Raises:
        StageError: a value that JSON can not hold, such as NaN or an object; the message names its key.
    """
    plain = _plain(config, "")
    return hashlib.sha256(_canonical(_without_cosmetics(plain)).encode()).hexdigest()[:16]


def is_done(directory: Path, config: Mapping[str, Any]) -> bool:
    """Returns whether a stage is finished with this configuration and all its files are there with their sizes.

    Raises:
        StageError: the directory belongs to another configuration.
    """
    _check_config(directory, config)
    done = _read_json(directory / "done.json")
    if done is None:
        return False
    damaged = _damaged(directory, done)
    if damaged:
        _log.warning("%s was done, but is damaged (%s); it is done again.", directory, damaged)
    return not damaged


def run_stage(
    directory: Path,
    config: Mapping[str, Any],
    work: Callable[[Path], None],
    *,
    stale_after: float = 60.0,
    wait: float = math.inf,
) -> bool:
    """Does a stage unless it is done already.

    Args:
        directory: where the result goes; made if needed.
        config: everything that decides the result, of JSON types.
        work: fills the directory that it is given. After a crash it finds there what it left, and may go on from it.
        stale_after: seconds without a heartbeat after which another machine's lock counts as abandoned.
        wait: seconds to wait for another process that is at work on the stage; 0 gives up at once.

    Returns:
        True if ``work`` was done now, False if there was nothing to do.

    Raises:
        StageError: another configuration's directory, a value that JSON can not hold, or nothing was made.
        StageBusyError: another process is still at work after ``wait`` seconds.
        Exception: whatever ``work`` raised; its traceback is in ``failed.json`` and the next call tries again.
    """
    stage_id(config)
    if is_done(directory, config):
        return False
    directory.mkdir(parents=True, exist_ok=True)
    with StageLock(directory, stale_after=stale_after, wait=wait) as lock:
        if is_done(directory, config) or _finished_commit(directory, config):
            return False
        _claim(directory, config)
        try:
            done = _do(directory, config, work)
            lock.confirm()
            _commit(directory, done)
        except StageLostError:
            raise
        except BaseException as error:
            _record_failure(directory, error)
            raise
    return True


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a path beside ``path`` to write to, and renames it on success: ``path`` is whole, old or absent, never half."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


# -- the steps of a stage ------------------------------------------------------------------------------------------


def _check_config(directory: Path, config: Mapping[str, Any]) -> None:
    for name in ("done.json", "stage.json"):
        known = _read_json(directory / name)
        if known is not None and known["hash"] != stage_id(config):
            changes = "; ".join(_differences(known["config"], _plain(config, ""))) or "its hash differs"
            raise StageError(
                f"{directory} holds a stage with another configuration: {changes}. Nothing was touched. "
                "Choose another directory, or remove this one to lose its result."
            )


def _claim(directory: Path, config: Mapping[str, Any]) -> None:
    """Writes ``stage.json``; a directory with files of unknown origin is refused, so that none is overwritten."""
    marker = directory / "stage.json"
    if _read_json(marker) is None:
        if not (directory / "done.json").exists():
            foreign = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
            if foreign:
                raise StageError(
                    f"{directory} is not empty ({', '.join(foreign[:5])}) and no stage. Choose another directory."
                )
        _write_json(marker, {"hash": stage_id(config), "config": _plain(config, "")})
    # What was done is damaged: from here on nobody may take it for the result.
    for name in ("done.json", ".commit.json"):
        (directory / name).unlink(missing_ok=True)


def _do(directory: Path, config: Mapping[str, Any], work: Callable[[Path], None]) -> dict[str, Any]:
    partial, start = directory / ".partial", time.perf_counter()
    partial.mkdir(exist_ok=True)
    work(partial)
    files = {path.relative_to(partial).as_posix(): path.stat().st_size for path in _files(partial)}
    if not files:
        raise StageError(f"The work of {directory} left no file. A stage must write what it made into its directory.")
    taken = sorted(_RESERVED & {path.name for path in partial.iterdir()})
    if taken:
        raise StageError(f"The work of {directory} wrote {', '.join(taken)}; these names are the stage's own.")
    return {
        "hash": stage_id(config),
        "config": _plain(config, ""),
        "versions": _versions(),
        "host": socket.gethostname(),
        "seconds": round(time.perf_counter() - start, 3),
        "finished": datetime.now(timezone.utc).isoformat(),
        "files": files,
    }


def _commit(directory: Path, done: Mapping[str, Any]) -> None:
    """Publishes the result; the list of what is moved is written before the first move, and becomes ``done.json`` after."""
    _write_json(directory / ".commit.json", done)
    _publish(directory)


def _finished_commit(directory: Path, config: Mapping[str, Any]) -> bool:
    """Finishes a commit that a crash cut off. Returns False if there is none, or not all of its files are there."""
    commit = _read_json(directory / ".commit.json")
    if commit is None or commit["hash"] != stage_id(config):
        return False
    for name, size in commit["files"].items():
        waiting = _size(directory / ".partial" / name)
        if size != (_size(directory / name) if waiting is None else waiting):
            return False
    _publish(directory)
    return True


def _publish(directory: Path) -> None:
    _move(directory)
    (directory / "failed.json").unlink(missing_ok=True)
    (directory / ".commit.json").replace(directory / "done.json")


def _move(directory: Path) -> None:
    partial = directory / ".partial"
    if not partial.is_dir():
        return
    for source in sorted(partial.iterdir()):
        target = directory / source.name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        elif source.is_dir():
            target.unlink(missing_ok=True)
        source.replace(target)
    partial.rmdir()


def _record_failure(directory: Path, error: BaseException) -> None:
    lines = "".join(traceback.format_exception(error)).splitlines()
    with suppress(OSError):  # a full disk must not hide why it failed
        _write_json(
            directory / "failed.json",
            {
                "error": f"{type(error).__name__}: {error}",
                "traceback": lines[-_TRACEBACK_LINES:],
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "failed": datetime.now(timezone.utc).isoformat(),
            },
        )


# -- files and configurations --------------------------------------------------------------------------------------


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _damaged(directory: Path, done: Mapping[str, Any]) -> str:
    """Returns what is wrong with the files that ``done`` lists, or an empty string."""
    for name, size in done["files"].items():
        found = _size(directory / name)
        if found != size:
            return f"{name} is missing" if found is None else f"{name} has {found} bytes, not {size}"
    return ""


def _read_json(path: Path) -> dict[str, Any] | None:
    """Returns a stage file's content, None if there is none or it is corrupt."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        content = None
    expected = {"done.json": "files", ".commit.json": "files"}.get(path.name, "config")
    if isinstance(content, dict) and {"hash", "config", expected} <= content.keys():
        return content
    _log.warning("%s is corrupt and is ignored.", path)
    return None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with written_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _canonical(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any, key: str) -> Any:
    """Returns a configuration as JSON types; ``key`` names the value in errors."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise StageError(f"Keys of a configuration are strings, got {name!r} in {key or 'the top level'}.")
        return {name: _plain(item, f"{key}.{name}".lstrip(".")) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_plain(item, f"{key}[{index}]") for index, item in enumerate(value)]
    raise StageError(
        f"Configuration {key or '(top level)'} is {value!r} ({type(value).__name__}); "
        "a stage needs strings, finite numbers, booleans, None, lists and mappings."
    )


def _without_cosmetics(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _without_cosmetics(item) for key, item in plain.items() if key not in COSMETIC_KEYS}
    return [_without_cosmetics(item) for item in plain] if isinstance(plain, list) else plain


def _differences(known: Any, asked: Any, key: str = "") -> list[str]:
    """Returns what differs between two plain configurations, at most five lines."""
    if isinstance(known, dict) and isinstance(asked, dict):
        found = []
        for name in sorted(known.keys() | asked.keys()):
            if name not in COSMETIC_KEYS:
                path = f"{key}.{name}".lstrip(".")
                found += _differences(known.get(name, "(absent)"), asked.get(name, "(absent)"), path)
        return found[:5]
    return [] if known == asked else [f"{key} is {known!r} there, {asked!r} asked for"]

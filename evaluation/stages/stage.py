"""Idempotent stages: running the same command again completes what is missing, on any launcher.

A stage is one directory and one resolved configuration. The directory contains:

    stage.json      configuration and hash, written first; the directory accepts no other
    .partial/       working folder; kept across crashes so that trainers resume
    .commit.json    files to be moved out of .partial; an interrupted move is completed from it
    done.json       written last, by one rename: configuration, versions, files, sizes and checksums
    failed.json     why the last attempt failed; absent if it was interrupted
    stage.log       output of its processes, if a sweep ran it
    .lock, .owner.json    the process that works on it (``jepabench.evaluation.stages.locks``)
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import shutil
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from jepabench.envs.data.files import write_atomically
from jepabench.evaluation.stages.config import differences, plain, stage_id
from jepabench.evaluation.stages.evidence import checksum, file_size, list_files, locate_error
from jepabench.evaluation.stages.locks import (
    StageBusyError,
    StageError,
    StageLock,
    StageLostError,
    find_owner,
)

__all__ = [
    "StageBusyError",
    "StageError",
    "StageLostError",
    "StageState",
    "is_done",
    "read_stage",
    "run_stage",
    "stage_id",
    "stage_state",
]

PACKAGES = ("jepabench", "gymnasium", "mujoco", "numpy", "pymunk", "stable-baselines3", "torch")
_RESERVED = frozenset(
    {
        "stage.json",
        "stage.log",
        "done.json",
        "failed.json",
        ".partial",
        ".commit.json",
        ".lock",
        ".owner.json",
    }
)
# What an attempt leaves that came to nothing.
_TRACES = frozenset({"stage.json", "stage.log", "failed.json", ".partial", ".lock", ".owner.json"})
_FIELDS = {
    "stage.json": {"hash", "config"},
    "done.json": {"hash", "config", "files", "seconds"},
    ".commit.json": {"hash", "config", "files"},
    "failed.json": {"error", "failed", "pid"},
}
_TRACEBACK_LINES = 30
_log = logging.getLogger(__name__)


def is_done(directory: Path, config: Mapping[str, Any], *, thorough: bool = False) -> bool:
    """Return whether a stage is finished with this configuration and its files are unchanged.

    Compares sizes, and checksums of files that were modified since; ``thorough`` compares every
    checksum.

    Raises:
        StageError: The directory belongs to another configuration, or holds foreign files.
    """
    done = _read_json(directory / "done.json")
    _check_config(directory, config, done)
    if done is None:
        return False
    damaged = _find_damage(directory, done, thorough)
    if damaged:
        _log.warning("%s was done, but is damaged (%s). It will be run again.", directory, damaged)
    return not damaged


@dataclass(frozen=True, slots=True)
class StageState:
    """Progress of a stage.

    Attributes:
        name: ``done``, ``running``, ``failed``, ``interrupted`` (started, and no process
            works on it; the next run resumes it) or ``missing``.
        detail: The process that works on it, or why it failed.
        seconds: How long it took, if it is done.
        stamp: Identifies a failure; empty if it did not fail.
    """

    name: str
    detail: str = ""
    seconds: float = math.nan
    stamp: str = ""


def stage_state(directory: Path, config: Mapping[str, Any]) -> StageState:
    """Return the progress of a stage without changing it.

    Raises:
        StageError: The directory belongs to another configuration, or holds foreign files.
    """
    done = _read_json(directory / "done.json")
    _check_config(directory, config, done)
    begun = _read_json(directory / "stage.json")
    if done is None and begun is not None and begun["hash"] != stage_id(config):
        return StageState("missing")  # begun with another configuration, which produced nothing
    return _state(directory, done)


def read_stage(directory: Path) -> tuple[dict[str, Any], StageState, dict[str, Any]] | None:
    """Return configuration, state and ``done.json`` (or {}) of a directory's stage, or None."""
    done, begun = _read_json(directory / "done.json"), _read_json(directory / "stage.json")
    known = done or begun
    return None if known is None else (known["config"], _state(directory, done), done or {})


def _state(directory: Path, done: Mapping[str, Any] | None) -> StageState:
    if done is not None and not _find_damage(directory, done, thorough=False):
        return StageState("done", seconds=done["seconds"])
    owner = find_owner(directory)
    if owner is not None:
        return StageState("running", f"process {owner.pid} on {owner.host} since {owner.since}")
    failed = _read_json(directory / "failed.json")
    if failed is not None:
        reason = failed["error"]
        if failed.get("where"):
            reason += f" ({failed['where']}; traceback in {directory / 'failed.json'})"
        return StageState("failed", reason, stamp=failed["failed"] + str(failed["pid"]))
    return StageState("interrupted" if (directory / "stage.json").exists() else "missing")


def run_stage(
    directory: Path,
    config: Mapping[str, Any],
    work: Callable[[Path], None],
    *,
    stale_after: float = 60.0,
    wait: float = math.inf,
    max_deaths: float = math.inf,
) -> bool:
    """Run a stage unless it is done already.

    Args:
        directory: Folder of the result; created if needed.
        config: Everything that decides the result, of JSON types.
        work: Fills the folder that it is given. After a crash the folder has its earlier content,
            so that the work can resume.
        stale_after: Seconds without a heartbeat after which another machine's lock is abandoned.
        wait: Seconds to wait for another process that works on the stage; 0 gives up at once.
        max_deaths: The stage fails after more than this many owners in a row were killed.

    Returns:
        True if the work was done now, False if it was done already.

    Raises:
        StageError: The directory of another configuration, a value that JSON cannot represent, no
            output, or too many killed owners.
        StageBusyError: Another process is still working after ``wait`` seconds.
        Exception: Whatever ``work`` raised. Its traceback is in ``failed.json``, except for
            ``KeyboardInterrupt`` and ``SystemExit``, which interrupt the stage. The next call
            resumes it in either case.
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
            if lock.owner.deaths > max_deaths:
                raise StageError(
                    f"{lock.owner.deaths} processes in a row were killed while they ran this "
                    f"stage. A frequent cause is too little memory. See {directory / 'stage.log'}."
                )
            done = _do(directory, config, work)
            lock.confirm()
            _commit(directory, done)
        except StageLostError:
            raise
        except (KeyboardInterrupt, SystemExit):
            (directory / "failed.json").unlink(missing_ok=True)
            raise
        except BaseException as error:
            _record_failure(directory, error)
            raise
    return True


# -- steps of a stage


def _check_config(
    directory: Path, config: Mapping[str, Any], done: Mapping[str, Any] | None
) -> None:
    asked = stage_id(config)
    begun = _read_json(directory / "stage.json")
    if begun is None and not (directory / "done.json").exists():
        _refuse_foreign_files(directory)
    if done is None and not _is_claimed(directory):
        begun = None  # it produced nothing, so the folder is free for this configuration
    for known in (done, begun):
        if known is not None and known["hash"] != asked:
            changes = "; ".join(differences(known["config"], plain(config))) or "its hash differs"
            raise StageError(
                f"{directory} holds a stage with another configuration: {changes}. Nothing was "
                "changed. Choose another directory, or delete this one with its result."
            )


def _refuse_foreign_files(directory: Path) -> None:
    """Refuse a directory without a stage that holds files which no stage made."""
    names = {path.name for path in directory.glob("*") if not path.name.startswith(".")}
    if foreign := sorted(names - _TRACES):
        raise StageError(
            f"{directory} is not empty ({', '.join(foreign[:5])}) and is not a stage. "
            "Choose another directory."
        )


def _is_claimed(directory: Path) -> bool:
    """Return whether an unfinished stage made a file or has a process that works on it."""
    if not directory.is_dir():
        return False
    names = {path.name for path in directory.iterdir()}
    if names - _TRACES or any(path.is_file() for path in (directory / ".partial").rglob("*")):
        return True
    owner = find_owner(directory)
    return owner is not None and (owner.pid, owner.host) != (os.getpid(), socket.gethostname())


def _claim(directory: Path, config: Mapping[str, Any]) -> None:
    """Write ``stage.json`` into a directory that ``_check_config`` accepts."""
    marker = directory / "stage.json"
    begun = _read_json(marker)
    if begun is None or begun["hash"] != stage_id(config):
        # What is here is of a deleted stage, or of another configuration that produced nothing.
        for name in ("failed.json", "stage.log"):
            (directory / name).unlink(missing_ok=True)
        _write_json(marker, {"hash": stage_id(config), "config": plain(config)})
    # An earlier result is damaged and must not be used any more.
    for name in ("done.json", ".commit.json"):
        (directory / name).unlink(missing_ok=True)


def _do(directory: Path, config: Mapping[str, Any], work: Callable[[Path], None]) -> dict[str, Any]:
    partial, start = directory / ".partial", time.perf_counter()
    partial.mkdir(exist_ok=True)
    work(partial)
    files = {
        path.relative_to(partial).as_posix(): path.stat().st_size for path in list_files(partial)
    }
    if not files:
        raise StageError(
            f"The work of {directory} wrote no file. A stage must write its result into its folder."
        )
    taken = sorted(_RESERVED & {path.name for path in partial.iterdir()})
    if taken:
        raise StageError(
            f"The work of {directory} wrote {', '.join(taken)}; these names are reserved."
        )
    return {
        "hash": stage_id(config),
        "config": plain(config),
        "versions": _versions(),
        "host": socket.gethostname(),
        "seconds": round(time.perf_counter() - start, 3),
        "finished": datetime.now(UTC).isoformat(),
        "files": files,
        "sha256": {name: checksum(partial / name) for name in files},
    }


def _commit(directory: Path, done: Mapping[str, Any]) -> None:
    """Publish the result. The list of files is written before the first move, then renamed."""
    _write_json(directory / ".commit.json", done)
    _publish(directory)


def _finished_commit(directory: Path, config: Mapping[str, Any]) -> bool:
    """Complete an interrupted commit; return False if there is none or files are missing."""
    commit = _read_json(directory / ".commit.json")
    if commit is None or commit["hash"] != stage_id(config):
        return False
    for name, size in commit["files"].items():
        waiting = file_size(directory / ".partial" / name)
        if size != (file_size(directory / name) if waiting is None else waiting):
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
    with suppress(OSError):  # a full disk must not hide the cause
        _write_json(
            directory / "failed.json",
            {
                "error": f"{type(error).__name__}: {error}",
                "where": locate_error(error),
                "traceback": lines[-_TRACEBACK_LINES:],
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "failed": datetime.now(UTC).isoformat(),
            },
        )


# -- files and configurations


def _find_damage(directory: Path, done: Mapping[str, Any], thorough: bool) -> str:
    """Return what is wrong with the files that ``done`` lists, or an empty string."""
    published = (directory / "done.json").stat().st_mtime_ns
    for name, size in done["files"].items():
        path = directory / name
        found = file_size(path)
        if found != size:
            return (
                f"{name} is missing" if found is None else f"{name} has {found} bytes, not {size}"
            )
        changed = path.stat().st_mtime_ns > published
        made = done.get("sha256", {}).get(name)  # absent in stages of older versions
        if (thorough or changed) and made and checksum(path) != made:
            return f"{name} is not what was written"
    return ""


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return the content of a stage file, or None if it is missing or corrupt."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        content = None
    expected = _FIELDS.get(path.name, _FIELDS["stage.json"])
    if isinstance(content, dict) and expected <= content.keys():
        return content
    _log.warning("%s is corrupt and is ignored.", path)
    return None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=2) + "\n")


@cache
def _versions() -> Mapping[str, str]:
    """Return the versions of Python and ``PACKAGES``; cached, because the lookup is slow."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found

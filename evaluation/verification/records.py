"""Records of verifications: which badges a maintainer gave a submission, and on what grounds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jepabench.envs.data.files import write_atomically
from jepabench.evaluation.protocol import PROTOCOL_VERSION
from jepabench.evaluation.submissions.files import SubmissionError, folder_digest
from jepabench.evaluation.verification.environment import simulator_versions
from jepabench.evaluation.verification.levels import BADGES, Verification

RECORD_SCHEMA = 2


def write_record(folder: Path, verification: Verification, about: Mapping[str, Any]) -> Path:
    """Write what a maintainer found into ``folder/NAME.json``.

    A check that failed always replaces an earlier record, so that a badge cannot outlive it. A
    check
    that passed replaces a record of the same content only if it reached at least the same level: a
    level-2 check neither removes a re-run badge nor hides a failed re-run.

    Args:
        folder: Folder of the records, ``results/verified``.
        verification: What was found.
        about: Added to the record: date, versions, machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{verification.name}.json"
    if verification.passed and path.exists():
        before = _read(path)
        same = before.get("digest") == verification.digest
        if same and before.get("level", 0) > verification.level and _is_current(before):
            return path
    content = {
        "schema_version": RECORD_SCHEMA,
        "name": verification.name,
        "digest": verification.digest,
        "protocol_version": PROTOCOL_VERSION,
        "physics": simulator_versions(),
        "level": verification.level,
        "badges": list(verification.badges),
        "check": verification.check,
        "reason": verification.reason,
        "copies": list(verification.copies),
        **about,
        "episodes": verification.episodes,
        "seconds": verification.seconds,
        "rerun": verification.rerun,
    }
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def find_badges(folder: Path, verified: Path) -> Sequence[str]:
    """Return the badges of a submission that still hold.

    A badge holds while the submission, the protocol and the simulators are the same as in the
    record.

    Args:
        folder: Folder of the submission.
        verified: Folder of the maintainers' records, ``results/verified``.
    """
    path = verified / f"{folder.resolve().name}.json"
    record = _read(path) if path.exists() else {}
    if not _is_current(record):
        return ()
    try:
        if record.get("digest") != folder_digest(folder):
            return ()
    except SubmissionError:
        return ()
    badges = record.get("badges", ())
    return tuple(badge for badge in BADGES if badge in badges)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_current(record: Mapping[str, Any]) -> bool:
    return (
        record.get("schema_version") == RECORD_SCHEMA
        and record.get("protocol_version") == PROTOCOL_VERSION
        and record.get("physics") == simulator_versions()
    )

"""A submission: one agent on one suite, in a folder that can be checked without the agent.

``results/submissions/README.md`` describes the format. Reading treats all contents as untrusted and
runs none of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.envs.splits import EpisodeSpec
from jepabench.evaluation.protocol import PROTOCOL_VERSION, Suite
from jepabench.evaluation.records import EpisodeRecord, write_records
from jepabench.evaluation.submissions.arrays import read_actions
from jepabench.evaluation.submissions.checkpoints import check_checkpoints
from jepabench.evaluation.submissions.checks import (
    aggregates,
    check_aggregates,
    check_episodes,
    check_files,
    check_rows,
    check_seeds,
    check_specs,
    expected_rows,
    resolve_suite,
    specs_digest,
)
from jepabench.evaluation.submissions.copies import check_distinct_seeds
from jepabench.evaluation.submissions.diagnostics import read_diagnostics, read_imagined
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.files import (
    ACTIONS,
    MANIFEST,
    ROWS,
    check_readme,
    folder_digest,
    hash_files,
    read_files,
)
from jepabench.evaluation.submissions.manifest import SCHEMA, Manifest, read_manifest, validate
from jepabench.evaluation.submissions.rows import read_rows
from jepabench.evaluation.submissions.text import escape_text

__all__ = [
    "Refusal",
    "Submission",
    "SubmissionError",
    "Trace",
    "folder_digest",
    "read_or_refuse",
    "read_submission",
    "write_submission",
]


class Trace(NamedTuple):
    """One episode: its row, its spec, and its actions float32 [steps, A]."""

    row: Mapping[str, Any]
    spec: EpisodeSpec
    actions: NDArray[np.float32]


class Refusal(NamedTuple):
    """A submission that level 1 refuses.

    Attributes:
        name: Name of its folder.
        check: That refuses it; ``suite`` for other versions of the protocol or the suite.
        reason: One or more lines, safe to print.
    """

    name: str
    check: str
    reason: str


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission that is consistent with its suite and itself. Only a replay proves its outcomes.

    Attributes:
        manifest: Its description.
        suite: The suite of this release that it is for.
        rows: One per episode, with the columns of ``EpisodeRecord``.
        actions: float32 [control steps, A] by task id and training seed.
        digest: Digest of the names and contents of its files.
    """

    manifest: Manifest
    suite: Suite
    rows: pd.DataFrame
    actions: Mapping[tuple[str, int], NDArray[np.float32]]
    digest: str

    def traces(self) -> Iterator[Trace]:
        """Yield the episodes, task by task."""
        begin: dict[tuple[str, int], int] = {}
        for row in self.rows.to_dict("records"):
            key = str(row["task_id"]), int(row["training_seed"])
            start = begin.get(key, 0)
            begin[key] = start + int(row["steps"])
            spec = EpisodeSpec(key[0], str(row["split"]), str(row["stratum"]), int(row["index"]))
            yield Trace(
                {str(name): value for name, value in row.items()},
                spec,
                self.actions[key][start : begin[key]],
            )


def read_submission(folder: Path, find_suite: Callable[[str], Suite]) -> Submission:
    """Read a submission and check everything that needs no simulator.

    Args:
        folder: Named as the submission.
        find_suite: Returns this release's suite of a name, and raises KeyError for an unknown name.

    Raises:
        SubmissionError: The message says what is wrong, and where.
    """
    files = read_files(folder)
    manifest = read_manifest(files[MANIFEST], folder.resolve().name)
    check_files(manifest, files)
    check_readme(files)
    suite = resolve_suite(manifest, find_suite)
    check_seeds(manifest, suite)
    expected = expected_rows(suite, manifest.agent.name, manifest.training_seeds)
    rows = read_rows(files[ROWS], len(expected))
    check_episodes(rows, expected)
    check_rows(rows)
    check_specs(manifest, suite)
    check_aggregates(manifest, rows)
    actions = read_actions(files[ACTIONS], rows)
    if len(manifest.training_seeds) > 1:
        check_distinct_seeds(actions, files)
    check_checkpoints(files)
    read_imagined(files, read_diagnostics(files, rows), manifest.pixels)
    return Submission(manifest, suite, rows, actions, hash_files(files))


def read_or_refuse(folder: Path, find_suite: Callable[[str], Suite]) -> Submission | Refusal:
    """Return a submission that passes level 1, or why it does not; nothing in the folder raises.

    Args:
        folder, find_suite: As for ``read_submission``.
    """
    try:
        return read_submission(folder, find_suite)
    except SubmissionError as error:
        return Refusal(folder.name, error.check, str(error))
    except Exception as error:  # a hostile file that breaks a parser is refused as well
        reason = escape_text(f"It cannot be read: {type(error).__name__}: {str(error)[:300]}")
        return Refusal(folder.name, "files", reason)


def write_submission(
    folder: Path,
    manifest: Mapping[str, Any],
    *,
    suite: Suite,
    records: Sequence[EpisodeRecord],
    actions: Mapping[tuple[str, int], NDArray[np.float32]],
    extra: Mapping[str, bytes] | None = None,
) -> None:
    """Write the folder of a submission, completely or not at all.

    Args:
        folder: Must not exist.
        manifest: The keys of ``Manifest`` except those that follow from the rest: versions of
            schema and protocol, suite, specs, aggregates and files.
        suite: That the records are of.
        records: One per episode, in the order of ``expected_rows``.
        actions: As in ``Submission``.
        extra: More files, by name.

    Raises:
        SubmissionError: The folder is taken, or a key of the manifest is invalid.
    """
    if folder.exists():
        raise SubmissionError(
            "files", f"{folder} already exists. Choose another name, or remove it first."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        partial.mkdir()
        write_records(partial / ROWS, records)
        _write_actions(partial / ACTIONS, actions)
        for name, content in (extra or {}).items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(content)
        _write_manifest(partial, manifest, suite, len(records))
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_actions(path: Path, actions: Mapping[tuple[str, int], NDArray[np.float32]]) -> None:
    arrays = {f"{task}/{seed}": array for (task, seed), array in actions.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]  (its stub mixes up allow_pickle)


def _write_manifest(
    folder: Path, manifest: Mapping[str, Any], suite: Suite, num_records: int
) -> None:
    """Write the manifest of a folder that holds all other files."""
    files = read_files(folder, complete=False)
    rows = read_rows(files[ROWS], num_records)
    whole = {
        "schema_version": SCHEMA,
        "protocol_version": PROTOCOL_VERSION,
        "suite": {"name": suite.name, "version": suite.version},
        **manifest,
        "specs": specs_digest(suite).model_dump(),
        "aggregates": [item.model_dump() for item in aggregates(rows)],
        "files": {
            name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())
        },
    }
    (folder / MANIFEST).write_text(
        validate(Manifest, whole).model_dump_json(indent=1) + "\n", encoding="utf-8"
    )

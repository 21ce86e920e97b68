"""A submission: one agent on one suite, in a folder that can be checked without the agent (``results/submissions/README.md``).

What is read here may come from anybody. Reading runs no code of it, and takes nothing in it at its word.
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
from jepabench.evaluation.submissions.checks import (
    aggregates,
    check_aggregates,
    check_episodes,
    check_files,
    check_rows,
    check_seeds,
    check_specs,
    expected_rows,
    specs_digest,
    suite_of,
)
from jepabench.evaluation.submissions.diagnostics import read_diagnostics, read_imagined
from jepabench.evaluation.submissions.files import (
    ACTIONS,
    MANIFEST,
    ROWS,
    SubmissionError,
    digest_of,
    folder_digest,
    read_files,
    read_rows,
)
from jepabench.evaluation.submissions.manifest import SCHEMA, Manifest, read_manifest, validated

__all__ = [
    "Submission",
    "SubmissionError",
    "Trace",
    "folder_digest",
    "read_submission",
    "write_submission",
]


class Trace(NamedTuple):
    """One episode: its row, its spec, and its actions float32 [steps, A]."""

    row: Mapping[str, Any]
    spec: EpisodeSpec
    actions: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission whose parts fit the suite and each other. Whether its outcomes are true is for a replay to say.

    Attributes:
        manifest: who, what, with what.
        suite: that it is for, as this release has it.
        rows: one an episode, the columns of ``EpisodeRecord``.
        actions: float32 [control steps, A] by task id and training seed.
        digest: of the names and contents of its files.
    """

    manifest: Manifest
    suite: Suite
    rows: pd.DataFrame
    actions: Mapping[tuple[str, int], NDArray[np.float32]]
    digest: str

    def traces(self) -> Iterator[Trace]:
        """Gives the episodes one after the other, task by task."""
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
    """Reads a submission and checks all that can be checked without the simulator.

    Args:
        folder: named as the submission.
        find_suite: gives the suite of a name as this release has it, and raises KeyError for another.

    Raises:
        SubmissionError: it is not what it must be; the message says what, and where.
    """
    files = read_files(folder)
    manifest = read_manifest(files[MANIFEST], folder.resolve().name)
    check_files(manifest, files)
    suite = suite_of(manifest, find_suite)
    check_seeds(manifest, suite)
    expected = expected_rows(suite, manifest.agent.name, manifest.training_seeds)
    rows = read_rows(files[ROWS], len(expected))
    check_episodes(rows, expected)
    check_rows(rows)
    check_specs(manifest, suite)
    check_aggregates(manifest, rows)
    actions = read_actions(files[ACTIONS], rows)
    read_imagined(files, read_diagnostics(files, rows), manifest.pixels)
    return Submission(manifest, suite, rows, actions, digest_of(files))


def write_submission(
    folder: Path,
    manifest: Mapping[str, Any],
    *,
    suite: Suite,
    records: Sequence[EpisodeRecord],
    actions: Mapping[tuple[str, int], NDArray[np.float32]],
    extra: Mapping[str, bytes] | None = None,
) -> None:
    """Writes the folder of a submission, which is whole or not there.

    Args:
        folder: must not exist.
        manifest: keys of ``Manifest`` but those that follow from the rest: versions of schema and protocol, suite, specs,
            aggregates and files.
        suite: that the records are of.
        records: one an episode, in the order of ``expected_rows``.
        actions: as in ``Submission``.
        extra: more files, by name.

    Raises:
        SubmissionError: the folder is taken, or a key of the manifest is not what it must be.
    """
    if folder.exists():
        raise SubmissionError(
            "files", f"{folder} is there already. Choose another name, or remove it first."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        partial.mkdir()
        _write(partial, manifest, suite, records, actions, extra or {})
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(
    folder: Path,
    manifest: Mapping[str, Any],
    suite: Suite,
    records: Sequence[EpisodeRecord],
    actions: Mapping[tuple[str, int], NDArray[np.float32]],
    extra: Mapping[str, bytes],
) -> None:
    write_records(folder / ROWS, records)
    arrays = {f"{task}/{seed}": array for (task, seed), array in actions.items()}
    with (folder / ACTIONS).open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]  (its stub mixes up allow_pickle)
    for name, content in extra.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    files = read_files(folder, complete=False)
    rows = read_rows(files[ROWS], len(records))
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
        validated(Manifest, whole).model_dump_json(indent=1) + "\n", encoding="utf-8"
    )

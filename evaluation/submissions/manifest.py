"""The manifest of a submission: its schema, and reading one that anybody may have written."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from jepabench.evaluation.submissions.files import MANIFEST, SubmissionError

SCHEMA = 1
NAME = r"^[a-z0-9][a-z0-9-]{0,63}$"
_DEEPEST = 24
_MOST = 2**53  # beyond it JSON numbers are not exact everywhere

Line = Annotated[
    str, StringConstraints(max_length=300, pattern=r"^[^\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]*$")
]
_Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=_MOST)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """What a stranger wrote: each field known, of its type, and finite."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SuiteName(Strict):
    """A suite and its version."""

    name: Line
    version: int


class Track(Strict):
    """What an agent may use (PROTOCOL 3)."""

    observation: Line
    data: Line
    privilege: Literal["none", "simulator"]


class AgentDescription(Strict):
    """Who acts. ``config`` (or that of ``per_task``) is never instantiated by a check, but on a maintainer's word (level 3)."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    learns: bool
    track: Track
    package: Line
    config: dict[str, JsonValue]
    per_task: dict[Line, dict[str, JsonValue]]


class Code(Strict):
    """The working copy that it was made with."""

    commit: Line
    dirty: bool | None


class Cost(Strict):
    """What was spent on one task and training seed before the first test episode."""

    task_id: Line
    training_seed: Count
    transitions: Count
    train_seconds: Annotated[float, Field(ge=0)]
    parameters: Count
    data_fingerprint: Line


class SpecsDigest(Strict):
    """Stands for the episodes of a suite."""

    num_episodes: Count
    sha256: _Hash


class Aggregate(Strict):
    """Means of one task and stratum over seeds and episodes."""

    task_id: Line
    stratum: Line
    seeds: Count
    episodes: Count
    success_held: Share
    success_ever: Share
    success_final: Share
    joint_ever: Share
    strict_held: Share
    violation_rate: Share


class Words(Strict):
    """What its makers say of a submission."""

    name: Annotated[str, StringConstraints(pattern=NAME)]
    authors: Annotated[list[Line], Field(max_length=50)]
    description: Annotated[
        str,
        StringConstraints(
            max_length=4000, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]*$"
        ),
    ]
    link: Annotated[
        str, StringConstraints(max_length=500, pattern=r"^(https?://[^\s\"'<>\x00-\x1f]+)?$")
    ]


class Manifest(Words):
    """What ``submission.json`` holds; ``results/submissions/README.md`` says it in words."""

    schema_version: Literal[1]
    protocol_version: int
    suite: SuiteName
    pixels: Annotated[int, Field(ge=16, le=1024)]
    agent: AgentDescription
    training_seeds: Annotated[tuple[Count, ...], Field(strict=False, min_length=1, max_length=100)]
    created: Annotated[
        str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")
    ]
    command: Line
    code: Code
    versions: Annotated[dict[Line, Line], Field(max_length=100)]
    machine: Annotated[dict[Line, Line], Field(max_length=50)]
    costs: Annotated[list[Cost], Field(max_length=10_000)]
    specs: SpecsDigest
    aggregates: Annotated[list[Aggregate], Field(max_length=1000)]
    files: Annotated[dict[Line, _Hash], Field(max_length=1000)]


def read_manifest(content: bytes, folder_name: str) -> Manifest:
    """Reads a manifest strictly: each key once, finite numbers, bounded depth, nothing unknown.

    Raises:
        SubmissionError: names the key and what is wrong with it.
    """
    manifest = validated(Manifest, parse_json(content, MANIFEST))
    if manifest.name != folder_name:
        raise SubmissionError(
            "manifest", f"{MANIFEST}: name is {manifest.name!r}, the folder is {folder_name!r}."
        )
    return manifest


def check_words(**words: Any) -> None:
    """Refuses what a manifest could not hold of ``Words``, before any work is done for it.

    Raises:
        SubmissionError: names the key and what is wrong with it.
    """
    validated(Words, words)


_Model = TypeVar("_Model", bound=Strict)


def validated(
    kind: type[_Model], tree: Any, *, name: str = MANIFEST, check: str = "manifest"
) -> _Model:
    """Returns a file, or a part of it, from what JSON says.

    Args:
        kind: its schema.
        tree: from ``parse_json``.
        name: of the file.
        check: that refuses it.

    Raises:
        SubmissionError: names the key and what is wrong with it.
    """
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part)[:60] for part in problem['loc']) or 'the top level'}: {problem['msg'][:200]}"
            for problem in error.errors(
                include_input=False, include_url=False, include_context=False
            )[:5]
        ]
        raise SubmissionError(check, f"{name}: {'; '.join(problems)}.") from None


def parse_json(content: bytes, name: str, *, check: str = "manifest") -> Any:
    """Returns what JSON of unknown origin says, within limits that a manifest has no reason to reach.

    Raises:
        SubmissionError: no UTF-8, no JSON, a key twice, a number that is not finite, or too deep.
    """
    try:
        tree = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise SubmissionError(check, f"{name} is nested deeper than {_DEEPEST} levels.") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise SubmissionError(
            check, f"{name} is no JSON that can be read: {str(error)[:300]}"
        ) from None
    level = [tree]
    for _ in range(_DEEPEST):
        level = [
            item
            for node in level
            if isinstance(node, (dict, list))
            for item in (node.values() if isinstance(node, dict) else node)
        ]
    if level:
        raise SubmissionError(check, f"{name} is nested deeper than {_DEEPEST} levels.")
    return tree


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:60]!r} is there twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"the number {text[:30]} is too large")
    return float(text)

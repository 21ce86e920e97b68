"""The manifest of a submission: its schema, and reading one of unknown origin."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
)

from jepabench.evaluation.submissions.costs import MAX_PARAMETERS, MAX_SECONDS, MAX_TRANSITIONS
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.files import MANIFEST, parse_json
from jepabench.evaluation.submissions.text import find_hidden
from jepabench.evaluation.submissions.tracks import (
    Data,
    Observation,
    Privilege,
    check_reserved_name,
    derive_learns,
)

SCHEMA = 1
NAME = r"^[a-z0-9][a-z0-9-]{0,63}$"
_MAX_INTEGER = 2**53  # beyond it, JSON numbers are not exact everywhere
# Letters, digits and dots in the host: neither user names nor look-alike letters of other scripts.
_LINK = r"^(https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][!#-;=?-~]*)?)?$"
_DATE = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)$"


def _check_visible(text: str) -> str:
    if found := find_hidden(text):
        raise ValueError(f"it holds {found}")
    return text


def _check_visible_lines(text: str) -> str:
    if found := find_hidden(text, multiline=True):
        raise ValueError(f"it holds {found}")
    return text


def _check_date(text: str) -> str:
    datetime.fromisoformat(text.replace("Z", "+00:00"))
    return text


def _check_seconds(value: float) -> float:
    if 0 < value < 1e-6:
        raise ValueError("a training takes 0 seconds or at least a microsecond")
    return value


Line = Annotated[str, StringConstraints(max_length=300), AfterValidator(_check_visible)]
_Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=_MAX_INTEGER)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """Untrusted content: unknown fields, wrong types and non-finite numbers are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SuiteName(Strict):
    """A suite and its version."""

    name: Line
    version: int


class Track(Strict):
    """What an agent may use; the allowed values are closed lists (``tracks``)."""

    observation: Observation
    data: Data
    privilege: Privilege


class AgentDescription(Strict):
    """The agent. Only level 3, if a maintainer asks, instantiates ``config`` or ``per_task``."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    learns: bool
    track: Track
    package: Line
    config: dict[str, JsonValue]
    per_task: dict[Line, dict[str, JsonValue]]


class Code(Strict):
    """The working copy that made the submission."""

    commit: Line
    dirty: bool | None


class Cost(Strict):
    """What one task and training seed cost before the first test episode; null if not stated.

    Attributes:
        task_id, training_seed: Which run.
        transitions: Environment transitions of every dataset, tuning trial and calibration episode.
        train_seconds: Train seconds of training, simulation included [s].
        parameters: Parameters of all trained parts.
        data_fingerprint: Hashes of the datasets, or an empty string.
    """

    task_id: Line
    training_seed: Count
    transitions: Annotated[int, Field(ge=0, le=MAX_TRANSITIONS)] | None
    train_seconds: (
        Annotated[float, Field(ge=0, le=MAX_SECONDS), AfterValidator(_check_seconds)] | None
    )
    parameters: Annotated[int, Field(ge=0, le=MAX_PARAMETERS)] | None
    data_fingerprint: Line


class SpecsDigest(Strict):
    """A digest of the episodes of a suite."""

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
    """The free text of a submission."""

    name: Annotated[str, StringConstraints(pattern=NAME)]
    authors: Annotated[list[Line], Field(max_length=50)]
    description: Annotated[
        str, StringConstraints(max_length=4000), AfterValidator(_check_visible_lines)
    ]
    link: Annotated[str, StringConstraints(max_length=500, pattern=_LINK)]


class Manifest(Words):
    """The content of ``submission.json``; ``results/submissions/README.md`` describes it."""

    schema_version: Literal[1]
    protocol_version: int
    suite: SuiteName
    pixels: Annotated[int, Field(ge=16, le=1024)]
    agent: AgentDescription
    training_seeds: Annotated[tuple[Count, ...], Field(strict=False, min_length=1, max_length=100)]
    created: Annotated[str, StringConstraints(pattern=_DATE), AfterValidator(_check_date)]
    command: Line
    code: Code
    versions: Annotated[dict[Line, Line], Field(max_length=100)]
    machine: Annotated[dict[Line, Line], Field(max_length=50)]
    costs: Annotated[list[Cost], Field(max_length=10_000)]
    specs: SpecsDigest
    aggregates: Annotated[list[Aggregate], Field(max_length=1000)]
    files: Annotated[dict[Line, _Hash], Field(max_length=1000)]


def read_manifest(content: bytes, folder_name: str) -> Manifest:
    """Read a manifest strictly: each key once, finite numbers, bounded depth, nothing unknown.

    Raises:
        SubmissionError: Names the key and what is wrong with it.
    """
    tree = parse_json(content, MANIFEST)
    for text in _strings(tree):
        if found := find_hidden(text, multiline=True):
            raise SubmissionError("manifest", f"{MANIFEST}: {text[:60]!r} holds {found}.")
    manifest = validate(Manifest, tree)
    if manifest.name != folder_name:
        raise SubmissionError(
            "manifest", f"{MANIFEST}: name is {manifest.name!r}, the folder is {folder_name!r}."
        )
    agent = manifest.agent
    check_reserved_name(agent.name, agent.config)
    spent = any(
        cost.transitions or cost.train_seconds or cost.parameters for cost in manifest.costs
    )
    if not agent.learns and (spent or derive_learns(agent.config, agent.per_task)):
        raise SubmissionError(
            "manifest",
            "agent.learns is false, but its configuration or its costs name a training. Every "
            "training seed of the suite is required.",
        )
    return manifest


def check_words(**words: Any) -> None:
    """Refuse free text that a manifest cannot hold, before any work is done.

    Raises:
        SubmissionError: Names the key and what is wrong with it.
    """
    validate(Words, words)


_Model = TypeVar("_Model", bound=Strict)


def validate(
    kind: type[_Model], tree: Any, *, name: str = MANIFEST, check: str = "manifest"
) -> _Model:
    """Return a file, or a part of it, from parsed JSON.

    Args:
        kind: Its schema.
        tree: From ``parse_json``.
        name: Name of the file.
        check: That refuses it.

    Raises:
        SubmissionError: Names the key and what is wrong with it.
    """
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part)[:60] for part in problem['loc']) or 'the top level'}: "
            f"{problem['msg'][:200]}"
            for problem in error.errors(
                include_input=False, include_url=False, include_context=False
            )[:5]
        ]
        raise SubmissionError(check, f"{name}: {'; '.join(problems)}.") from None


def _strings(tree: Any) -> Iterator[str]:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            stack += [*node.keys(), *node.values()]
        elif isinstance(node, list):
            stack += node

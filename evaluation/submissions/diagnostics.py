"""Diagnostics of world models, as the authors of a submission report them.

Sizes and values are checked, but no check runs a model, so no badge covers the reported numbers.
They are accepted only together with the checkpoint, so that anyone can measure them again with
``jepabench.evaluation.model_checks.model_report``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from jepabench.envs.registry import get_task
from jepabench.envs.task import short_name
from jepabench.envs.variations.events import list_events
from jepabench.evaluation.model_checks.quantities import observation_names
from jepabench.evaluation.submissions.arrays import read_arrays
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.files import (
    CHECKPOINTS,
    DIAGNOSTICS,
    IMAGINED,
    parse_json,
)
from jepabench.evaluation.submissions.manifest import (
    Count,
    Line,
    Share,
    Strict,
    validate,
)

SCHEMA = 1
_CHECK = "diagnostics"
_ROUNDING = 1e-3
_MAX_UNPACKED = 1 << 26  # bytes of all frames
_Steps = Annotated[int, Field(ge=1, le=32)]
_Correlation = Annotated[float, Field(ge=-1, le=1)]

Frames = NDArray[np.uint8]


class Probe(Strict):
    """Accuracy of a linear probe of a quantity on held-out episodes; null if it does not vary."""

    quantity: Line
    r2: Annotated[float, Field(ge=-1e6, le=1)] | None
    r: Annotated[float, Field(ge=-1.000001, le=1.000001)] | None


class Surprise(Strict):
    """AUROC of surprise at an event with its 95 % interval; null if the event could not happen."""

    event: Line
    kind: Literal["impossible", "harmless"]
    auroc: Share | None
    low: Share | None
    high: Share | None
    untrained: Share | None
    pairs: Count


class Imagined(Strict):
    """The start of an episode as the model imagines it: ``steps`` steps after ``known`` frames."""

    stratum: Line
    index: Count
    known: _Steps
    steps: _Steps


class Gate(Strict):
    """The parts that can limit planning, as ``jepabench diagnose`` measures them.

    Attributes:
        goal_error: Median error of a probe that reads the achieved goal from encoded frames, in
            ``unit``.
        unit: Unit of ``goal_error``; ``units`` where the task combines lengths and angles.
        in_place: Share of frames in which that error is within the success radius.
        rank_imagined, rank_realised: Rank correlation of the predicted cost and the true outcome of
            candidate plans, with the imagined and with the real end of each plan.
        oracle_predictor: Success rate (held) of the same planner and encoder when the simulator
            predicts, or null.
    """

    goal_error: Annotated[float, Field(ge=0, le=1e6)]
    unit: Literal["cm", "px", "units"]
    in_place: Share
    rank_imagined: _Correlation | None = None
    rank_realised: _Correlation | None = None
    oracle_predictor: Share | None = None


class WorldReport(Strict):
    """Diagnostics of one world model."""

    task_id: Line
    training_seed: Count
    frames: Count
    probe: Annotated[list[Probe], Field(max_length=500)]
    surprise: Annotated[list[Surprise], Field(max_length=50)]
    imagined: Annotated[list[Imagined], Field(max_length=16)]
    gate: Gate | None = None


class Diagnostics(Strict):
    """The content of ``diagnostics.json``; ``results/submissions/README.md`` describes it."""

    schema_version: Literal[1]
    worlds: Annotated[list[WorldReport], Field(max_length=100)]


def read_diagnostics(files: Mapping[str, bytes], rows: pd.DataFrame) -> Sequence[WorldReport]:
    """Return the diagnostics of each world model; there are none without ``diagnostics.json``.

    Args:
        files: Files of the submission, by name.
        rows: Its episodes.

    Raises:
        SubmissionError: The file does not follow the schema, or describes something that the
            submission or the world does not have.
    """
    if DIAGNOSTICS not in files:
        if IMAGINED in files:
            raise SubmissionError(
                _CHECK, f"{IMAGINED} belongs to {DIAGNOSTICS}, which is not there."
            )
        return ()
    tree = parse_json(files[DIAGNOSTICS], DIAGNOSTICS, check=_CHECK)
    found = validate(Diagnostics, tree, name=DIAGNOSTICS, check=_CHECK)
    _once((report.task_id for report in found.worlds), "task")
    for report in found.worlds:
        _check(report, files, rows)
    if any(report.imagined for report in found.worlds) != (IMAGINED in files):
        raise SubmissionError(
            _CHECK, f"{IMAGINED} is there if and only if {DIAGNOSTICS} lists what it holds."
        )
    return tuple(found.worlds)


def read_imagined(
    files: Mapping[str, bytes], reports: Sequence[WorldReport], pixels: int
) -> dict[tuple[str, str, int], Frames]:
    """Return the decoded present frame and the imagined frames, by task, stratum and index.

    Each array is uint8 [1 + steps, pixels, pixels, 3].

    Raises:
        SubmissionError: The arrays are too large, or not those that ``reports`` list.
    """
    shapes = {
        (report.task_id, item.stratum, item.index): (1 + item.steps, pixels, pixels, 3)
        for report in reports
        for item in report.imagined
    }
    if sum(shape[0] * pixels * pixels * 3 for shape in shapes.values()) > _MAX_UNPACKED:
        raise SubmissionError(
            _CHECK, f"{IMAGINED} would unpack to more than {_MAX_UNPACKED} bytes."
        )
    if not shapes:
        return {}
    names = {key: frames_name(*key) for key in shapes}
    wanted = {names[key]: shape for key, shape in shapes.items()}
    arrays = read_arrays(files[IMAGINED], wanted, "|u1", name=IMAGINED, check=_CHECK)
    return {key: arrays[name] for key, name in names.items()}


def diagnostics_files(
    reports: Sequence[Mapping[str, Any]], frames: Mapping[str, Frames]
) -> dict[str, bytes]:
    """Return the files with the diagnostics of a submission's world models, if there are any.

    Args:
        reports: As ``WorldReport`` has them, but plain.
        frames: By ``frames_name``.
    """
    files = {}
    if reports:
        content = {"schema_version": SCHEMA, "worlds": list(reports)}
        files[DIAGNOSTICS] = (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
    if frames:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **frames)  # pyright: ignore[reportArgumentType]  (its stub mixes up allow_pickle)
        files[IMAGINED] = buffer.getvalue()
    return files


def frames_name(task_id: str, stratum: str, index: int) -> str:
    """Return the name of an episode's array in ``imagined.npz``."""
    return f"{task_id}/{stratum}/{index}"


def _check_probe(report: WorldReport) -> None:
    for item in report.probe:
        if (item.r2 is None) != (item.r is None):
            raise _refused(report, f"{item.quantity} has one of r2 and r, it needs both")
        if item.r2 is not None and item.r2 > (item.r or 0.0) ** 2 + _ROUNDING:
            raise _refused(report, f"r2 of {item.quantity} is larger than the square of its r")


def _check(report: WorldReport, files: Mapping[str, bytes], rows: pd.DataFrame) -> None:
    own = pd.DataFrame(
        rows[(rows["task_id"] == report.task_id) & (rows["training_seed"] == report.training_seed)]
    )
    if own.empty:
        raise _refused(
            report,
            f"the submission has no episodes of it with training seed {report.training_seed}",
        )
    home = f"{CHECKPOINTS}/{short_name(report.task_id)}/seed{report.training_seed}/world_model/"
    if not any(name.startswith(home) for name in files):
        raise _refused(
            report, f"its world model is not in {home}, so nobody could measure it again"
        )
    quantities, events = _known(report.task_id)
    if report.probe and [item.quantity for item in report.probe] != list(quantities):
        raise _refused(report, f"its quantities are {', '.join(quantities)}, in this order")
    _check_probe(report)
    _once((item.event for item in report.surprise), f"event of {report.task_id}")
    for item in report.surprise:
        if events.get(item.event) != item.kind:
            raise _refused(report, f"it has no {item.kind} event {item.event[:60]!r}")
        _check_rates(report, item)
    block = get_task(report.task_id).action_block
    steps = {
        (str(row["stratum"]), int(row["index"])): int(row["steps"])
        for row in own.to_dict("records")
    }
    _once(
        ((item.stratum, item.index) for item in report.imagined),
        f"imagined episode of {report.task_id}",
    )
    for item in report.imagined:
        if (item.known - 1 + item.steps) * block > steps.get((item.stratum, item.index), 0):
            raise _refused(
                report,
                f"episode {item.stratum[:60]}/{item.index} is not there, or not as long as "
                "imagined",
            )


def _check_rates(report: WorldReport, item: Surprise) -> None:
    """Refuse an AUROC without its interval, outside of it, or without any pairs."""
    rates = (item.low, item.auroc, item.high)
    if None in rates or not item.pairs:
        if any(rate is not None for rate in rates):
            raise _refused(
                report, f"{item.event} needs auroc, low, high and pairs, or none of them"
            )
    elif not (item.low or 0) <= (item.auroc or 0) <= (item.high or 0):
        raise _refused(report, f"the AUROC of {item.event} lies outside its own interval")


def _once(items: Iterator[object], what: str) -> None:
    seen: set[object] = set()
    for item in items:
        if item in seen:
            raise SubmissionError(_CHECK, f"{DIAGNOSTICS}: {what} {str(item)[:100]} is duplicated.")
        seen.add(item)


def _refused(report: WorldReport, reason: str) -> SubmissionError:
    return SubmissionError(_CHECK, f"{DIAGNOSTICS}, {report.task_id}: {reason}.")


@cache
def _known(task_id: str) -> tuple[Sequence[str], Mapping[str, str]]:
    """The names of a world's quantities, and the kind of each of its events."""
    kinds = {
        event.name: "harmless" if event.harmless else "impossible" for event in list_events(task_id)
    }
    return observation_names(task_id), kinds

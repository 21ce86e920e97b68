"""Read the progress of all stages below an output folder, for a live page."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jepabench.evaluation.stages.stage import StageError, StageState, read_stage, stage_state
from jepabench.execution.estimates import StageTimes, duration
from jepabench.pipeline.stages import SuitePlan

_LOG_BYTES = 1 << 17  # bytes that are read from the end of a log
_LOG_LINES = 12
_MOST_POINTS = 120  # points of a curve
_RECENT = 8  # number of recently finished stages
# A line of tqdm: "train:  53%|###   | 31733/60000 [07:25<12:03, 39.06step/s, loss=0.1]".
_BAR = re.compile(r"(\d+)%\|.*?\[[\d:]+<(?P<left>[\d:?]+)(?:, *[^,\]]+)?(?P<values>.*)\]")
_VALUE = re.compile(r"([A-Za-z][\w ]*?)[= ](-?\d+\.?\d*(?:e[+-]?\d+)?)(?![\w.])")


def read_progress(output: Path, plans: Sequence[SuitePlan] = ()) -> dict[str, Any]:
    """Return the state of all stages as a JSON object.

    Args:
        output: Output folder of sweeps.
        plans: Plans of the sweeps, for stages that have not started and for the remaining time.
    """
    states = {folder: state for folder, state in _find_stages(output)}
    titles = {folder: str(folder.relative_to(output)) for folder in states}
    times: list[float] = []
    for plan in plans:
        own = {
            key: _plan_state(stage.directory, stage.config) for key, stage in plan.stages.items()
        }
        for key, state in own.items():
            folder = plan.stages[key].directory
            titles[folder] = plan.stages[key].title
            states.setdefault(folder, state)
        waiting = [key for key, state in own.items() if state.name != "done"]
        times.append(StageTimes(plan.stages).remaining(waiting))
    names = Counter(state.name for state in states.values())
    running = [folder for folder, state in states.items() if state.name == "running"]
    left = sum(times) / max(1, len(running)) if times else math.nan
    return {
        "type": "sweep",
        "output": str(output),
        "counts": dict(names),
        "kinds": _count_kinds(output, states),
        "total": len(states),
        "left": duration(left) if names["done"] < len(states) else "0 s",
        "running": [
            {"title": titles[folder], "detail": states[folder].detail, **read_log(folder)}
            for folder in sorted(running)
        ],
        "failed": [
            {
                "title": titles[folder],
                "detail": state.detail,
                "log": read_log(folder)["log"],
            }
            for folder, state in sorted(states.items())
            if state.name == "failed"
        ],
        "recent": [
            {"title": titles[folder], "seconds": duration(states[folder].seconds)}
            for folder in _last_finished(states)
        ],
    }


def read_log(folder: Path) -> dict[str, Any]:
    """Return the end of a stage's log, its progress bar and the values that the bar reported.

    Returns:
        A dictionary with ``log``, the last lines; ``percent`` and ``left`` of the last progress
        bar, or None; and ``curve``, the name of a value and its history, or None.
    """
    try:
        with (folder / "stage.log").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _LOG_BYTES))
            text = file.read().decode(errors="replace").replace("\x1b[A", "")
    except OSError:
        text = ""
    bars = [bar for part in re.split(r"[\r\n]", text) if (bar := _BAR.search(part))]
    lines = [line.rstrip().rpartition("\r")[2] for line in text.split("\n")]
    found: dict[str, list[float]] = {}
    for bar in bars:
        for name, value in _VALUE.findall(bar["values"]):
            found.setdefault(name.strip(), []).append(float(value))
    name = next(iter(found), None)
    return {
        "log": [line for line in lines if line.strip()][-_LOG_LINES:],
        "percent": int(bars[-1][1]) if bars else None,
        "left": bars[-1]["left"] if bars else None,
        "curve": None if name is None else {"name": name, "values": _thin(found[name])},
    }


def _thin(values: Sequence[float]) -> list[float]:
    """Return at most ``_MOST_POINTS`` changed values, evenly spaced, including the last one."""
    changed = [
        value for place, value in enumerate(values) if not place or value != values[place - 1]
    ]
    step = math.ceil(len(changed) / _MOST_POINTS)
    return changed[::-1][::step][::-1]


def _find_stages(output: Path) -> Iterator[tuple[Path, StageState]]:
    for root, folders, files in os.walk(output):
        if "stage.json" not in files and "done.json" not in files:
            continue
        folders.clear()  # stages are not nested
        found = read_stage(Path(root))
        if found is not None:
            yield Path(root), found[1]


def _plan_state(directory: Path, config: Mapping[str, Any]) -> StageState:
    try:
        return stage_state(directory, config)
    except StageError as error:
        return StageState("failed", str(error))


def _count_kinds(output: Path, states: Mapping[Path, StageState]) -> dict[str, dict[str, int]]:
    kinds: dict[str, Counter[str]] = {}
    for folder, state in states.items():
        kind = folder.relative_to(output).parts[0]
        kinds.setdefault(kind, Counter())[state.name] += 1
    return {kind: dict(counts) for kind, counts in sorted(kinds.items())}


def _last_finished(states: Mapping[Path, StageState]) -> list[Path]:
    def get_finish_time(folder: Path) -> float:
        try:
            return (folder / "done.json").stat().st_mtime
        except OSError:
            return 0.0

    done = [folder for folder, state in states.items() if state.name == "done"]
    return sorted(done, key=get_finish_time, reverse=True)[:_RECENT]

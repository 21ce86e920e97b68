"""Estimate the duration of stages from finished stages or from the speeds of this machine."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from jepabench.evaluation.stages.stage import stage_state
from jepabench.execution.costs import stage_seconds
from jepabench.execution.speeds import Speeds
from jepabench.pipeline.stages import Stage


class StageTimes:
    """Estimates the durations of stages from similar finished stages or from the machine's speeds.

    Args:
        stages: Stages by key. The durations of finished stages are read from their folders.
        speeds: Speeds that ``jepabench doctor`` measured, or None if they are unknown.
    """

    def __init__(self, stages: Mapping[str, Stage], speeds: Speeds | None = None) -> None:
        self._stages, self._speeds = stages, speeds
        self._times: dict[str, list[float]] = defaultdict(list)
        for key, stage in stages.items():
            if (stage.directory / "done.json").exists():
                self.add(key, stage_state(stage.directory, stage.config).seconds)

    def add(self, key: str, seconds: float) -> None:
        """Add the measured duration of a stage [s]."""
        if math.isfinite(seconds):
            for similar in _list_similar_keys(key):
                self._times[similar].append(seconds)

    def remaining(self, keys: Sequence[str]) -> float:
        """Return the expected total duration [s], or NaN if that of a stage is unknown."""
        return sum(self._estimate(key) for key in keys)

    def _estimate(self, key: str) -> float:
        for similar in _list_similar_keys(key):
            if times := self._times.get(similar):
                return sum(times) / len(times)
        return math.nan if self._speeds is None else stage_seconds(self._stages[key], self._speeds)


def duration(seconds: float) -> str:
    """Return a duration as text, in seconds, minutes, hours or days."""
    if not math.isfinite(seconds):
        return "unknown time"
    for limit, divisor, unit in ((99.5, 1, "s"), (99.5 * 60, 60, "min"), (72 * 3600, 3600, "h")):
        if seconds < limit:
            return (
                f"{seconds / divisor:.2g} {unit}"
                if seconds / divisor < 10
                else f"{seconds / divisor:.0f} {unit}"
            )
    return f"{seconds / 86400:.1f} days"


def _list_similar_keys(key: str) -> list[str]:
    """Return patterns of similar stages, most similar first: other seeds, agents, tasks."""
    parts = key.split("/")
    found = ["/".join(parts[:-1]), parts[0]]
    if len(parts) > 3:
        found[1:1] = [f"{parts[0]}/*/{parts[2]}", f"{parts[0]}/{parts[1]}/*"]
    return found

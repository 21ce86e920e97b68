"""How long stages take: from those that are done, and before any is, from this machine's speeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from jepabench.evaluation.stages.stage import stage_state
from jepabench.execution.costs import stage_seconds
from jepabench.execution.speeds import Speeds
from jepabench.pipeline.stages import Stage


class StageTimes:
    """Estimates the times of stages from similar finished stages or from the machine's speeds.

    Args:
        stages: those that are done teach it from the start.
        speeds: from ``jepabench doctor``, if they are known.
    """

    def __init__(self, stages: Mapping[str, Stage], speeds: Speeds | None = None) -> None:
        self._stages, self._speeds = stages, speeds
        self._times: dict[str, list[float]] = defaultdict(list)
        for key, stage in stages.items():
            if (stage.directory / "done.json").exists():
                self.add(key, stage_state(stage.directory, stage.config).seconds)

    def add(self, key: str, seconds: float) -> None:
        """Notes what a stage took [s]."""
        if math.isfinite(seconds):
            for like in _likes(key):
                self._times[like].append(seconds)

    def remaining(self, keys: Sequence[str]) -> float:
        """Returns the expected sum [s]; NaN as long as nothing is known of one of them."""
        return sum(self._expected(key) for key in keys)

    def _expected(self, key: str) -> float:
        for like in _likes(key):
            if times := self._times.get(like):
                return sum(times) / len(times)
        return math.nan if self._speeds is None else stage_seconds(self._stages[key], self._speeds)


def duration(seconds: float) -> str:
    """Returns a duration in the unit that suits it."""
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


def _likes(key: str) -> list[str]:
    """Return keys of similar stages, the most similar first: other seeds, agents, tasks."""
    parts = key.split("/")
    found = ["/".join(parts[:-1]), parts[0]]
    if len(parts) > 3:
        found[1:1] = [f"{parts[0]}/*/{parts[2]}", f"{parts[0]}/{parts[1]}/*"]
    return found

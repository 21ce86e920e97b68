"""Read measurements of the environments from the tables of `benchmarks/speed/environments.py`."""

from __future__ import annotations

import csv
from pathlib import Path

TABLES = Path(__file__).resolve().parents[1] / "tables"


def recorded_rates(
    task_id: str, *, tables: Path = TABLES
) -> tuple[dict[str, dict[str, float]], int]:
    """Return recorded success rates (0 to 1) by policy and stratum, and their number of episodes.

    For a task without measurements the rates are empty and the number is 0.
    """
    rates: dict[str, dict[str, float]] = {}
    num_episodes = 0
    if not (tables / "expert.csv").exists():
        return rates, num_episodes
    with (tables / "expert.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["task"] == task_id:
                num_episodes = int(row["episodes"])
                rates.setdefault(row["policy"], {})[row["stratum"]] = (
                    int(row["held"]) / num_episodes
                )
    return rates, num_episodes

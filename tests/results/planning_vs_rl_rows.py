"""Synthetic rows of the table behind the headline figure."""

import pandas as pd


def rows(method, family, held, *, task="jepabench/TwoRoom-v1", budgets=(1000, 10_000), seeds=3):
    """Rows of two strata, with the success rates of ``held`` by budget."""
    return [
        {
            "task": task,
            "stratum": stratum,
            "method": method,
            "family": family,
            "seed": seed,
            "transitions": budget,
            "training_seconds": budget / 100,
            "held": rate,
            "episodes": 50,
        }
        for budget, rate in zip(budgets, held, strict=True)
        for stratum in ("near", "far")
        for seed in range(seeds)
    ]


def synthetic():
    return pd.DataFrame(
        [
            *rows("jepa", "planner", (0.8, 0.9)),
            *rows("sac-her", "rl", (0.1, 0.9)),
            *rows("random", "floor", (0.1,), budgets=(0,), seeds=1),
            *rows("expert", "ceiling", (1.0,), budgets=(0,), seeds=1),
            *rows("jepa", "planner", (0.5, 0.6), task="jepabench/Alone-v1"),
        ]
    )


def written(tmp_path, table):
    path = tmp_path / "planning-vs-rl.csv"
    table.to_csv(path, index=False)
    return path

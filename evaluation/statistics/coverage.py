"""Simulated coverage of the intervals in ``jepabench.evaluation.statistics.rates``.

``python -m jepabench.evaluation.statistics.coverage`` prints the tables of ``docs/statistics.md``.

The success probability of training seed s in episode e is logistic(m + a_s + b_e): a_s is normal
with standard deviation ``spread``, b_e is shared by all seeds and both agents and is normal with
standard deviation ``difficulty``, and m is chosen so that the mean over seeds and episodes is the
given rate. With one seed a_s is 0, because the interval is conditional on the seed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from jepabench.evaluation.statistics.rates import Limits, difference_limits, rate_limits

Array = NDArray[np.float64]
QUANTITIES = ("share", "difference of 0", "difference of 0, paired", "difference of 0.1, paired")
SEEDS, EPISODES = (1, 3, 5), (20, 50, 100)
RATES, SPREADS = (0.02, 0.1, 0.5, 0.9, 0.98), (0.0, 0.5)
PAIRED_DIFFICULTY = 1.0
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """One simulated experiment: S training seeds on E episodes, see the module."""

    seeds: int
    episodes: int
    rate: float
    spread: float = 0.0
    difficulty: float = 0.0


def simulate_outcomes(
    design: Design, trials: int, generator: np.random.Generator, hardness: Array | None = None
) -> Array:
    """Return outcomes [trials, S, E]; ``hardness`` [trials, 1, E] is standard normal."""
    spread = design.spread if design.seeds > 1 else 0.0
    logits = np.full((trials, 1, 1), _mean_logit(design.rate, np.hypot(spread, design.difficulty)))
    if spread:
        logits = logits + spread * generator.standard_normal((trials, design.seeds, 1))
    if hardness is not None:
        logits = logits + design.difficulty * hardness
    chance = generator.random((trials, design.seeds, design.episodes))
    return (chance < special.expit(logits)).astype(np.float64)


def measure_coverage(
    quantity: str, design: Design, *, trials: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Return the coverage of nominal 95 % intervals, and their width relative to what is needed.

    The width that is needed is that of the central 95 % range of the estimator.

    Args:
        quantity: One of ``QUANTITIES``.
        design: Design of the first agent. The second has the same rate, or one 0.1 closer to 0.5.
        trials: Simulated experiments.
        generator: Source of randomness.
    """
    if quantity == "share":
        found = rate_limits([[simulate_outcomes(design, trials, generator)]], 0.95)
        return _summarise(found, design.rate)
    gap = 0.1 if "0.1" in quantity else 0.0
    rate = design.rate + (gap if design.rate < 0.5 else -gap)
    difficulty = PAIRED_DIFFICULTY if "paired" in quantity else 0.0
    hardness = generator.standard_normal((trials, 1, design.episodes))
    first, second = (
        simulate_outcomes(
            Design(
                seeds=design.seeds,
                episodes=design.episodes,
                rate=one,
                spread=design.spread,
                difficulty=difficulty,
            ),
            trials,
            generator,
            hardness,
        )
        for one in (design.rate, rate)
    )
    return _summarise(difference_limits([[first]], [[second]], 0.95), design.rate - rate)


def coverage_table(
    *,
    trials: int = 4000,
    quantities: tuple[str, ...] = QUANTITIES,
    seeds: tuple[int, ...] = SEEDS,
    seed: int = 0,
) -> pd.DataFrame:
    """Return one row per quantity, seeds, spread, episodes and rate: ``coverage`` and ``width``."""
    rows = []
    for quantity in quantities:
        for number in seeds:
            for spread in SPREADS if number > 1 else (0.0,):
                for episodes in EPISODES:
                    for rate in RATES:
                        design = Design(seeds=number, episodes=episodes, rate=rate, spread=spread)
                        coverage, width = measure_coverage(
                            quantity,
                            design,
                            trials=trials,
                            generator=np.random.default_rng([seed, len(rows)]),
                        )
                        rows.append(
                            {
                                "quantity": quantity,
                                "seeds": number,
                                "spread": spread,
                                "episodes": episodes,
                                "rate": rate,
                                "coverage": coverage,
                                "width": width,
                            }
                        )
    return pd.DataFrame(rows)


def format_table(table: pd.DataFrame) -> str:
    """Return the table as Markdown: coverage in percent for each rate, and the widest interval."""
    lines = [
        "| quantity | seeds | spread | episodes | "
        + " | ".join(f"rate {rate:g}" for rate in RATES)
        + " | widest |",
        "|---|---|---|---|" + "---|" * (len(RATES) + 1),
    ]
    keys = ["quantity", "seeds", "spread", "episodes"]
    for (quantity, seeds, spread, episodes), rows in table.groupby(keys, sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        shown = " | ".join(f"{100 * value:.1f}" for value in rows["coverage"])
        lines.append(
            f"| {quantity} | {seeds} | {spread:g} | {episodes} | {shown} | "
            f"{rows['width'].max():.2f} |"
        )
    return "\n".join(lines)


def _summarise(limits: Limits, truth: float) -> tuple[float, float]:
    hit = (limits.low <= truth + 1e-9) & (truth <= limits.high + 1e-9)
    low, high = np.quantile(limits.estimate, (0.025, 0.975), method="inverted_cdf")
    return float(hit.mean()), float((limits.high - limits.low).mean() / max(high - low, 1e-12))


def _mean_logit(rate: float, spread: float) -> float:
    """Return m for which the mean of logistic(m + spread * z) over normal z is ``rate``."""
    low, high = -15.0, 15.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = (_WEIGHTS * special.expit(middle + spread * _NODES)).sum() / _WEIGHTS.sum()
        low, high = (middle, high) if mean < rate else (low, middle)
    return (low + high) / 2


def main() -> None:
    """Write the coverage table to standard output as Markdown."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--trials", type=int, default=4000, help="experiments per cell")
    table = coverage_table(trials=parser.parse_args().trials)
    sys.stdout.write(format_table(table) + "\n")


if __name__ == "__main__":
    main()

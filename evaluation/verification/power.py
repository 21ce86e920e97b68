"""How often a re-run passes a submission: the simulated power of the pooled test.

``python -m jepabench.evaluation.verification.power`` prints the table of ``docs/statistics.md``.

The rate of a cell is uniform in 0.15 to 0.85. The success probability of a training seed in an
episode is logistic(m + a + b): a is normal with standard deviation ``seed_spread`` and belongs to
the seed and the cell, in the submission and in the re-run alike; b is normal with standard
deviation ``spread`` and belongs to the episode. A forger turns failures into successes until the
rate of the cell is higher by the overstatement, or 1.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from jepabench.evaluation.verification.agreement import pooled_test

CORE_CELLS = 23  # tasks and strata of the suite core
_RATES = 0.15, 0.85
_PERMUTATIONS = 199

Outcomes = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A simulated submission and its re-run.

    Attributes:
        overstatement: Overstatement of the success rate of each cell, 0 for an honest submission.
        cells: Tasks and strata.
        seeds: Training seeds.
        episodes: Submitted episodes per cell.
        private: Episodes per cell of the re-run.
        spread: Spread of the difficulty of episodes, on the logit scale.
        seed_spread: Seed spread of the training seeds, on the logit scale.
    """

    overstatement: float = 0.0
    cells: int = CORE_CELLS
    seeds: int = 3
    episodes: int = 100
    private: int = 100
    spread: float = 0.0
    seed_spread: float = 0.0


def measure_pass_rate(design: Design, *, trials: int, seed: int = 0) -> float:
    """Return the share of simulated submissions that pass the pooled test.

    Args:
        design: Design of each of them.
        trials: Number of submissions.
        seed: Seed of the random draws.
    """
    generator = np.random.default_rng(seed)
    passed = 0
    for _ in range(trials):
        rates = generator.uniform(*_RATES, (design.cells, 1, 1))
        seeds = generator.normal(size=(design.cells, design.seeds, 1)) * design.seed_spread
        logits = special.logit(rates) + seeds
        ours = _draw(logits, design.episodes, design.spread, generator)
        theirs = _draw(logits, design.private, design.spread, generator)
        ours = overstate(ours, design.overstatement, generator)
        found = pooled_test(
            list(ours), list(theirs), generator=generator, permutations=_PERMUTATIONS
        )
        passed += found.passed
    return passed / trials


def overstate(outcomes: Outcomes, points: float, generator: np.random.Generator) -> Outcomes:
    """Return outcomes [cells, S, E] in which each cell's rate is higher by ``points``, or 1."""
    forged = outcomes.copy()
    for cell in forged:
        failures = np.argwhere(~cell)
        chosen = generator.permutation(failures)[: round(points * cell.size)]
        cell[tuple(chosen.T)] = True
    return forged


def _draw(
    logits: NDArray[np.float64], episodes: int, spread: float, generator: np.random.Generator
) -> Outcomes:
    """Return outcomes [cells, S, E]; all training seeds share the difficulty of an episode."""
    cells, seeds, _ = logits.shape
    difficulty = generator.normal(size=(cells, 1, episodes)) * spread
    return generator.random((cells, seeds, episodes)) < special.expit(logits + difficulty)


def main() -> None:
    """Print the table of ``docs/statistics.md``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--trials", type=int, default=1000, help="submissions per row (1000)")
    trials = parser.parse_args().trials
    core = Design()
    designs = [
        *(replace(core, spread=spread) for spread in (0.0, 1.0, 2.0)),
        replace(core, spread=1.0, seed_spread=0.5),
        replace(core, spread=1.0, private=50),
        replace(core, spread=1.0, cells=4, seeds=1, episodes=20, private=50),
    ]
    write = sys.stdout.write
    names = ("cells", "seeds", "submitted", "private", "spread", "of seeds")
    write(f"| {' | '.join((*names, 'honest', '5 points', '10 points'))} |\n")
    write("|---|---|---|---|---|---|---|---|---|\n")
    for one in designs:
        shares = [
            measure_pass_rate(replace(one, overstatement=points), trials=trials)
            for points in (0.0, 0.05, 0.1)
        ]
        shown = " | ".join(f"{100 * share:.1f} %" for share in shares)
        write(
            f"| {one.cells} | {one.seeds} | {one.episodes} | {one.private} | {one.spread:g} | "
            f"{one.seed_spread:g} | {shown} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()

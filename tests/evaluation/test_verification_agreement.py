"""The pooled test of a re-run: its level for honest submissions, and its power against
overstatement.
"""

import numpy as np
import pandas as pd
import pytest

from jepabench.evaluation.verification.agreement import (
    SIGNIFICANCE,
    compare_costs,
    compare_success,
    find_understated_costs,
    pooled_test,
)

CORE_CELLS = 22  # tasks and strata of the suite `core`


def draw(generator, rates, seeds, episodes, spread):
    """Return outcomes of each cell [S, E] whose training seeds share the difficulty of an
    episode.
    """
    cells = []
    for rate in rates:
        difficulty = generator.normal(size=episodes) * spread
        logits = np.log(rate / (1 - rate)) + difficulty[None] + np.zeros((seeds, 1))
        cells.append(generator.random((seeds, episodes)) < 1 / (1 + np.exp(-logits)))
    return cells


def pass_rate(overstatement, *, cells, seeds, episodes, spread, trials, seed=0):
    generator = np.random.default_rng(seed)
    passed = 0
    for _ in range(trials):
        rates = generator.uniform(0.15, 0.85, cells)
        ours = draw(generator, rates, seeds, episodes, spread)
        theirs = draw(generator, rates, seeds, episodes, spread)
        # A forger turns failures into successes until the rate is higher by the overstatement.
        for outcomes in ours:
            failures = np.argwhere(~outcomes)
            count = min(len(failures), round(overstatement * outcomes.size))
            for row, column in generator.permutation(failures)[:count]:
                outcomes[row, column] = True
        passed += pooled_test(ours, theirs, generator=generator, permutations=199).passed
    return passed / trials


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_overstatement_of_10_points_rarely_passes_over_a_core_suite(spread):
    settings = {"cells": CORE_CELLS, "seeds": 3, "episodes": 100, "spread": spread}
    assert pass_rate(0.1, trials=100, **settings) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("cells", "seeds", "episodes"), [(22, 3, 100), (4, 1, 20), (4, 3, 20)])
def test_honest_submissions_pass(cells, seeds, episodes):
    settings = {"cells": cells, "seeds": seeds, "episodes": episodes, "spread": 1.0}
    assert pass_rate(0.0, trials=400, **settings) >= 0.95 - 0.011  # simulation error of 400 trials


def test_extreme_outcomes():
    generator = np.random.default_rng(0)
    ones, zeros = [np.ones((3, 20))] * 4, [np.zeros((3, 20))] * 4
    assert pooled_test(ones, ones, generator=generator).p_value == 1.0
    assert pooled_test(zeros, ones, generator=generator).passed  # better than submitted is no lie
    worst = pooled_test(ones, zeros, generator=generator)
    assert worst.difference == 1.0 and worst.p_value < SIGNIFICANCE and not worst.passed


def rows(rate, *, seconds=0.1, model_steps=0, episodes=100):
    generator = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "task_id": "a",
            "stratum": "near",
            "training_seed": 0,
            "index": range(episodes),
            "success_held": generator.random(episodes) < rate,
            "steps": 10,
            "planning_seconds": seconds,
            "model_steps": model_steps,
        }
    )


def test_success_is_compared_per_cell_and_pooled():
    found = compare_success(rows(1.0), rows(0.5))
    assert not found["passed"] and found["cells"][0]["submitted"] == 1.0
    assert found["difference"] == pytest.approx(1 - found["cells"][0]["rerun"])
    assert compare_success(rows(0.7), rows(0.7))["passed"]


@pytest.mark.parametrize(
    ("declared", "measured", "words"),
    [
        ({}, {}, []),
        ({"model_steps": 100}, {"model_steps": 120}, []),
        ({"model_steps": 100}, {"model_steps": 130}, ["model steps"]),
        ({"model_steps": 0}, {"model_steps": 1}, ["model steps"]),
        ({"model_steps": 100}, {"model_steps": 0}, []),
        ({"seconds": 0.0}, {"seconds": 0.19}, []),
        ({"seconds": 0.1}, {"seconds": 5.0}, ["ms per control step"]),
    ],
)
def test_understated_costs_are_found(declared, measured, words):
    found = find_understated_costs(compare_costs(rows(1, **declared), rows(1, **measured)))
    assert len(found) == len(words) and all(
        word in line for word, line in zip(words, found, strict=True)
    )

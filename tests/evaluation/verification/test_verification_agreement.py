"""Test the pooled test of a re-run: its level for honest submissions and its power."""

import numpy as np
import pandas as pd
import pytest

from jepabench.evaluation.verification.agreement import (
    SIGNIFICANCE,
    compare_costs,
    compare_planning,
    compare_success,
    find_understated_costs,
    find_unstated_search,
    pooled_test,
)
from jepabench.evaluation.verification.power import (
    CORE_CELLS,
    Design,
    measure_pass_rate,
    overstate,
)
from jepabench.pipeline.suites import find_suite


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_overstatement_of_10_points_rarely_passes_over_a_core_suite(spread):
    assert measure_pass_rate(Design(overstatement=0.1, spread=spread), trials=200) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("cells", "seeds", "episodes"), [(CORE_CELLS, 3, 100), (4, 1, 20)])
def test_honest_submissions_pass(cells, seeds, episodes):
    design = Design(cells=cells, seeds=seeds, episodes=episodes, private=episodes, spread=1.0)
    assert measure_pass_rate(design, trials=400) >= 0.96 - 0.02  # two standard errors


def test_overstate_raises_the_rate_by_the_given_amount():
    generator = np.random.default_rng(0)
    before = np.zeros((2, 3, 100), dtype=bool)
    before[0, :, :95] = True  # only 5 points are left in this cell
    after = overstate(before, 0.1, generator)
    np.testing.assert_allclose((after.mean(axis=(1, 2)) - before.mean(axis=(1, 2))), [0.05, 0.1])
    assert (after >= before).all()


def test_number_of_core_cells():
    suite = find_suite("core")
    assert CORE_CELLS == sum(len(task.strata) for task in suite.tasks)


def test_agreement_accepts_equal_rates_and_rejects_overstatement():
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
        ({"seconds": 0.1}, {"seconds": 5.0, "processor_ms": [10.0, 90.0, 90.0]}, []),
        ({"seconds": 0.1}, {"seconds": 5.0, "processor_ms": [450.0]}, ["planning took 450 ms"]),
        ({"seconds": 0.1}, {"seconds": 0.1, "processor_ms": [450.0]}, []),  # several threads
    ],
)
def test_understated_costs_are_found(declared, measured, words):
    measured = dict(measured)
    times = {("a", "near"): measured.pop("processor_ms")} if "processor_ms" in measured else {}
    pair = rows(1, **declared), rows(1, **measured)
    found = find_understated_costs(compare_costs(*pair), compare_planning(*pair, times))
    assert len(found) == len(words) and all(
        word in line for word, line in zip(words, found, strict=True)
    )


def test_long_planning_in_few_episodes_is_found():
    far = rows(1, seconds=5.0, episodes=20).assign(stratum="far")
    declared = pd.concat([rows(1), far.assign(planning_seconds=0.1)])
    again = pd.concat([rows(1), far])
    costs = compare_costs(declared, again)
    assert costs["planning_ms"]["rerun"] == costs["planning_ms"]["submitted"]
    (reason,) = find_understated_costs(costs, compare_planning(declared, again, {}))
    assert reason.startswith("a, far: planning took 500 ms per control step, 10 declared.")


@pytest.mark.parametrize(
    ("model_steps", "seconds", "processor", "found"),
    [
        (0, 5.0, None, True),
        (0, 5.0, [450.0], True),
        (0, 5.0, [1.0], False),  # a busy machine
        (0, 0.03, None, False),  # 3 ms
        (100, 5.0, None, False),  # it states that it searches
    ],
)
def test_search_without_model_steps_is_flagged(model_steps, seconds, processor, found):
    pair = (rows(1, seconds=seconds, model_steps=model_steps) for _ in range(2))
    declared, again = pair
    times = {("a", "near"): processor} if processor else {}
    reasons = find_unstated_search(
        compare_costs(declared, again), compare_planning(declared, again, times)
    )
    assert bool(reasons) == found

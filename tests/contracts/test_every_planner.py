"""What every planner promises: known optima found, bounds kept, one stream one plan, NaN survived,
better than chance.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_discrete_are

from jepabench.agents.planners.adaptive import AdaptivePlanner
from jepabench.agents.planners.base import ActionBounds, CostError, Planner
from jepabench.agents.planners.best_proposal import BestProposalPlanner
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.cma_es import CMAESPlanner
from jepabench.agents.planners.gradient import GradientPlanner
from jepabench.agents.planners.hybrid import HybridPlanner
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.agents.planners.mppi import MPPIPlanner
from jepabench.agents.planners.random_shooting import RandomShootingPlanner


def hybrid(**options):
    return HybridPlanner(
        sampler=CEMPlanner(num_iterations=3, **options),
        refiner=GradientPlanner(num_starts=6, num_iterations=15, learning_rate=0.1, **options),
    )


PRESETS = {
    "random_shooting": RandomShootingPlanner,
    "cem": CEMPlanner,
    "cem_mean": lambda **options: CEMPlanner(returns="mean", **options),
    "cem_coloured": lambda **options: CEMPlanner(colour=1.0, **options),
    "cem_stopping": lambda **options: CEMPlanner(
        num_iterations=20, patience=4, tolerance=0.02, **options
    ),
    "icem": lambda **options: ICEMPlanner(num_iterations=12, **options),
    "mppi": MPPIPlanner,
    "cma_es": CMAESPlanner,
    "cma_es_separable": lambda **options: CMAESPlanner(
        separable=True, num_iterations=40, **options
    ),
    "gradient": GradientPlanner,
    "gradient_tanh": lambda **options: GradientPlanner(bounds_by="tanh", **options),
    "gradient_noisy": lambda **options: GradientPlanner(noise_std=0.3, **options),
    "gradient_stopping": lambda **options: GradientPlanner(
        num_iterations=60, patience=10, **options
    ),
    "sgd": lambda **options: GradientPlanner(
        optimizer="sgd", learning_rate=0.6, num_iterations=60, **options
    ),
    "normalised": lambda **options: GradientPlanner(
        optimizer="normalised", learning_rate=0.4, num_iterations=40, **options
    ),
    "hybrid": hybrid,
    "adaptive": lambda **options: AdaptivePlanner(
        planner=ICEMPlanner(**options), max_rounds=4, patience=2
    ),
    "best_proposal": BestProposalPlanner,
}
SEARCHES = [name for name in PRESETS if name not in ("random_shooting", "best_proposal")]
WIDE = ActionBounds(torch.full((2,), -3.0), torch.full((2,), 3.0))


def streams(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def quadratic(target):
    return lambda actions: (actions - target).square().mean((2, 3))


def bumpy(actions):
    """Rastrigin's function: a minimum at every integer, the lowest at 0.7."""
    shifted = actions - 0.7
    return (shifted.square() + 1 - torch.cos(2 * math.pi * shifted)).mean((2, 3))


@pytest.mark.parametrize("name", SEARCHES)
def test_finds_the_minimum_of_a_quadratic(name):
    target = torch.linspace(-1.2, 1.2, 6).reshape(3, 2)
    plan = PRESETS[name](horizon=3).plan(
        quadratic(target), bounds=WIDE, initial=None, generators=streams(0, 1)
    )
    assert plan.actions.shape == (2, 3, 2)
    torch.testing.assert_close(plan.actions, target.expand(2, 3, 2), atol=0.15, rtol=0)
    assert (plan.cost < 0.01).all()


@pytest.mark.parametrize("name", SEARCHES)
def test_reduces_a_quadratic_in_25_dimensions(name):
    bounds = ActionBounds(torch.full((5,), -2.0), torch.full((5,), 2.0))
    target = 0.8 * torch.sin(torch.arange(25.0)).reshape(5, 5)
    plan = PRESETS[name](horizon=5).plan(
        quadratic(target), bounds=bounds, initial=None, generators=streams(0, 1)
    )
    # MPPI averages all candidates and needs more than its six iterations in many dimensions.
    remaining = 0.7 if name == "mppi" else 0.2
    assert (plan.cost < remaining * target.square().mean()).all()


@pytest.mark.parametrize("name", SEARCHES)
def test_ends_on_the_bound_when_the_minimum_is_outside(name):
    bounds = ActionBounds(torch.tensor([-1.0, -0.5]), torch.tensor([0.5, 1.0]))
    plan = PRESETS[name](horizon=2).plan(
        quadratic(4.0), bounds=bounds, initial=None, generators=streams(3)
    )
    torch.testing.assert_close(plan.actions, bounds.high.expand(1, 2, 2), atol=0.05, rtol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_cost_is_that_of_the_returned_plan(name):
    cost = quadratic(torch.tensor([0.3, -0.4]))
    plan = PRESETS[name]().plan(cost, bounds=WIDE, initial=None, generators=streams(5, 6))
    torch.testing.assert_close(plan.cost, cost(plan.actions[:, None])[:, 0])


@pytest.mark.parametrize("name", PRESETS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(
    low=st.floats(-5, 0.99),
    width=st.floats(0.01, 8),
    target=st.floats(-20, 20),
    start=st.floats(-10, 10),
    seed=st.integers(0, 2**62),
)
def test_keeps_every_candidate_in_bounds(name, low, width, target, start, seed):
    bounds = ActionBounds(torch.tensor([low, -1.0]), torch.tensor([low + width, 1.0]))
    seen = []

    def cost(actions):
        seen.append(actions.detach())
        return quadratic(target)(actions)

    plan = PRESETS[name](horizon=2).plan(
        cost, bounds=bounds, initial=torch.full((1, 2, 2), start), generators=streams(seed)
    )
    for actions in [*seen, plan.actions]:
        assert (actions >= bounds.low).all() and (actions <= bounds.high).all()


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("landscape", [quadratic(torch.tensor([0.4, -0.9])), bumpy])
def test_same_generator_gives_the_same_plan_alone_and_in_a_batch(name, landscape):
    planner = PRESETS[name](horizon=3)
    initial = torch.linspace(-1, 1, 4 * 3 * 2).reshape(4, 3, 2)
    generators = streams(*range(4))
    together = planner.plan(landscape, bounds=WIDE, initial=initial, generators=generators)
    for problem in range(4):
        stream = torch.Generator().manual_seed(problem)
        alone = planner.plan(
            landscape, bounds=WIDE, initial=initial[problem : problem + 1], generators=[stream]
        )
        assert torch.equal(alone.actions[0], together.actions[problem])
        assert torch.equal(
            stream.get_state(), generators[problem].get_state()
        )  # and so is what it plans next
        assert np.broadcast_to(together.num_evaluations, 4)[problem] == alone.num_evaluations
        assert torch.equal(alone.cost[0], together.cost[problem])
    assert not torch.equal(together.actions[0], together.actions[1])


@pytest.mark.parametrize("name", PRESETS)
def test_counts_the_candidates_that_it_scored(name):
    scored = 0

    def cost(actions):
        nonlocal scored
        scored += actions.shape[1]
        return quadratic(0.2)(actions)

    plan = PRESETS[name]().plan(cost, bounds=WIDE, initial=None, generators=streams(0))
    assert plan.num_evaluations == scored


@pytest.mark.parametrize("name", PRESETS)
def test_nan_never_wins(name):
    def cost(actions):
        costs = quadratic(torch.tensor([1.0, 0.0]))(actions)
        return torch.where(actions[:, :, 0, 1] > 0.05, torch.nan, costs)

    plan = PRESETS[name](horizon=2).plan(cost, bounds=WIDE, initial=None, generators=streams(0, 7))
    assert plan.cost.isfinite().all()
    assert (plan.actions[:, 0, 1] <= 0.05).all()


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_survives_a_cost_that_is_never_finite(name, value):
    plan = PRESETS[name]().plan(
        lambda actions: actions.sum((2, 3)) * 0 + value,
        bounds=WIDE,
        initial=None,
        generators=streams(0),
    )
    assert plan.cost.item() == math.inf
    assert plan.actions.isfinite().all()


@pytest.mark.parametrize("name", PRESETS)
def test_is_never_worse_than_its_warm_start(name):
    target = torch.linspace(-2, 2, 10).reshape(5, 2)
    plan = PRESETS[name]().plan(
        quadratic(target), bounds=WIDE, initial=target[None], generators=streams(0)
    )
    if name == "cem_mean":
        assert plan.cost.item() < 1e-2
    else:
        assert plan.cost.item() <= 1e-5


@pytest.mark.parametrize(
    "name",
    ["cem", "cem_mean", "cem_coloured", "icem", "mppi", "cma_es", "hybrid", "adaptive", "gradient"],
)
def test_search_beats_random_shooting_at_equal_evaluations_where_there_are_many_minima(name):
    seeds = range(20)
    search = PRESETS[name](horizon=4).plan(
        bumpy, bounds=WIDE, initial=None, generators=streams(*seeds)
    )
    chance = RandomShootingPlanner(horizon=4, num_samples=int(np.max(search.num_evaluations))).plan(
        bumpy, bounds=WIDE, generators=streams(*seeds)
    )
    assert (search.cost < chance.cost).float().mean() > 0.85
    assert search.cost.mean() < 0.7 * chance.cost.mean()


def test_more_gradient_starts_find_better_minima():
    seeds = range(20)
    few, many = (
        GradientPlanner(horizon=1, num_starts=starts).plan(
            bumpy, bounds=WIDE, generators=streams(*seeds)
        )
        for starts in (1, 32)
    )
    assert many.cost.mean() < 0.5 * few.cost.mean()


class DoubleIntegrator:
    """x' = F x + G a, with position and velocity in one dimension and the quadratic cost that
    Riccati's equation solves.
    """

    F = np.array([[1.0, 0.2], [0.0, 1.0]])
    G = np.array([[0.02], [0.2]])
    Q, R = np.diag([1.0, 0.1]), np.array([[0.05]])
    start = np.array([1.0, -0.3])

    def __init__(self, horizon):
        self.horizon = horizon
        # With the infinite horizon's cost-to-go at the end, the finite optimum is the infinite one.
        self.end = solve_discrete_are(self.F, self.G, self.Q, self.R)

    def optimum(self):
        """Optimal actions [H, 1] and cost, by Riccati's recursion backwards from the end."""
        value, gains = self.end, []
        for _ in range(self.horizon):
            gain = np.linalg.solve(self.R + self.G.T @ value @ self.G, self.G.T @ value @ self.F)
            value = self.Q + self.F.T @ value @ (self.F - self.G @ gain)
            gains.append(gain)
        state, actions = self.start, []
        for gain in reversed(gains):
            actions.append(-gain @ state)
            state = self.F @ state + self.G @ actions[-1]
        return torch.tensor(np.array(actions), dtype=torch.float32), float(
            self.start @ value @ self.start
        )

    def __call__(self, actions):
        f, g, q, r, end = (
            torch.tensor(m, dtype=torch.float32) for m in (self.F, self.G, self.Q, self.R, self.end)
        )
        state = torch.tensor(self.start, dtype=torch.float32).expand(*actions.shape[:2], 2)
        cost = torch.zeros(actions.shape[:2])
        for step in range(self.horizon):
            action = actions[:, :, step]
            cost = cost + (state @ q * state).sum(-1) + (action @ r * action).sum(-1)
            state = state @ f.T + action @ g.T
        return cost + (state @ end * state).sum(-1)


FORCES = ActionBounds(torch.tensor([-4.0]), torch.tensor([4.0]))


@pytest.mark.parametrize("name", SEARCHES)
def test_preset_comes_near_the_linear_quadratic_optimum(name):
    problem = DoubleIntegrator(horizon=8)
    actions, optimum = problem.optimum()
    assert problem(actions[None, None]).item() == pytest.approx(optimum, rel=1e-4)
    plan = PRESETS[name](horizon=8).plan(
        problem, bounds=FORCES, initial=None, generators=streams(*range(5))
    )
    assert (plan.cost >= optimum * (1 - 1e-4)).all()
    assert (plan.cost <= optimum * 1.05).all()


@pytest.mark.parametrize(
    "planner",
    [
        CEMPlanner(
            horizon=8,
            num_samples=400,
            num_elites=40,
            num_iterations=30,
            initial_std=2.0,
            min_std=0.0,
        ),
        ICEMPlanner(
            horizon=8,
            num_samples=400,
            num_elites=40,
            num_iterations=30,
            initial_std=2.0,
            min_std=0.0,
            decay=1.0,
            colour=0.0,
        ),
        MPPIPlanner(
            horizon=8,
            num_samples=400,
            num_iterations=30,
            initial_std=2.0,
            min_std=0.0,
            temperature=0.05,
        ),
        CMAESPlanner(horizon=8, num_iterations=80),
        HybridPlanner(
            sampler=CEMPlanner(horizon=8),
            refiner=GradientPlanner(horizon=8, num_starts=4, num_iterations=200),
        ),
        GradientPlanner(horizon=8, num_iterations=300),
        GradientPlanner(horizon=8, num_iterations=300, bounds_by="tanh"),
    ],
    ids=["cem", "icem", "mppi", "cma_es", "hybrid", "projection", "tanh"],
)
def test_given_time_it_finds_the_actions_of_riccatis_equation(planner):
    problem = DoubleIntegrator(horizon=8)
    actions, _ = problem.optimum()
    plan = planner.plan(problem, bounds=FORCES, initial=None, generators=streams(1))
    torch.testing.assert_close(plan.actions[0], actions, atol=0.05, rtol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_refuses_a_warm_start_of_another_shape(name):
    planner: Planner = PRESETS[name](horizon=5)
    with pytest.raises(ValueError, match=r"\(2, 5, 2\), got \(2, 4, 2\)"):
        planner.plan(
            quadratic(0.0), bounds=WIDE, initial=torch.zeros(2, 4, 2), generators=streams(0, 1)
        )


@pytest.mark.parametrize("name", PRESETS)
def test_refuses_a_cost_of_another_shape(name):
    with pytest.raises(ValueError, match=r"gives \[B, S\]"):
        PRESETS[name]().plan(
            lambda actions: actions.sum(), bounds=WIDE, initial=None, generators=streams(0)
        )


@pytest.mark.parametrize("name", PRESETS)
def test_refuses_to_plan_for_nobody(name):
    with pytest.raises(ValueError, match="got none"):
        PRESETS[name]().plan(quadratic(0.0), bounds=WIDE, initial=None, generators=[])


@pytest.mark.parametrize("name", PRESETS)
def test_says_what_it_was_given_when_the_cost_fails(name):
    def broken(actions):
        raise IndexError("dims (0, 9) of a latent of 4")

    with pytest.raises(CostError, match=r"candidates \[B, S, H, A\] = .*IndexError: dims"):
        PRESETS[name]().plan(broken, bounds=WIDE, initial=None, generators=streams(0))


@pytest.mark.parametrize("name", PRESETS)
def test_scores_every_plan_that_it_is_given_to_start_from(name):
    target = torch.linspace(-2, 2, 10).reshape(5, 2)
    if name.startswith("cma_es"):
        pytest.skip("CMA-ES starts from one plan")
    initial = torch.stack([torch.zeros(5, 2), target])[None]
    plan = PRESETS[name]().plan(
        quadratic(target), bounds=WIDE, initial=initial, generators=streams(0)
    )
    assert plan.cost.item() <= (1e-2 if name == "cem_mean" else 1e-5)


@pytest.mark.parametrize(
    "planner",
    [RandomShootingPlanner, CEMPlanner, ICEMPlanner, MPPIPlanner, CMAESPlanner, GradientPlanner],
)
def test_refuses_a_horizon_of_nothing(planner):
    with pytest.raises(ValueError, match="horizon is at least 1, got 0"):
        planner(horizon=0)


def test_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    for make in PRESETS.values():
        make().plan(bumpy, bounds=WIDE, initial=None, generators=streams(0))
    assert torch.equal(before, torch.get_rng_state())

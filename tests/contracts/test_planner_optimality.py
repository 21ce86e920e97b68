"""Test planners on problems with known optima."""

import numpy as np
import pytest
import torch
from planner_presets import PRESETS, SEARCHES, WIDE, bumpy, streams
from scipy.linalg import solve_discrete_are

from jepabench.agents.planners.base import ActionBounds
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.cma_es import CMAESPlanner
from jepabench.agents.planners.gradient import GradientPlanner
from jepabench.agents.planners.hybrid import HybridPlanner
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.agents.planners.mppi import MPPIPlanner
from jepabench.agents.planners.random_shooting import RandomShootingPlanner


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
def test_preset_is_close_to_the_linear_quadratic_optimum(name):
    problem = DoubleIntegrator(horizon=8)
    actions, optimum = problem.optimum()
    assert problem(actions[None, None]).item() == pytest.approx(optimum, rel=1e-4)
    plan = PRESETS[name](horizon=8).plan(
        problem, bounds=FORCES, initial=None, generators=streams(*range(5))
    )
    assert (plan.cost >= optimum * (1 - 1e-4)).all()
    assert (plan.cost <= optimum * 1.05).all()


LONG_SEARCH = {
    "horizon": 8,
    "num_samples": 400,
    "num_iterations": 30,
    "initial_std": 2.0,
    "min_std": 0.0,
}


@pytest.mark.parametrize(
    "planner",
    [
        CEMPlanner(num_elites=40, **LONG_SEARCH),
        ICEMPlanner(num_elites=40, decay=1.0, colour=0.0, **LONG_SEARCH),
        MPPIPlanner(temperature=0.05, **LONG_SEARCH),
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
def test_converges_to_the_solution_of_the_riccati_equation(planner):
    problem = DoubleIntegrator(horizon=8)
    actions, _ = problem.optimum()
    plan = planner.plan(problem, bounds=FORCES, initial=None, generators=streams(1))
    torch.testing.assert_close(plan.actions[0], actions, atol=0.05, rtol=0)

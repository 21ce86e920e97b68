"""Test properties of single planners beyond the common contract."""

import pytest
import torch

from jepabench.agents.planners.adaptive import AdaptivePlanner
from jepabench.agents.planners.base import ActionBounds, BasePlanner, Plan
from jepabench.agents.planners.best_proposal import BestProposalPlanner
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.cma_es import CMAESPlanner
from jepabench.agents.planners.gradient import GradientPlanner
from jepabench.agents.planners.hybrid import HybridPlanner
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.agents.planners.mppi import MPPIPlanner
from jepabench.agents.planners.noise import draw_normal
from jepabench.agents.planners.state_space import StateSpacePlanner

BOUNDS = ActionBounds(torch.tensor([-2.0]), torch.tensor([2.0]))


def streams(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_cem_with_more_iterations_is_closer():
    def cost(actions):
        return (actions - 1.3).square().mean((2, 3))

    few, many = (
        CEMPlanner(num_iterations=n).plan(cost, bounds=BOUNDS, generators=streams(*range(8)))
        for n in (1, 6)
    )
    assert many.cost.mean() < 0.2 * few.cost.mean()


def test_cem_mean_is_steadier_than_its_best_under_noise():
    noise = torch.Generator().manual_seed(0)

    def noisy(actions):
        return (actions - 0.5).square().mean((2, 3)) + 0.5 * torch.randn(
            actions.shape[:2], generator=noise
        )

    errors = {
        returns: (
            CEMPlanner(returns=returns)
            .plan(noisy, bounds=BOUNDS, generators=streams(*range(30)))
            .actions
            - 0.5
        )
        .square()
        .mean()
        for returns in ("best", "mean")
    }
    assert errors["mean"] < errors["best"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_elites": 200}, "num_elites must be at most num_samples = 128, got 200"),
        ({"momentum": 1.0}, "momentum must be below 1"),
        ({"returns": "bset"}, "Did you mean 'best'"),
        ({"min_std": float("nan")}, "min_std must be at least 0, got nan"),
    ],
)
def test_cem_refuses_invalid_settings(options, message):
    with pytest.raises((ValueError, KeyError), match=message):
        CEMPlanner(**options)


def test_gradient_refuses_a_cost_without_gradient():
    with pytest.raises(ValueError, match="does not depend differentiably"):
        GradientPlanner().plan(
            lambda actions: (actions.detach() > 0).float().sum((2, 3)),
            bounds=BOUNDS,
            generators=streams(0),
        )


def test_gradient_by_tanh_refuses_infinite_bounds():
    bounds = ActionBounds(torch.tensor([-torch.inf]), torch.tensor([1.0]))
    with pytest.raises(ValueError, match="projection"):
        GradientPlanner(bounds_by="tanh").plan(
            lambda a: a.square().sum((2, 3)), bounds=bounds, generators=streams(0)
        )


def test_gradient_writes_no_gradient_into_the_model():
    layer = torch.nn.Linear(1, 1)
    GradientPlanner().plan(
        lambda actions: (layer(actions) - 1).square().sum((2, 3)),
        bounds=BOUNDS,
        generators=streams(0),
    )
    assert layer.weight.grad is None


def test_gradient_takes_a_warm_start_that_cem_found():
    def cost(actions):
        return (actions - 1.0).square().mean((2, 3))

    warm = CEMPlanner(num_iterations=1).plan(cost, bounds=BOUNDS, generators=streams(0))
    refined = GradientPlanner(num_starts=1).plan(
        cost, bounds=BOUNDS, initial=warm.actions, generators=streams(0)
    )
    assert refined.cost.item() <= warm.cost.item()


def test_bounds_that_cross_are_refused():
    with pytest.raises(ValueError, match="cross"):
        ActionBounds(torch.tensor([1.0]), torch.tensor([-1.0]))


def test_mppi_scales_costs_by_inverse_temperature():
    costs = torch.tensor([[0.0, 1.0, 2.0, torch.inf]])
    expected = torch.tensor([[0.0, -1.0, -2.0, -torch.inf]])
    for temperature in (0.1, 0.7, 5.0):
        weights = MPPIPlanner(temperature=temperature, relative=False).weights(costs)
        torch.testing.assert_close(weights, (expected / temperature).softmax(1))
    scaled = MPPIPlanner(temperature=0.5).weights(1000 * costs)
    torch.testing.assert_close(scaled, MPPIPlanner(temperature=0.5).weights(costs))


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.5])
def test_coloured_noise_has_unit_variance_and_its_spectrum(colour):
    noise = draw_normal((40_000, 16, 1), streams(0), like=torch.zeros(1), colour=colour)[0, :, :, 0]
    torch.testing.assert_close(noise.std(0), torch.ones(16), atol=0.02, rtol=0)
    neighbours = (noise[:, 7] * noise[:, 8]).mean().item()
    ends = (noise[:, 0] * noise[:, 15]).mean().item()
    frequency = (
        torch.tensor([max(k, 2) for k in range(17)]) / 32
    )  # the spectrum, cut off below one period in 16 steps
    power = frequency**-colour * torch.tensor([1.0, *[2.0] * 15, 1.0])
    for found, lag in ((neighbours, 1), (ends, 15)):
        expected = (
            power * torch.cos(2 * torch.pi * torch.arange(17) * lag / 32)
        ).sum() / power.sum()
        assert found == pytest.approx(expected.item(), abs=0.02)


def test_icem_needs_fewer_evaluations_than_cem_for_the_same_cost():
    target = torch.linspace(-1.5, 1.5, 8)[:, None]

    def slow(actions):  # what counts is where one comes, so an action that keeps its sign pays
        return (actions.cumsum(2) - target.cumsum(0)).square().mean((2, 3))

    seeds = range(20)
    improved = ICEMPlanner(horizon=8, num_samples=64, num_elites=8, num_iterations=6, colour=2.0)
    plain = CEMPlanner(horizon=8, num_samples=64, num_elites=8, num_iterations=6)
    found = [p.plan(slow, bounds=BOUNDS, generators=streams(*seeds)) for p in (improved, plain)]
    assert found[0].num_evaluations < found[1].num_evaluations
    assert found[0].cost.mean() < found[1].cost.mean()


def test_icem_returns_its_elites_and_accepts_them_as_a_start():
    def cost(actions):
        return (actions - 1.0).square().mean((2, 3))

    planner = ICEMPlanner(num_iterations=1)
    plan = planner.plan(cost, bounds=BOUNDS, generators=streams(0))
    assert plan.others is not None and plan.others.shape == (1, planner.num_kept, 5, 1)
    seen = []

    def watched(actions):
        seen.append(actions)
        return cost(actions)

    planner.plan(
        watched,
        bounds=BOUNDS,
        initial=torch.cat([plan.actions[:, None], plan.others], 1),
        generators=streams(1),
    )
    for other in plan.others[0]:
        assert (seen[0][0] == other).all((1, 2)).any()


def test_a_hybrid_is_better_than_its_sampler_alone():
    def cost(actions):
        return (actions - torch.tensor([0.3, -0.7, 1.1])[:, None]).square().mean((2, 3))

    sampler = CEMPlanner(horizon=3, num_samples=48, num_elites=8, num_iterations=3)
    refiner = GradientPlanner(
        horizon=3, num_starts=4, num_iterations=12, learning_rate=0.1, initial_std=0.0
    )
    seeds = streams(*range(10)), streams(*range(10))
    alone = sampler.plan(cost, bounds=BOUNDS, generators=seeds[0])
    both = HybridPlanner(sampler=sampler, refiner=refiner).plan(
        cost, bounds=BOUNDS, generators=seeds[1]
    )
    assert both.num_evaluations == alone.num_evaluations + 4 * 13
    assert (both.cost <= alone.cost).all()
    assert both.cost.mean() < 0.3 * alone.cost.mean()


def test_adaptive_planning_spends_more_where_it_is_harder():
    near_and_far = torch.tensor([0.0, 1.9])[:, None, None, None]

    def cost(actions):
        return (actions - near_and_far).square().mean((2, 3))

    planner = AdaptivePlanner(
        planner=ICEMPlanner(num_iterations=1), reached_cost=0.05, max_rounds=12, patience=3
    )
    plan = planner.plan(cost, bounds=BOUNDS, generators=streams(0, 1))
    easy, hard = plan.num_evaluations
    assert easy == 64 and hard >= 2 * easy
    assert (plan.cost <= 0.05).all()


def test_adaptive_planning_stops_without_progress():
    planner = AdaptivePlanner(planner=ICEMPlanner(num_iterations=1), max_rounds=12, patience=2)
    plan = planner.plan(
        lambda actions: actions.sum((2, 3)) * 0 + 1, bounds=BOUNDS, generators=streams(0)
    )
    assert plan.num_evaluations == 64 * 3


class Scripted(BasePlanner):
    """Return plans of the costs that a test lists, one per call."""

    horizon = 5

    def __init__(self, costs):
        self.costs, self.calls = list(costs), 0

    def plan(self, cost, *, bounds, initial=None, generators):
        self.calls += 1
        return Plan(torch.zeros(1, 5, 1), torch.tensor([self.costs[self.calls - 1]]), 1, 1)


def test_adaptive_planning_counts_the_first_finite_cost_as_progress():
    rounds = Scripted([torch.inf, 4.0, 2.0, 2.0, 2.0])
    plan = AdaptivePlanner(planner=rounds, max_rounds=5, patience=1).plan(
        lambda actions: actions.sum((2, 3)), bounds=BOUNDS, generators=streams(0)
    )
    assert rounds.calls == 4
    assert plan.cost.item() == 2.0


def test_composite_planners_return_elites_of_their_search():
    search = ICEMPlanner(num_iterations=1)
    for planner in (
        AdaptivePlanner(planner=search, max_rounds=2),
        HybridPlanner(sampler=search),
    ):
        assert planner.num_kept == search.num_kept == 2
        plan = planner.plan(
            lambda actions: (actions - 1.0).square().mean((2, 3)),
            bounds=BOUNDS,
            generators=streams(0),
        )
        assert plan.others is not None
        assert plan.others.shape == (1, 2, 5, 1)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_coloured_noise_is_equal_alone_and_in_a_batch(size):
    shape, seeds = (64, 7, size), range(5)
    together = draw_normal(shape, streams(*seeds), like=torch.zeros(1), colour=1.0)
    for seed in seeds:
        alone = draw_normal(shape, streams(seed), like=torch.zeros(1), colour=1.0)
        assert torch.equal(alone[0], together[seed])


def test_best_proposal_takes_the_best_start_without_search():
    starts = torch.tensor([0.0, 1.5, 0.9, 3.0])[None, :, None, None].expand(1, 4, 5, 1)
    stream = torch.Generator().manual_seed(0)
    before = stream.get_state()
    plan = BestProposalPlanner().plan(
        lambda actions: (actions - 1.0).square().mean((2, 3)),
        bounds=BOUNDS,
        initial=starts,
        generators=[stream],
    )
    assert torch.equal(plan.actions, torch.full((1, 5, 1), 0.9))
    assert plan.cost.item() == pytest.approx(0.01)
    assert plan.num_evaluations == 4
    assert torch.equal(stream.get_state(), before)


def test_with_horizon_changes_all_parts_of_a_planner():
    for planner in (CEMPlanner(), HybridPlanner(), AdaptivePlanner(), BestProposalPlanner()):
        assert planner.with_horizon(3).horizon == 3
    with pytest.raises(TypeError, match="Scripted cannot plan over another horizon"):
        Scripted([]).with_horizon(3)


def test_a_problem_that_has_converged_stops():
    flat = CEMPlanner(num_iterations=50, patience=2).plan(
        lambda actions: actions.sum((2, 3)) * 0 + 1, bounds=BOUNDS, generators=streams(0)
    )
    assert flat.num_iterations == 3
    assert flat.num_evaluations == 3 * 128 + 1


class Pull:
    """x' = x + 0.5 a + 0.1 sin x in one dimension, as a cost that shows its dynamics; the goal is 2
    away.
    """

    start, goal = torch.zeros(2, 1), torch.full((2, 1), 2.0)

    def transitions(self, states, actions):
        before = torch.cat(
            [self.start[:, None, None].expand(-1, states.shape[1], 1, -1), states[:, :, :-1]], dim=2
        )
        return before + 0.5 * actions + 0.1 * before.sin()

    def __call__(self, actions):
        state = self.start[:, None].expand(-1, actions.shape[1], -1)
        for action in actions.unbind(2):
            state = state + 0.5 * action + 0.1 * state.sin()
        return (state - self.goal[:, None]).square().mean(2)


def test_the_state_space_planner_reaches_the_goal_and_keeps_its_bounds():
    cost = Pull()
    planner = StateSpacePlanner(horizon=20, num_starts=3)
    bounds = ActionBounds(torch.tensor([-0.5]), torch.tensor([0.5]))
    together = planner.plan(cost, bounds=bounds, generators=streams(0, 1))
    assert (together.cost < 1e-2).all()
    assert (together.actions.abs() <= 0.5).all()
    torch.testing.assert_close(together.cost, cost(together.actions[:, None])[:, 0])


def test_the_state_space_planner_names_missing_inputs():
    with pytest.raises(ValueError, match="needs a cost with start, goal and transitions"):
        StateSpacePlanner().plan(
            lambda actions: actions.sum((2, 3)), bounds=BOUNDS, generators=streams(0)
        )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MPPIPlanner(temperature=0.0), "temperature must be above 0"),
        (lambda: ICEMPlanner(decay=0.5), "decay must be at least 1"),
        (lambda: ICEMPlanner(num_elites=100), "at most num_samples = 64"),
        (lambda: CMAESPlanner(num_samples=3), "num_samples must be at least 4"),
        (lambda: CMAESPlanner(initial_std=0.0), "initial_std must be above 0"),
        (lambda: GradientPlanner(optimizer="adma"), "Did you mean 'adam'"),
        (lambda: HybridPlanner(sampler=CEMPlanner(horizon=3)), "same horizon, got 3 and 5"),
        (lambda: AdaptivePlanner(max_rounds=0), "max_rounds must be at least 1"),
        (lambda: CEMPlanner(colour=-1.0), "colour must be at least 0"),
    ],
)
def test_planners_refuse_invalid_settings(build, message):
    with pytest.raises((ValueError, KeyError), match=message):
        build()

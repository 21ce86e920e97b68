"""What single planners promise beyond the contract."""

import pytest
import torch

from agents.planners.base import ActionBounds
from agents.planners.cem import CEMPlanner
from agents.planners.gradient import GradientPlanner

BOUNDS = ActionBounds(torch.tensor([-2.0]), torch.tensor([2.0]))


def streams(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_cem_with_more_iterations_is_closer():
    def cost(actions):
        return (actions - 1.3).square().mean((2, 3))

    few, many = (CEMPlanner(num_iterations=n).plan(cost, bounds=BOUNDS, generators=streams(*range(8))) for n in (1, 6))
    assert many.cost.mean() < 0.2 * few.cost.mean()


def test_cem_mean_is_steadier_than_its_best_under_noise():
    noise = torch.Generator().manual_seed(0)

    def noisy(actions):
        return (actions - 0.5).square().mean((2, 3)) + 0.5 * torch.randn(actions.shape[:2], generator=noise)

    errors = {
        returns: (CEMPlanner(returns=returns).plan(noisy, bounds=BOUNDS, generators=streams(*range(30))).actions - 0.5)
        .square()
        .mean()
        for returns in ("best", "mean")
    }
    assert errors["mean"] < errors["best"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_elites": 200}, "num_elites is at most num_samples = 128, got 200"),
        ({"momentum": 1.0}, "momentum is below 1"),
        ({"returns": "bset"}, "Did you mean 'best'"),
        ({"min_std": float("nan")}, "min_std is at least 0, got nan"),
    ],
)
def test_cem_refuses_settings_that_can_not_work(options, message):
    with pytest.raises((ValueError, KeyError), match=message):
        CEMPlanner(**options)


def test_gradient_refuses_a_cost_without_gradient():
    with pytest.raises(ValueError, match="does not depend differentiably"):
        GradientPlanner().plan(
            lambda actions: (actions.detach() > 0).float().sum((2, 3)), bounds=BOUNDS, generators=streams(0)
        )


def test_gradient_by_tanh_refuses_infinite_bounds():
    bounds = ActionBounds(torch.tensor([-torch.inf]), torch.tensor([1.0]))
    with pytest.raises(ValueError, match="projection"):
        GradientPlanner(bounds_by="tanh").plan(lambda a: a.square().sum((2, 3)), bounds=bounds, generators=streams(0))


def test_gradient_writes_no_gradient_into_the_model():
    layer = torch.nn.Linear(1, 1)
    GradientPlanner().plan(
        lambda actions: (layer(actions) - 1).square().sum((2, 3)), bounds=BOUNDS, generators=streams(0)
    )
    assert layer.weight.grad is None


def test_gradient_takes_a_warm_start_that_cem_found():
    def cost(actions):
        return (actions - 1.0).square().mean((2, 3))

    warm = CEMPlanner(num_iterations=1).plan(cost, bounds=BOUNDS, generators=streams(0))
    refined = GradientPlanner(num_starts=1).plan(cost, bounds=BOUNDS, initial=warm.actions, generators=streams(0))
    assert refined.cost.item() <= warm.cost.item()


def test_bounds_that_cross_are_refused():
    with pytest.raises(ValueError, match="cross"):
        ActionBounds(torch.tensor([1.0]), torch.tensor([-1.0]))

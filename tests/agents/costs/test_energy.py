"""Compare energy terms with numpy, and test what they refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepabench.agents.costs.energy import (
    ActionEffort,
    ActionSmoothness,
    Energy,
    GoalDistance,
    step_weights,
)

B, S, H, A, P, D = 2, 3, 4, 2, 5, 6
GENERATOR = torch.Generator().manual_seed(0)
LATENTS = torch.randn(B, S, H, P, D, generator=GENERATOR)
GOAL = torch.randn(B, P, D, generator=GENERATOR)
ACTIONS = torch.randn(B, S, H, A, generator=GENERATOR)
DISTANCES = {
    "l2": lambda z, g: ((z - g) ** 2).mean((-2, -1)),
    "l1": lambda z, g: np.abs(z - g).mean((-2, -1)),
    "cosine": lambda z, g: (
        1 - (z * g).sum(-1) / np.linalg.norm(z, axis=-1) / np.linalg.norm(g, axis=-1)
    ).mean(-1),
}


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize(
    ("when", "weights"),
    [("terminal", [0, 0, 0, 1]), ("running", [0.25, 0.25, 0.25, 1]), ("last_k", [0, 0, 1, 1])],
)
def test_goal_distance_is_the_weighted_mean_over_steps(kind, when, weights):
    term = GoalDistance(kind=kind, when=when, running_weight=0.25, k=2)
    apart = DISTANCES[kind](LATENTS.numpy(), GOAL.numpy()[:, None, None])
    expected = np.average(apart, axis=2, weights=weights)
    np.testing.assert_allclose(term(LATENTS, GOAL, ACTIONS).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", DISTANCES)
def test_goal_distance_of_vector_latents_has_one_cost_a_plan(kind):
    cost = GoalDistance(kind=kind)(LATENTS[:, :, :, 0], GOAL[:, 0], ACTIONS)
    assert cost.shape == (B, S)
    at_goal = GOAL[:, None, None, 0].expand(B, S, H, D)
    torch.testing.assert_close(
        GoalDistance(kind=kind)(at_goal, GOAL[:, 0], ACTIONS), torch.zeros(B, S), atol=1e-6, rtol=0
    )


def test_goal_distance_compares_only_the_selected_dims():
    term = GoalDistance(dims=(1, 3))
    changed = LATENTS.clone()
    changed[..., [0, 3, 4, 5]] = 1e3
    assert torch.equal(term(LATENTS, GOAL, ACTIONS), term(changed, GOAL, ACTIONS))
    assert not torch.equal(term(LATENTS, GOAL, ACTIONS), GoalDistance()(LATENTS, GOAL, ACTIONS))


@given(
    horizon=st.integers(1, 12),
    when=st.sampled_from(["terminal", "running", "last_k"]),
    running_weight=st.floats(0, 1),
    k=st.integers(1, 20),
)
@settings(deadline=None)
def test_step_weights_sum_to_one_and_the_last_step_counts_most(horizon, when, running_weight, k):
    weights = step_weights(horizon, when=when, running_weight=running_weight, k=k)
    assert weights.sum().item() == pytest.approx(1)
    assert (weights >= 0).all() and weights[-1] == weights.max()


def test_effort_and_smoothness_are_mean_squares():
    actions = ACTIONS.numpy()
    np.testing.assert_allclose(
        ActionEffort()(LATENTS, GOAL, ACTIONS), (actions**2).mean((2, 3)), rtol=1e-6
    )
    np.testing.assert_allclose(
        ActionSmoothness()(LATENTS, GOAL, ACTIONS),
        (np.diff(actions, axis=2) ** 2).mean((2, 3)),
        rtol=1e-6,
    )
    assert not ActionSmoothness()(LATENTS, GOAL, ACTIONS[:, :, :1]).any()


def test_energy_is_the_sum_of_its_reported_terms():
    energy = Energy(terms=[GoalDistance(weight=2.0), ActionEffort(weight=0.5)])
    report = energy.terms_report(LATENTS, GOAL, ACTIONS)
    assert list(report) == ["goal", "effort"]
    torch.testing.assert_close(report["effort"], 0.5 * ACTIONS.square().mean((2, 3)))
    torch.testing.assert_close(energy(LATENTS, GOAL, ACTIONS), report["goal"] + report["effort"])


def test_nan_cost_becomes_infinite():
    broken = LATENTS.clone()
    broken[0, 1, 2] = torch.nan
    cost = Energy()(broken, GOAL, ACTIONS)
    assert cost[0, 1] == torch.inf
    assert cost.isfinite().sum() == B * S - 1


def test_energy_is_differentiable_in_the_latents():
    latents = LATENTS.clone().requires_grad_(True)
    Energy()(latents, GOAL, ACTIONS).sum().backward()
    assert latents.grad is not None and (latents.grad[:, :, -1] != 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GoalDistance(kind="l3"), "Unknown kind of distance 'l3'"),
        (lambda: GoalDistance(when="running_"), "Did you mean 'running'"),
        (lambda: GoalDistance(running_weight=2.0), "from 0 to 1"),
        (lambda: GoalDistance(k=0), "at least 1, got 0"),
        (lambda: GoalDistance(dims=(3, 3)), "first < end"),
        (lambda: Energy(terms=[]), "at least one term"),
        (lambda: Energy(terms=[GoalDistance(), GoalDistance()]), "unique"),
    ],
)
def test_refuses_invalid_values(make, message):
    with pytest.raises((ValueError, KeyError), match=message):
        make()

"""Test learned distances: quasimetric axioms, and losses against brute force."""

import pytest
import torch

from jepabench.world_models.distances import (
    HEADS,
    DistanceConfig,
    Pairs,
    expectile_loss,
    make_head,
)
from jepabench.world_models.settings import make_config

GENERATOR = torch.Generator().manual_seed(0)


def head_of(kind, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_head(4, DistanceConfig(kind=kind, width=32, **settings))


def test_a_quasimetric_satisfies_its_axioms_with_any_weights():
    head = head_of("quasimetric")
    a, b, c = torch.randn(3, 200, 4, generator=GENERATOR)
    assert (head(a, a).abs() < 1e-4).all()
    assert (head(a, b) >= 0).all()
    assert (head(a, c) <= head(a, b) + head(b, c) + 1e-4).all()
    assert not torch.allclose(head(a, b), head(b, a), atol=1e-2)


@pytest.mark.parametrize("kind", HEADS)
def test_leading_axes_broadcast_and_gradients_reach_the_latents(kind):
    head = head_of(kind)
    now = torch.randn(2, 3, 5, 4, generator=GENERATOR, requires_grad=True)
    goal = torch.randn(2, 1, 1, 4, generator=GENERATOR)
    far = head(now, goal)
    assert far.shape == (2, 3, 5) and (far >= 0).all()
    far.sum().backward()
    assert now.grad is not None and bool((now.grad != 0).any())
    torch.testing.assert_close(far[1, 2, 3], head(now[1, 2, 3], goal[1, 0, 0]))


@pytest.mark.parametrize("kind", HEADS)
def test_the_scale_of_the_latents_does_not_matter(kind):
    plain, scaled = head_of(kind), head_of(kind)
    latents, goal = torch.randn(2, 100, 4, generator=GENERATOR)
    changes = torch.randn(100, 4, generator=GENERATOR) * torch.tensor([1.0, 0.5, 0.1, 2.0])
    plain.fit_scale(latents, changes)
    scaled.fit_scale(1000 * latents + 5, 1000 * changes)
    torch.testing.assert_close(
        plain(latents, goal), scaled(1000 * latents + 5, 1000 * goal + 5), rtol=1e-3, atol=1e-3
    )


def test_low_expectile_is_below_mean_and_half_expectile_is_mean():
    sample = torch.tensor([1.0, 2.0, 3.0, 10.0])
    grid = torch.linspace(0, 10, 10_001)

    def best(expectile):
        return float(
            grid[
                torch.stack([expectile_loss(sample - guess, expectile) for guess in grid]).argmin()
            ]
        )

    assert best(0.5) == pytest.approx(4.0, abs=0.01)
    # The expectile's own equation: shares of the surplus and the shortfall balance.
    low = best(0.1)
    assert 0.1 * (sample - low).relu().sum() == pytest.approx(
        float(0.9 * (low - sample).relu().sum()), abs=0.05
    )


def test_the_value_target_follows_slowly():
    head = head_of("value")
    before = [parameter.clone() for parameter in head.target.parameters()]
    with torch.no_grad():
        for parameter in head.network.parameters():
            parameter += 1
    head.after_step()
    for old, new in zip(before, head.target.parameters(), strict=True):
        torch.testing.assert_close(new, old + head.tau)


def test_mahalanobis_scales_by_the_size_of_a_step():
    head = head_of("mahalanobis")
    latents = torch.randn(20_000, 4, generator=GENERATOR)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=GENERATOR))[0]
    often, seldom = turn[0], turn[1]  # directions of the latent that no entry is aligned with
    changes = (
        torch.randn(20_000, 4, generator=GENERATOR) * torch.tensor([1.0, 0.5, 0.5, 0.5]) @ turn
    )
    head.fit_scale(latents, changes)
    origin = torch.zeros(4)
    assert head(origin, 2 * often) == pytest.approx(4 * float(head(origin, often)), rel=1e-4)
    expected = (1 + 0.1 * 0.4375) / (
        0.25 + 0.1 * 0.4375
    )  # variances 1 and 1/4, and a ridge of a tenth of their mean
    assert head(origin, seldom) / head(origin, often) == pytest.approx(expected, rel=0.1)
    after = latents + changes
    assert 0.8 < head(latents, after).mean() < 1  # one step is about 1


@pytest.mark.parametrize("kind", [kind for kind in HEADS if kind != "mahalanobis"])
def test_the_loss_is_a_finite_scalar(kind):
    latents = torch.randn(4, 16, 4, generator=GENERATOR)
    pairs = Pairs(
        latents[0], latents[1], latents[1], latents[2], torch.arange(16.0) + 1, latents[3]
    )
    loss = head_of(kind).loss(pairs)
    assert loss.shape == () and loss.isfinite()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "quasimetrik"}, "Did you mean 'quasimetric'"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"expectile": 0.7}, "at most 0.5"),
        ({"gamma": 1.0}, "gamma between 0 and 1"),
        ({"ridge": 0.0}, "ridge must be above 0, got 0.0"),
        ({"max_step": 3}, "Did you mean 'max_steps'"),
    ],
)
def test_refuses_invalid_values(settings, message):
    with pytest.raises((ValueError, KeyError), match=message):
        make_config("setting of a learned distance", DistanceConfig, settings)


def test_whitened_value_counts_an_object_that_moves_rarely_and_is_clipped():
    latents = torch.randn(2000, 4, generator=GENERATOR)
    changes = torch.randn(2000, 4, generator=GENERATOR) * torch.tensor([1.0, 0.5, 1.0, 1.0])
    plain, whitened = head_of("value"), head_of("whitened-value", radius=2.0)
    for head in (plain, whitened):
        head.fit_scale(latents, changes)
    goal = torch.zeros(1, 4)

    def added(*point):
        now = torch.tensor([[*point, 0.0, 0.0]])
        return (whitened(now, goal) - plain(now, goal)).item()

    assert added(0.0, 0.0) == pytest.approx(0.0, abs=1e-3)
    assert added(0.0, 0.5) > 1.5 * added(0.5, 0.0) > 0
    assert added(0.0, 1.0) == pytest.approx(2 * added(0.0, 0.5), rel=1e-3)
    assert added(50.0, 0.0) == pytest.approx(2.0 * whitened.weight)


def test_a_larger_ridge_makes_directions_that_change_rarely_count_less():
    latents = torch.randn(2000, 4, generator=GENERATOR)
    changes = torch.randn(2000, 4, generator=GENERATOR) * torch.tensor([1.0, 0.1, 1.0, 1.0])
    goal, ratios = torch.zeros(1, 4), []
    for ridge in (0.1, 0.3):
        head = head_of("mahalanobis", ridge=ridge)
        head.fit_scale(latents, changes)
        often, rarely = (head(0.1 * torch.eye(4)[[axis]], goal).item() for axis in (0, 1))
        ratios.append(rarely / often)
    assert ratios[0] > ratios[1] > 1


def test_calibrated_value_adds_calibration_within_its_radius_of_the_goal():
    latents = torch.randn(500, 4, generator=GENERATOR)
    changes = torch.randn(500, 4, generator=GENERATOR) * 0.2
    plain, calibrated = head_of("value"), head_of("calibrated-value", radius=0.5)
    for head in (plain, calibrated):
        head.fit_scale(latents, changes)
    goal = torch.zeros(1, 4)
    step = changes.square().mean().sqrt()
    added = {
        steps: (calibrated(goal + steps * step, goal) - plain(goal + steps * step, goal)).item()
        for steps in (0.0, 0.25, 0.5, 3.0)
    }
    assert added == pytest.approx({0.0: 0.0, 0.25: 0.25, 0.5: 1.0, 3.0: 1.0}, abs=1e-4)

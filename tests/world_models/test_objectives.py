import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from world_models import objectives


def latents(seed: int = 0, shape: tuple[int, ...] = (64, 3, 5)) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_covariance_agrees_with_numpy():
    z = latents()
    matrix = np.cov(z.flatten(0, 1).numpy(), rowvar=False)
    expected = (matrix**2).sum() - (np.diag(matrix) ** 2).sum()
    assert float(objectives.covariance(z)) == pytest.approx(expected / 5)


def test_variance_is_zero_for_wide_latents_and_near_the_margin_for_a_constant():
    assert float(objectives.variance(10 * latents())) == 0
    assert float(objectives.variance(torch.ones(8, 2, 4))) == pytest.approx(1 - math.sqrt(1e-4))


def test_temporal_variance_sees_a_sequence_that_stands_still():
    still = latents(shape=(16, 1, 4)).expand(-1, 5, -1)
    assert float(objectives.temporal_variance(still)) > 0.98
    assert float(objectives.variance(3 * still)) < 0.1


def test_curvature_is_zero_on_a_line_one_at_a_right_angle_and_two_when_turning_back():
    line = torch.arange(4.0)[None, :, None] * torch.tensor([1.0, 2.0])
    assert float(objectives.curvature(line)) == pytest.approx(0, abs=1e-6)
    corner = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]])
    assert float(objectives.curvature(corner)) == pytest.approx(1)
    back = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]])
    assert float(objectives.curvature(back)) == pytest.approx(2)


def test_sigreg_agrees_with_direct_integration_of_the_empirical_characteristic_function():
    z = latents(shape=(40, 1, 1))  # in one dimension every direction is the axis
    sample = z[:, 0, 0].numpy()
    found = float(objectives.sigreg(z.float(), torch.Generator().manual_seed(0), num_knots=401))

    def integrand(t: float) -> float:
        difference = np.exp(1j * t * sample).mean() - math.exp(-t * t / 2)
        return abs(difference) ** 2 * math.exp(-t * t / 2)

    expected = len(sample) * 2 * integrate.quad(integrand, 0, 3)[0]
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("broken", ["constant", "narrow", "uniform", "line"])
def test_sigreg_is_least_for_a_standard_normal(broken: str):
    normal = torch.from_numpy(stats.norm.ppf((np.arange(512) + 0.5) / 512)).float()
    shuffled = torch.stack(
        [normal[torch.randperm(512, generator=torch.Generator().manual_seed(i))] for i in range(4)], 1
    )
    other = {
        "constant": torch.zeros_like(shuffled), "narrow": 0.2 * shuffled,
        "uniform": 4 * torch.rand(shuffled.shape, generator=torch.Generator().manual_seed(9)),
        "line": shuffled[:, :1].expand(-1, 4),
    }[broken]  # fmt: skip

    def value(z: torch.Tensor) -> float:
        return float(objectives.sigreg(z[:, None], torch.Generator().manual_seed(1)))

    assert value(shuffled) < 0.2 * value(other)


@pytest.mark.parametrize("name", sorted(objectives.LATENT_TERMS))
def test_every_term_is_finite_and_pushes_on_the_latents(name: str):
    z = latents().float().mul(0.3).requires_grad_()
    arguments = (torch.Generator().manual_seed(0),) if name == "sigreg" else ()
    value = objectives.LATENT_TERMS[name](z, *arguments)
    value.backward()
    assert torch.isfinite(value) and value.ndim == 0
    assert z.grad is not None and torch.isfinite(z.grad).all() and float(z.grad.abs().sum()) > 0


def test_a_stopped_target_gets_no_gradient():
    predicted, target = latents().requires_grad_(), latents(1).requires_grad_()
    objectives.prediction_error(predicted, target, stop_gradient=True).backward()
    assert predicted.grad is not None and target.grad is None

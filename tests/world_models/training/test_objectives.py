import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from jepabench.world_models.training import objectives


def latents(seed: int = 0, shape: tuple[int, ...] = (64, 3, 5)) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_covariance_agrees_with_numpy():
    z = latents()
    matrix = np.cov(z.flatten(0, 1).numpy(), rowvar=False)
    expected = (matrix**2).sum() - (np.diag(matrix) ** 2).sum()
    assert float(objectives.covariance(z)) == pytest.approx(expected / 5)


def test_covariance_as_pldm_counts_it():
    z = latents()
    matrix = np.cov(z[:, 0].numpy(), rowvar=False)
    expected = (matrix**2).sum() - (np.diag(matrix) ** 2).sum()
    assert float(objectives.covariance(z, first_only=True, per_pair=True)) == pytest.approx(
        expected / 20
    )
    hinge = np.maximum(0, 2 - np.sqrt(z[:, 0].numpy().var(0, ddof=1) + 1e-4)).mean()
    assert float(objectives.variance(z, margin=2.0, first_only=True)) == pytest.approx(hinge)


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    "shape", [(40, 2, 6), (3, 2, 20)]
)  # more samples than dimensions, and fewer
def test_mcr2_agrees_with_the_determinant_of_its_definition(shape: tuple[int, ...]):
    z = latents(shape=shape)
    rows = unit(z.flatten(0, 1).numpy())
    count, size = rows.shape
    matrix = np.eye(size) + size / (count * 0.2) * rows.T @ rows
    expected = -0.5 * np.linalg.slogdet(matrix)[1]
    assert float(objectives.mcr2(z, distortion=0.2)) == pytest.approx(expected, rel=1e-5)


def test_mcr2_lies_between_a_collapse_and_equal_use_of_all_directions():
    collapsed = latents(shape=(1, 1, 4)).expand(64, 2, 4)
    spread = torch.eye(4).repeat(16, 1)[:, None]
    assert float(objectives.mcr2(collapsed)) == pytest.approx(
        -0.5 * math.log(1 + 4 / 0.5), rel=1e-4
    )
    assert float(objectives.mcr2(spread)) == pytest.approx(-2 * math.log(1 + 1 / 0.5), rel=1e-4)


def test_mmcr_agrees_with_the_singular_values_of_the_centroids():
    predicted, target = latents(0), latents(1)
    views = np.stack([unit(predicted.numpy()), unit(target.numpy())], axis=2)
    spread = [np.linalg.svd(views[:, step].mean(1), compute_uv=False).sum() for step in range(3)]
    assert float(objectives.mmcr(predicted, target)) == pytest.approx(-np.mean(spread), rel=1e-5)
    own = np.linalg.svd(views, compute_uv=False).sum(-1).mean()
    assert float(objectives.mmcr(predicted, target, within=0.5)) == pytest.approx(
        0.5 * own - np.mean(spread), rel=1e-5
    )


def test_mmcr_of_a_collapse_is_minus_the_root_of_the_batch():
    collapsed = latents(shape=(1, 1, 5)).expand(64, 3, 5)
    assert float(objectives.mmcr(collapsed, collapsed)) == pytest.approx(-8, rel=1e-5)


def test_barlow_agrees_with_numpys_correlations():
    predicted, target = latents(0), latents(0) + 0.5 * latents(1)
    expected = []
    for step in range(3):
        matrix = np.corrcoef(predicted[:, step].numpy(), target[:, step].numpy(), rowvar=False)[
            :5, 5:
        ]
        beside = (matrix**2).sum() - (np.diag(matrix) ** 2).sum()
        expected.append(((1 - np.diag(matrix)) ** 2).sum() + 0.3 * beside)
    assert float(objectives.barlow(predicted, target, off_diagonal=0.3)) == pytest.approx(
        np.mean(expected), rel=1e-3
    )


def test_infonce_agrees_with_scipy_and_is_log_batch_at_collapse():
    predicted, target = latents(0), latents(0) + latents(1)
    cosines = np.einsum("ihd,jhd->hij", unit(predicted.numpy()), unit(target.numpy())) / 0.2
    expected = -np.diagonal(special.log_softmax(cosines, axis=-1), axis1=1, axis2=2).mean()
    assert float(objectives.infonce(predicted, target, temperature=0.2)) == pytest.approx(
        expected, rel=1e-5
    )
    collapsed = latents(shape=(1, 1, 5)).expand(64, 3, 5)
    assert float(objectives.infonce(collapsed, collapsed)) == pytest.approx(math.log(64), rel=1e-5)


def test_variance_is_zero_for_wide_latents_and_near_the_margin_for_a_constant():
    assert float(objectives.variance(10 * latents())) == 0
    assert float(objectives.variance(torch.ones(8, 2, 4))) == pytest.approx(1 - math.sqrt(1e-4))


def test_temporal_variance_sees_a_sequence_that_stands_still():
    still = latents(shape=(16, 1, 4)).expand(-1, 5, -1)
    assert float(objectives.temporal_variance(still)) > 0.98
    assert float(objectives.variance(3 * still)) < 0.1


def test_curvature_is_zero_straight_one_at_a_right_angle_and_two_reversed():
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
        [normal[torch.randperm(512, generator=torch.Generator().manual_seed(i))] for i in range(4)],
        1,
    )
    other = {
        "constant": torch.zeros_like(shuffled),
        "narrow": 0.2 * shuffled,
        "uniform": 4 * torch.rand(shuffled.shape, generator=torch.Generator().manual_seed(9)),
        "line": shuffled[:, :1].expand(-1, 4),
    }[broken]

    def value(z: torch.Tensor) -> float:
        return float(objectives.sigreg(z[:, None], torch.Generator().manual_seed(1)))

    assert value(shuffled) < 0.2 * value(other)


@pytest.mark.parametrize("name", sorted(objectives.LATENT_TERMS))
def test_every_term_is_finite_and_has_gradients_for_the_latents(name: str):
    z = latents().float().mul(0.3).requires_grad_()
    arguments = (torch.Generator().manual_seed(0),) if name == "sigreg" else ()
    value = objectives.LATENT_TERMS[name](z, *arguments)
    value.backward()
    assert torch.isfinite(value) and value.ndim == 0
    assert z.grad is not None and torch.isfinite(z.grad).all() and float(z.grad.abs().sum()) > 0


@pytest.mark.parametrize("name", sorted(objectives.PAIR_TERMS))
def test_every_pair_term_has_gradients_for_predictions_and_targets(name: str):
    predicted, target = latents(0).float().requires_grad_(), latents(1).float().requires_grad_()
    objectives.PAIR_TERMS[name](predicted, target).backward()
    for part in (predicted, target):
        assert (
            part.grad is not None
            and torch.isfinite(part.grad).all()
            and float(part.grad.abs().sum()) > 0
        )


def test_a_stopped_target_gets_no_gradient():
    predicted, target = latents().requires_grad_(), latents(1).requires_grad_()
    objectives.prediction_error(predicted, target, stop_gradient=True).backward()
    assert predicted.grad is not None and target.grad is None


def test_temporal_similarity_is_zero_for_latents_whose_cosines_decay_with_time():
    # Rows of the Cholesky factor of a Gram matrix have that matrix as their products. The mean over
    # a batch and its negative is zero, so centring changes nothing.
    time = torch.arange(4.0)
    wanted = (-(time[:, None] - time).abs() / 2.0).exp()
    clip = torch.linalg.cholesky(wanted)
    latents = torch.stack([clip, -clip])
    assert objectives.temporal_similarity(latents, sigma=2.0) < 1e-12
    assert objectives.temporal_similarity(latents, sigma=8.0) > 1e-2
    torch.testing.assert_close(
        objectives.temporal_similarity(3.0 * latents, sigma=8.0),
        objectives.temporal_similarity(latents, sigma=8.0),
    )

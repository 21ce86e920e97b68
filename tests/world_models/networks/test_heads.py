import math

import numpy as np
import pytest
import torch

from jepabench.world_models.analysis.diagnostics import effective_rank
from jepabench.world_models.networks.heads import ridge_probe_r2


def test_the_probe_finds_linear_values_and_nothing_in_noise():
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2000, 6, generator=generator)
    linear = 3 * latents[:, :1] - latents[:, 1:2] + 5
    noise = torch.randn(2000, 1, generator=generator)
    constant = torch.ones(2000, 1)
    truth = torch.cat([linear, noise, constant], 1)
    r2 = ridge_probe_r2((latents[:1000], truth[:1000]), (latents[1000:], truth[1000:]))
    assert r2[0] > 0.999
    assert abs(r2[1]) < 0.05
    assert np.isnan(r2[2])


def test_effective_rank_of_known_spectra():
    orthogonal = torch.linalg.qr(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)))[0]
    centred = orthogonal - orthogonal.mean(0)
    equal = torch.linalg.qr(centred)[0]
    assert effective_rank(equal) == pytest.approx(8, abs=0.05)
    assert effective_rank(equal[:, :1] @ torch.ones(1, 5)) == pytest.approx(1, abs=1e-3)
    p = np.array([3, 1]) / 4
    assert effective_rank(equal[:, :2] * torch.tensor([3.0, 1.0])) == pytest.approx(
        math.exp(-(p * np.log(p)).sum()), abs=0.02
    )
    assert effective_rank(torch.ones(10, 4)) == 1.0

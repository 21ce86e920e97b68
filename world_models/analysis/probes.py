"""Linear and MLP probes of frozen latents. They never train the model.

Every probe standardises its input with the statistics of its own training latents, so that a
latent's scale does not matter, and flattens patch latents [P, D] to [P * D].
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from jepabench.envs.errors import unknown_name

KINDS = ("linear", "mlp")
_MIN_STD = 1e-6


class Probe(nn.Module):
    """Predicts Q quantities from latents.

    Args:
        input_size: Numbers of a flattened latent.
        output_size: Q.
        hidden: Width of the two hidden layers; 0 for a linear probe.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, input_size: int, output_size: int, *, hidden: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(input_size))
        self.register_buffer("std", torch.ones(input_size))
        if hidden:
            self.body: nn.Module = nn.Sequential(
                nn.Linear(input_size, hidden),
                nn.GELU(),
                nn.Linear(hidden, hidden),
                nn.GELU(),
                nn.Linear(hidden, output_size),
            )
        else:
            self.body = nn.Linear(input_size, output_size)

    def standardise(self, latents: Tensor) -> None:
        """Take mean and standard deviation from the training latents [N, D]."""
        self.mean, self.std = latents.mean(0), latents.std(0).clamp_min(_MIN_STD)

    def forward(self, latents: Tensor) -> Tensor:
        """Read [N, Q] from flattened latents [N, D]."""
        return self.body((latents - self.mean) / self.std)


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """How well Q quantities were read.

    Attributes:
        r2: 1 is perfect, 0 the mean, below 0 worse than that; NaN where a quantity does not vary
            [Q].
        r: Pearson correlation, -1 to 1, NaN likewise [Q].
    """

    r2: NDArray[np.float64]
    r: NDArray[np.float64]


def score(predicted: Tensor, truth: Tensor) -> ProbeScores:
    """Compare what was read with the truth, [N, Q] each."""
    predicted, truth = predicted.double(), truth.double()
    spread = truth - truth.mean(0)
    total = spread.square().sum(0)
    varies = total > 1e-9 * len(truth)
    r2 = 1.0 - (truth - predicted).square().sum(0) / total
    offset = predicted - predicted.mean(0)
    r = (offset * spread).sum(0) / (offset.square().sum(0) * total).sqrt().clamp_min(1e-12)
    return ProbeScores(
        torch.where(varies, r2, torch.nan).numpy(), torch.where(varies, r, torch.nan).numpy()
    )


def fit_probe(kind: str, latents: Tensor, quantities: Tensor, *, seed: int = 0) -> Probe:
    """Fit a probe ``linear`` (ridge) or ``mlp`` on latents [N, *latent] and quantities [N, Q].

    Raises:
        UnknownNameError: Another kind.
    """
    if kind not in KINDS:
        raise unknown_name("kind of probe", kind, KINDS)
    flat = latents.flatten(1).float()
    return (
        fit_linear(flat, quantities) if kind == "linear" else fit_mlp(flat, quantities, seed=seed)
    )


def fit_linear(latents: Tensor, quantities: Tensor, *, regularisation: float = 1e-3) -> Probe:
    """Fit a ridge regression of quantities [N, Q] on standardised latents [N, D].

    ``regularisation`` is the ridge weight per sample.
    """
    probe = Probe(latents.shape[1], quantities.shape[1]).requires_grad_(False)
    probe.standardise(latents)
    features = functional.pad(((latents - probe.mean) / probe.std).double(), (0, 1), value=1.0)
    weight = regularisation * len(features)
    if features.shape[1] <= len(features):
        gram = features.T @ features + weight * torch.eye(features.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(gram, features.T @ quantities.double())
    else:  # more entries than samples: the dual form has the smaller matrix
        gram = features @ features.T + weight * torch.eye(len(features), dtype=torch.float64)
        solution = features.T @ torch.linalg.solve(gram, quantities.double())
    assert isinstance(probe.body, nn.Linear)
    probe.body.weight.copy_(solution[:-1].T)
    probe.body.bias.copy_(solution[-1])
    return probe.eval()


def fit_mlp(
    latents: Tensor,
    quantities: Tensor,
    *,
    hidden: int = 128,
    num_steps: int = 1500,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    held_out: float = 0.15,
    seed: int = 0,
) -> Probe:
    """Fit an MLP with two hidden layers on standardised quantities [N, Q].

    The weights with the lowest error on the last ``held_out`` share of the samples are kept, so
    samples of one episode should be adjacent.
    """
    kept = max(1, int(len(latents) * (1 - held_out)))
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        probe = Probe(latents.shape[1], quantities.shape[1], hidden=hidden)
    probe.standardise(latents)
    centre, scale = quantities.mean(0), quantities.std(0).clamp_min(_MIN_STD)
    targets = (quantities - centre) / scale
    optimizer = torch.optim.AdamW(probe.parameters(), lr=learning_rate, weight_decay=1e-3)
    best, lowest = copy.deepcopy(probe.state_dict()), float("inf")
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / num_steps)
        picked = torch.randint(kept, (min(batch_size, kept),), generator=generator)
        loss = (probe(latents[picked]) - targets[picked]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if kept < len(latents) and (step % 50 == 49 or step == num_steps - 1):
            with torch.no_grad():
                error = float((probe(latents[kept:]) - targets[kept:]).square().mean())
            if error < lowest:
                best, lowest = copy.deepcopy(probe.state_dict()), error
    if lowest < float("inf"):
        probe.load_state_dict(best)
    probe.requires_grad_(False)
    last = probe.body[-1]  # pyright: ignore[reportIndexIssue]
    last.weight.mul_(scale[:, None])
    last.bias.mul_(scale).add_(centre)
    return probe.eval()

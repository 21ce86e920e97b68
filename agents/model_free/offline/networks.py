"""The networks that the offline baselines are made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jepabench.agents.planners.base import require_at_least
from jepabench.world_models.networks.encoders import make_encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineConfig:
    """How an offline policy is trained. Methods add their own settings.

    Attributes:
        num_steps: gradient steps.
        batch_size: transitions of a step.
        learning_rate: of Adam at the start; it falls linearly to 0.
        hidden_size, num_layers: of the networks.
        max_goal_steps: goals of the policy are the states of 1 to so many model steps later in the same episode.
        encoder: of frames, for policies on pixels; a name of ``jepabench.world_models.networks.encoders``.
        history: states or latents that it is shown as one, the present and those before it. By default as many latents as
            their world model looks at, since one shows no velocity, and one state or frame.
        checkpoint_every: gradient steps between two states that a killed run resumes from.
    """

    num_steps: int = 3000
    batch_size: int = 256
    learning_rate: float = 1e-3
    hidden_size: int = 128
    num_layers: int = 3
    max_goal_steps: int = 16
    encoder: str = "keypoint"
    history: int | None = None
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        numbers = {
            name: value for name, value in asdict(self).items() if isinstance(value, (int, float))
        }
        require_at_least(
            1, **{name: value for name, value in numbers.items() if isinstance(value, int)}
        )
        require_at_least(
            0, **{name: value for name, value in numbers.items() if isinstance(value, float)}
        )


class Sizes(NamedTuple):
    """Sizes of what a policy takes and gives: present D, goal D', action A; ``frame`` is the side of frames, 0 for vectors."""

    now: int
    goal: int
    action: int
    frame: int = 0


class Standardise(nn.Module):
    """Shifts and scales inputs [..., D] to mean 0 and standard deviation 1 over the table that it was fitted to."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, table: Tensor) -> None:
        """Takes the statistics of a table [N, D]; what never varies there is left unscaled."""
        self.mean.copy_(table.mean(0))
        std = table.std(0)
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Standardises inputs."""
        return (inputs - self.mean) / self.std


class Eyes(nn.Module):
    """Turns what is seen, now and as a goal, into vectors: standardised entries, or one trained encoder for both frames.

    Args:
        sizes: of the inputs.
        encoder: name, for frames.
        history: vectors that make up the present.
    """

    def __init__(self, sizes: Sizes, encoder: str, history: int) -> None:
        super().__init__()
        self.encoder = make_encoder(encoder, {"latent_dim": sizes.now}) if sizes.frame else None
        self.now_scale, self.goal_scale = Standardise(sizes.now // history), Standardise(sizes.goal)

    def now(self, inputs: Tensor) -> Tensor:
        """Returns vectors [N, D]."""
        if self.encoder:
            return self.encoder(inputs)
        return self.now_scale(inputs.unflatten(1, (-1, len(self.now_scale.mean)))).flatten(1)

    def goal(self, inputs: Tensor) -> Tensor:
        """Returns vectors [N, D']."""
        return self.encoder(inputs) if self.encoder else self.goal_scale(inputs)


def mlp(input_size: int, output_size: int, config: OfflineConfig) -> nn.Sequential:
    """Returns a multilayer perceptron with ``config.num_layers`` hidden layers."""
    sizes = [input_size, *[config.hidden_size] * config.num_layers]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], output_size))


class Pair(nn.Module):
    """Two networks of one shape, whose smaller answer is believed (Fujimoto et al., 2018): [N, D] to [2, N, size]."""

    def __init__(self, input_size: int, output_size: int, config: OfflineConfig) -> None:
        super().__init__()
        self.both = nn.ModuleList([mlp(input_size, output_size, config) for _ in range(2)])

    def forward(self, *inputs: Tensor) -> Tensor:
        """Returns both answers to the concatenated inputs."""
        joined = torch.cat(inputs, dim=1)
        return torch.stack([network(joined) for network in self.both])


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, rate: float) -> None:
    """Moves the weights of ``target`` towards those of ``source`` by the share ``rate``."""
    for slow, fast in zip(target.parameters(), source.parameters(), strict=True):
        slow.lerp_(fast, rate)


def expectile_loss(error: Tensor, sign_of: Tensor, expectile: float) -> Tensor:
    """Returns the mean of squared errors, weighted with ``expectile`` where ``sign_of`` is positive, else with 1 - expectile."""
    weight = torch.where(sign_of > 0, expectile, 1 - expectile)
    return (weight * error.square()).mean()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Within it, gradients pass through a network and leave its weights alone."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)

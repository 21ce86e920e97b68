"""Settings and networks of the offline methods."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jepabench.world_models.networks.encoders import make_encoder
from jepabench.world_models.networks.heads import make_perceptron
from jepabench.world_models.settings import require_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineConfig:
    """Settings of every offline method. The methods add their own.

    Attributes:
        num_steps: Number of gradient steps.
        batch_size: Number of transitions per gradient step.
        learning_rate: Initial learning rate of Adam, which falls linearly to 0.
        hidden_size: Width of the hidden layers.
        num_layers: Number of hidden layers.
        max_goal_steps: Largest number of model steps to a goal of the policy. Goals are later
            frames of the same episode.
        encoder: Encoder of frames, for policies from pixels (``world_models.networks.encoders``).
        history: Number of states or latents in the input, including the present one. By default 1
            for states and frames, and the history of the world model for latents, since a single
            latent does not show velocities.
        checkpoint_every: Number of gradient steps between saved training states, from which an
            interrupted run resumes.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueConfig(OfflineConfig):
    """Settings of methods with a value function.

    Attributes:
        gamma: Discount factor per model step. It also determines the distribution of goals of the
            value function (``HindsightPairs.draw_value_goals``).
    """

    gamma: float = 0.95


class Sizes(NamedTuple):
    """Sizes of a policy's inputs and outputs.

    Attributes:
        now: Size D of the present input.
        goal: Size D' of a goal.
        action: Size A of an action.
        frame: Side length of the frames in pixels, 0 for vectors.
    """

    now: int
    goal: int
    action: int
    frame: int = 0


class Standardise(nn.Module):
    """Scales inputs [..., D] to mean 0 and standard deviation 1 over a table."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, table: Tensor) -> None:
        """Compute the statistics of a table [N, D]. Constant entries are not scaled."""
        self.mean.copy_(table.mean(0))
        std = table.std(0)
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Standardise inputs."""
        return (inputs - self.mean) / self.std


class GoalEncoder(nn.Module):
    """Maps present and goal to vectors: standardised entries, or a shared encoder of frames.

    Args:
        sizes: Sizes of the inputs.
        encoder: Name of the encoder of frames.
        history: Number of vectors in the present input.
    """

    def __init__(self, sizes: Sizes, encoder: str, history: int) -> None:
        super().__init__()
        self.encoder = make_encoder(encoder, {"latent_dim": sizes.now}) if sizes.frame else None
        self.now_scale, self.goal_scale = Standardise(sizes.now // history), Standardise(sizes.goal)

    def encode_now(self, inputs: Tensor) -> Tensor:
        """Return the present as vectors [N, D]."""
        if self.encoder:
            return self.encoder(inputs)
        return self.now_scale(inputs.unflatten(1, (-1, len(self.now_scale.mean)))).flatten(1)

    def encode_goal(self, inputs: Tensor) -> Tensor:
        """Return goals as vectors [N, D']."""
        return self.encoder(inputs) if self.encoder else self.goal_scale(inputs)


def mlp(input_size: int, output_size: int, config: OfflineConfig) -> nn.Sequential:
    """Return a multilayer perceptron with ``config.num_layers`` hidden layers."""
    return make_perceptron(
        input_size, output_size, width=config.hidden_size, depth=config.num_layers
    )


class TwinCritic(nn.Module):
    """Two networks of the same shape, [N, D] to [2, N, size].

    The minimum of both is a pessimistic value (clipped double Q-learning, Fujimoto et al., 2018).
    """

    def __init__(self, input_size: int, output_size: int, config: OfflineConfig) -> None:
        super().__init__()
        self.both = nn.ModuleList([mlp(input_size, output_size, config) for _ in range(2)])

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the outputs of both networks for the concatenated inputs."""
        joined = torch.cat(inputs, dim=1)
        return torch.stack([network(joined) for network in self.both])

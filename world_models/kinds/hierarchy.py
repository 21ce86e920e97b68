"""Higher levels of a world model, which predict over long strides with learned macro-actions.

A level works on the frozen latents of the model below. An encoder compresses the actions of a
stride into a short macro-action with a standard normal prior, and a predictor returns the latent at
the end of the stride. A search near 0 therefore stays close to the data. The method follows HWM and
Dual-WM (2026), which plan on two levels. Ours is smaller, and is trained after the model below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from jepabench.world_models.base import Context, TrajectoryBatch, rollout
from jepabench.world_models.networks.heads import make_perceptron
from jepabench.world_models.settings import require_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class HierarchyConfig:
    """Configuration of the levels and of their training.

    Attributes:
        strides: Number of model steps per prediction, one for each level, ascending.
        macro_size: Size M of a macro-action.
        rollout_steps: Number of strides in the prediction error. Episodes must be long enough.
        kl_weight: Weight of the KL divergence of macro-actions from their prior, in nats per entry,
            relative to standardised squared errors.
        width: Width of the hidden layers.
        depth: Number of hidden layers.
        num_steps: Number of gradient steps per level.
        batch_size: Number of windows per gradient step.
        learning_rate: Initial learning rate of Adam, which falls linearly to 0.
    """

    strides: tuple[int, ...] = (5,)
    macro_size: int = 4
    rollout_steps: int = 2
    kl_weight: float = 0.02
    width: int = 256
    depth: int = 2
    num_steps: int = 2000
    batch_size: int = 256
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, "strides", tuple(self.strides))
        if not self.strides or any(high <= low for low, high in pairwise((1, *self.strides))):
            raise ValueError(
                "strides must ascend (lowest level first) and be at least 2, "
                f"got {list(self.strides)}."
            )
        require_at_least(1, macro_size=self.macro_size, rollout_steps=self.rollout_steps)
        require_at_least(1, width=self.width, depth=self.depth)
        require_at_least(1, num_steps=self.num_steps, batch_size=self.batch_size)
        if self.kl_weight < 0 or self.learning_rate <= 0:
            raise ValueError(
                "kl_weight must be at least 0 and learning_rate above 0, "
                f"got {self.kl_weight} and {self.learning_rate}."
            )


class MacroLevel(nn.Module):
    """One level, which predicts z(t + stride) from z(t) and a macro-action.

    Args:
        latent_size: Size D of a latent.
        action_size: Size A of the action of a model step.
        stride: Number of model steps per prediction.
        config: Configuration of the hierarchy.
    """

    mean: Tensor
    std: Tensor
    observation_key = "latent"
    history = 1

    def __init__(
        self, latent_size: int, action_size: int, stride: int, config: HierarchyConfig
    ) -> None:
        super().__init__()
        self.config, self.stride, self.action_size = config, stride, config.macro_size
        self.window = stride * config.rollout_steps + 1
        self.register_buffer("mean", torch.zeros(latent_size))
        self.register_buffer("std", torch.ones(latent_size))
        size = config.macro_size
        self.macro_encoder = make_perceptron(
            stride * action_size, 2 * size, width=config.width, depth=config.depth
        )
        self.predictor = make_perceptron(
            latent_size + size, latent_size, width=config.width, depth=config.depth
        )

    def fit_scale(self, latents: Tensor) -> None:
        """Set the scale from the mean and standard deviation of latents [N, D]."""
        self.mean.copy_(latents.mean(0))
        self.std.copy_(latents.std(0).clamp(min=1e-6))

    def encode(self, observation: Tensor) -> Tensor:
        """Return latents of the model below unchanged, since all levels share one space."""
        return observation

    def macro(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance [N, M] of the macro-action of actions [N, stride, A]."""
        mean, log_variance = self.macro_encoder(actions.flatten(1)).chunk(2, dim=-1)
        return mean, log_variance.clamp(-8, 4)

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, D] a stride later from latents [N, 1, D] and macro-actions [N, 1, M]."""
        now = (latents[:, -1] - self.mean) / self.std
        return latents[:, -1] + self.predictor(torch.cat([now, actions[:, -1]], dim=-1)) * self.std

    def losses(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the loss terms for windows of latents [B, window, D] and their actions."""
        latents = batch.observations[self.observation_key][:, :: self.stride]  # [B, R+1, D]
        windows, strides = len(latents), self.config.rollout_steps
        mean, log_variance = self.macro(batch.actions.reshape(windows * strides, self.stride, -1))
        noise = torch.randn(mean.shape, generator=generator)
        macros = (mean + noise * (0.5 * log_variance).exp()).view(windows, 1, strides, -1)
        context = Context(latents[:, :1], macros.new_zeros(windows, 0, self.action_size))
        imagined = rollout(self, context, macros)[:, 0]
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        return {
            "prediction": ((imagined - latents[:, 1:]) / self.std).square().mean(),
            "prior": self.config.kl_weight * divergence.mean(),
        }


def make_levels(latent_size: int, action_size: int, config: HierarchyConfig) -> nn.ModuleList:
    """Make the untrained levels, lowest first."""
    return nn.ModuleList(
        MacroLevel(latent_size, action_size, stride, config) for stride in config.strides
    )


def relative_errors(level: MacroLevel, latents: Tensor, actions: Tensor) -> Sequence[float]:
    """Return the squared error of each stride, relative to copying the first latent.

    Args:
        level: A trained level.
        latents: Windows of true latents [B, window, D].
        actions: Normalised actions between them [B, window - 1, A].
    """
    with torch.no_grad():
        windows, strides = len(latents), level.config.rollout_steps
        macros, _ = level.macro(actions.reshape(windows * strides, level.stride, -1))
        context = Context(latents[:, :1], macros.new_zeros(windows, 0, level.action_size))
        imagined = rollout(level, context, macros.view(windows, 1, strides, -1))[:, 0]
        truth = latents[:, level.stride :: level.stride]
        error, copied = (
            (imagined - truth).square().mean((0, 2)),
            (latents[:, :1] - truth).square().mean((0, 2)),
        )
    return (error / copied.clamp_min(1e-12)).tolist()

"""A world model with a memory of earlier frames, for worlds that are not visible in one frame.

Planning needs no special case: the memory is computed from the K latents and K-1 actions of the
context, and updated during the rollout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepabench.world_models.base import Context, TrajectoryBatch
from jepabench.world_models.kinds.jepa import JEPA, JEPAConfig
from jepabench.world_models.training import objectives


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(JEPAConfig):
    """Configuration of a JEPA with memory. It needs vector latents and ignores ``predictor``.

    Attributes:
        history: Number K of frames from which the memory is computed. Training windows have K +
            ``rollout_steps`` frames.
        memory_size: Size W of the memory.
        width: Width of the hidden layers that follow the memory.
    """

    history: int = 16
    memory_size: int = 128
    width: int = 256


class GRUPredictor(nn.Module):
    """A memory m_t = GRU(m_{t-1}, z_t, a_{t-1}) and a prediction z_{t+1} = z_t + f(m_t, z_t, a_t).

    This is the deterministic part of the recurrent state of PlaNet (Hafner et al., 2019). The
    memory m_t does not depend on the present action a_t.

    Args:
        latent_dim: Size D of a latent.
        action_size: Size A of an action.
        memory_size: Size W of the memory.
        width: Width of the hidden layers.
    """

    def __init__(self, *, latent_dim: int, action_size: int, memory_size: int, width: int) -> None:
        super().__init__()
        self.memory_size = memory_size
        self.cell = nn.GRU(latent_dim + action_size, memory_size, batch_first=True)
        self.body = nn.Sequential(
            nn.Linear(memory_size + latent_dim + action_size, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, latent_dim),
        )

    def remember(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Return the memory [N, K, W] at latents [N, K, D] with actions [N, K-1, A] in between."""
        before = functional.pad(actions, (0, 0, 1, 0))
        return self.cell(torch.cat([latents, before], dim=2))[0]

    def next_latent(self, memory: Tensor, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, D] from memory [N, W], latents [N, D] and present actions [N, A]."""
        return latents + self.body(torch.cat([memory, latents, actions], dim=1))

    def roll(self, memory: Tensor, latents: Tensor, actions: Tensor) -> Tensor:
        """Imagine [N, H, D] from memory [N, W], latents [N, D] and actions [N, H, A]."""
        imagined = []
        for step, action in enumerate(actions.unbind(1)):
            latents = self.next_latent(memory, latents, action)
            imagined.append(latents)
            if step + 1 < actions.shape[1]:
                seen = torch.cat([latents, action], dim=1)
                memory = self.cell(seen[:, None], memory[None].contiguous())[1][0]
        return torch.stack(imagined, dim=1)

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, D] from latents [N, k, D] and actions [N, k, A], for any k."""
        memory = self.remember(latents, actions[:, :-1])
        return self.next_latent(memory[:, -1], latents[:, -1], actions[:, -1])


class RecurrentJEPA(JEPA):
    """A JEPA with a memory. Implements ``WorldModel`` and ``CustomRollout``."""

    config_class = RecurrentConfig
    config: RecurrentConfig
    predictor: GRUPredictor

    def _make_predictor(self) -> GRUPredictor:
        config = self.config
        return GRUPredictor(
            latent_dim=config.latent_dim,
            action_size=config.action_size,
            memory_size=config.memory_size,
            width=config.width,
        )

    def memory(self, context: Context) -> Tensor:
        """Return the memory after the last frame of the context, [B, W]."""
        return self.predictor.remember(context.latents, context.actions)[:, -1]

    def imagine(self, context: Context, actions: Tensor) -> Tensor:
        """Imagine latents [B, S, H, D] of candidates [B, S, H, A]; the context is encoded once."""
        problems, samples = actions.shape[:2]
        memory, latents = (
            start[:, None].expand(-1, samples, -1).flatten(0, 1)
            for start in (self.memory(context), context.latents[:, -1])
        )
        imagined = self.predictor.roll(memory, latents, actions.flatten(0, 1))
        return imagined.view(problems, samples, *imagined.shape[1:])

    def prediction_terms(
        self, latents: Tensor, batch: TrajectoryBatch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Roll out from every frame of the window, with the memory of the frames before it."""
        del generator
        horizon = self.config.rollout_steps
        num_starts = latents.shape[1] - horizon
        memory = self.predictor.remember(
            latents[:, :num_starts], batch.actions[:, : num_starts - 1]
        )
        actions = batch.actions.unfold(1, horizon, 1).transpose(2, 3)  # [B, starts, H, A]
        targets = latents[:, 1:].unfold(1, horizon, 1).transpose(2, 3)
        imagined = self.predictor.roll(
            memory.flatten(0, 1), latents[:, :num_starts].flatten(0, 1), actions.flatten(0, 1)
        )
        error = objectives.prediction_error(
            imagined, targets.flatten(0, 1), stop_gradient=self.config.stop_gradient
        )
        return {"prediction": error}

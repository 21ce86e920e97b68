"""Predictors from the last K latents and actions to the next latent, [D] or [P, D]."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepabench.envs.errors import unknown_name
from jepabench.world_models.networks.heads import make_perceptron
from jepabench.world_models.networks.history_transformer import AdaLNBlock, AdaLNPredictor
from jepabench.world_models.networks.lewm import LeWMPredictor
from jepabench.world_models.networks.mlp_rollout import read_perceptron, unroll_residual


class MLPPredictor(nn.Module):
    """A residual MLP on the concatenated history: z' = z + f(z_history, a_history).

    A history that is shorter than K is padded by repeating its first frame with the zero action.

    Args:
        latent_dim: D.
        action_size: A.
        history: K.
        width: Width of each hidden layer.
        depth: Number of hidden layers.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        action_size: int,
        history: int = 2,
        width: int = 256,
        depth: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.history = history
        sizes = [history * (latent_dim + action_size)] + [width] * depth
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [
                nn.Linear(inputs, outputs),
                nn.LayerNorm(outputs),
                nn.GELU(),
                nn.Dropout(dropout),
            ]
        self.body = nn.Sequential(*layers, nn.Linear(width, latent_dim))

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, D] from latents [N, k, D] and actions [N, k, A] with k <= K."""
        latents, actions = _pad_history(latents, actions, self.history)
        dtype = next(self.body.parameters()).dtype
        inputs = torch.cat([latents.flatten(1), actions.flatten(1)], dim=1).to(dtype)
        return latents[:, -1] + self.body(inputs).to(latents.dtype)

    def unroll(
        self, latents: Tensor, actions: Tensor, *, place: Callable[[Tensor], Tensor] | None
    ) -> Tensor | None:
        """Predict H latents [N, H, D] in sequence, faster than H calls of ``forward``.

        Args:
            latents: Latents of the context [N, k, D], k <= K.
            actions: Actions of the context and of the plan [N, k - 1 + H, A].
            place: See ``AdaLNPredictor.unroll``; only None is supported.

        Returns:
            None if there is a function ``place``, or weights need a gradient.
        """
        network = read_perceptron(self.body)
        if place is not None or network.trains:
            return None
        latents, actions = _pad_history(latents, actions, self.history)
        return unroll_residual(network, latents, actions)


class SubstepPredictor(nn.Module):
    """Applies one small residual MLP to each control step of an action block in turn.

    The effect of a push depends on the position of the pusher at that moment. An MLP on the whole
    block must learn to compose its steps, whereas this predictor composes them by construction.
    Only the latent after the last step is compared with data in training.

    Args:
        latent_dim: D.
        action_size: A of a model step, a multiple of ``substeps``.
        history: K; a shorter one is padded by repeating its first frame with the zero action.
        substeps: Control steps in an action block.
        memory: Size of the state besides the latent, such as velocities, computed from the history.
        width: Width of each hidden layer.
        depth: Number of hidden layers of the step.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        action_size: int,
        history: int = 2,
        substeps: int = 1,
        memory: int = 32,
        width: int = 256,
        depth: int = 2,
    ) -> None:
        super().__init__()
        if action_size % substeps:
            raise ValueError(
                f"Actions of {action_size} entries are not {substeps} control steps side by side."
            )
        self.history, self.substeps, self.latent_dim = history, substeps, latent_dim
        known = history * latent_dim + (history - 1) * action_size
        self.recall = make_perceptron(known, memory, width=width, depth=1)
        state = latent_dim + memory
        self.step = make_perceptron(
            state + action_size // substeps, state, width=width, depth=depth
        )

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, D] from latents [N, k, D] and actions [N, k, A] with k <= K."""
        latents, actions = _pad_history(latents, actions, self.history)
        memory = self.recall(torch.cat([latents.flatten(1), actions[:, :-1].flatten(1)], dim=1))
        state = torch.cat([latents[:, -1], memory], dim=1)
        for action in actions[:, -1].chunk(self.substeps, dim=1):
            state = state + self.step(torch.cat([state, action], dim=1))
        return state[:, : self.latent_dim]


def _pad_history(latents: Tensor, actions: Tensor, history: int) -> tuple[Tensor, Tensor]:
    """Pad a history of k < K by repeating its first latent, with the zero action."""
    missing = history - latents.shape[1]
    if not missing:
        return latents, actions
    first = latents[:, :1].expand(-1, missing, *latents.shape[2:])
    return torch.cat([first, latents], dim=1), functional.pad(actions, (0, 0, missing, 0))


class PatchPredictor(nn.Module):
    """A transformer over positions, conditioned on actions by AdaLN-zero.

    Args:
        latent_dim: D of a position.
        action_size: A.
        positions: P.
        history: K.
        width, depth, num_heads, dropout: Settings of the transformer.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        action_size: int,
        positions: int,
        history: int = 2,
        width: int = 64,
        depth: int = 2,
        num_heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.history = history
        self.embed = nn.Linear(history * latent_dim, width)
        self.embed_action = nn.Sequential(
            nn.Linear(history * action_size, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.positions = nn.Parameter(torch.randn(1, positions, width) * 0.02)
        self.blocks = nn.ModuleList(
            [AdaLNBlock(width, num_heads, dropout, causal=False) for _ in range(depth)]
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, latent_dim))

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, P, D] from latents [N, k, P, D] and actions [N, k, A] with k <= K."""
        latents, actions = _pad_history(latents, actions, self.history)
        tokens = self.embed(latents.transpose(1, 2).flatten(2)) + self.positions
        condition = self.embed_action(actions.flatten(1))[:, None]
        for block in self.blocks:
            tokens = block(tokens, condition)
        return latents[:, -1] + self.out(tokens)


class GridPredictor(nn.Module):
    """Convolutions over a square of positions: z' = z + f(maps, actions).

    Args:
        latent_dim: D of a position.
        action_size: A.
        positions: P, a square number.
        history: K.
        width: Channels.
        depth: Residual 3x3 convolutions; each carries an effect one position further.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        action_size: int,
        positions: int,
        history: int = 2,
        width: int = 32,
        depth: int = 3,
    ) -> None:
        super().__init__()
        self.history, self.side = history, math.isqrt(positions)
        if self.side**2 != positions:
            raise ValueError(
                f"Predictor 'grid' needs a square of positions, got {positions}. Use 'patch'."
            )
        self.embed = nn.Conv2d(history * latent_dim, width, 1)
        self.embed_action = nn.Linear(history * action_size, width)
        self.places = nn.Parameter(torch.randn(1, width, self.side, self.side) * 0.02)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, width), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(depth)
        )
        self.out = nn.Conv2d(width, latent_dim, 1)

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, P, D] from latents [N, k, P, D] and actions [N, k, A] with k <= K."""
        latents, actions = _pad_history(latents, actions, self.history)
        maps = (
            latents.permute(0, 1, 3, 2).flatten(1, 2).unflatten(-1, (self.side, self.side))
        )  # [N, K D, side, side]
        maps = (
            self.embed(maps) + self.embed_action(actions.flatten(1))[:, :, None, None] + self.places
        )
        for layer in self.layers:
            maps = maps + layer(maps)
        change = self.out(functional.gelu(maps)).flatten(2).transpose(1, 2)
        return latents[:, -1] + change


PREDICTORS: dict[str, type[nn.Module]] = {
    "adaln": AdaLNPredictor,
    "lewm": LeWMPredictor,
    "mlp": MLPPredictor,
    "substep": SubstepPredictor,
}
PATCH_PREDICTORS: dict[str, type[nn.Module]] = {"grid": GridPredictor, "patch": PatchPredictor}


def make_predictor(
    name: str,
    options: dict[str, Any],
    *,
    latent_dim: int,
    action_size: int,
    positions: int | None = None,
) -> nn.Module:
    """Make the predictor called ``name`` for latents [D], or [P, D] with P ``positions``.

    Raises:
        UnknownNameError: No such predictor for this form of latent.
    """
    if positions is None:
        if name not in PREDICTORS:
            raise unknown_name("predictor of vector latents", name, PREDICTORS)
        return PREDICTORS[name](latent_dim=latent_dim, action_size=action_size, **options)
    if name not in PATCH_PREDICTORS:
        raise unknown_name(
            f"predictor of latents with {positions} positions", name, PATCH_PREDICTORS
        )
    return PATCH_PREDICTORS[name](
        latent_dim=latent_dim, action_size=action_size, positions=positions, **options
    )

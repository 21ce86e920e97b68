"""Tiny environments with known dynamics, to test what a model learns.

The state is what is encoded.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from jepabench.world_models.base import TrajectoryBatch, WorldModel
from jepabench.world_models.registry import build_model

World = Callable[
    [int, int, torch.Generator], tuple[Tensor, Tensor]
]  # (B, T) to states [B, T, O], actions [B, T-1, A]


def train(
    kind: str, world: World, *, num_steps: int, batch_size: int = 64, **options
) -> WorldModel:
    """Trains a model on states of a world and returns it in evaluation mode."""
    states, actions = world(2, 3, torch.Generator().manual_seed(0))
    size = states.shape[2]
    torch.manual_seed(0)
    model = build_model(
        kind,
        {
            "encoder": "state",
            "encoder_options": {"mean": [0.0] * size, "std": [1.0] * size},
            "latent_dim": size,
            "observation_key": "observation",
            "action_size": actions.shape[2],
            **options,
        },
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(num_steps):
        loss = sum(model.losses(draw(world, model, batch_size, generator), generator).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


def draw(
    world: World, model: WorldModel, batch_size: int, generator: torch.Generator
) -> TrajectoryBatch:
    """Draws windows for a model."""
    states, actions = world(batch_size, model.window, generator)
    return TrajectoryBatch({"observation": states}, actions, states)

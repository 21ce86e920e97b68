"""Fixtures for tests of agents: a loop that plays episodes, and a model of the true dynamics."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jepabench.agents.base import Agent
from jepabench.envs import EpisodeSpec, episode_specs, make, reset_to
from jepabench.envs.data.collect import collect

TWO_ROOM = "jepabench/TwoRoom-v1"


class WalkModel(nn.Module):
    """The true dynamics of TwoRoom away from walls, as a world model: five steps of at most 0.05 m
    in a straight line.

    The latent is the observation [x, y, wall, door]. It keeps what ``predict`` was last given, for
    tests of the context.
    """

    observation_key = "observation"
    action_size = 2

    def __init__(
        self,
        *,
        mean: Sequence[float] = (0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0),
        history: int = 1,
    ):
        super().__init__()
        self.history = history
        self.mean, self.std = torch.tensor(mean), torch.tensor(std)
        self.offset = nn.Parameter(torch.zeros(4))
        self.contexts: list[tuple[Tensor, Tensor]] = []

    def encode(self, observation: Tensor) -> Tensor:
        assert observation.dtype == torch.float32
        return observation + self.offset

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        self.contexts.append((latents.detach()[0], actions.detach()[0]))
        heading = actions[:, -1] * self.std + self.mean
        length = heading.square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
        move = 0.25 * heading / length.clamp(min=1.0)
        return latents[:, -1] + nn.functional.pad(move, (0, 2))

    def losses(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        raise NotImplementedError


@pytest.fixture
def walk_model() -> type[WalkModel]:
    return WalkModel


@pytest.fixture
def specs() -> list[EpisodeSpec]:
    return episode_specs(TWO_ROOM, "test", 6, strata=("near",))


@pytest.fixture
def play() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    return play_episodes


def play_episodes(
    agent: Agent, specs: Sequence[EpisodeSpec], *, num_steps: int, stop_at: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Plays episodes side by side; returns actions [B, T, A] and distances to the goal [B, T+1].

    ``stop_at`` says when each episode becomes inactive [control steps]; its actions are NaN from
    there on.
    """
    envs = [make(spec.task_id) for spec in specs]
    ends = np.array(stop_at or [num_steps] * len(specs))
    agent.reset(specs)
    seen = [reset_to(env, spec)[0] for env, spec in zip(envs, specs, strict=True)]
    actions, distances = (
        [],
        [
            [
                float(env.distance(o["achieved_goal"], o["desired_goal"]))
                for env, o in zip(envs, seen, strict=True)
            ]
        ],
    )
    for step in range(num_steps):
        active = step < ends
        stacked = {
            key: np.stack([o[key] for o in seen])
            for key in seen[0]
            if key in agent.observation_keys
        }
        chosen = agent.act(stacked, active).copy()
        chosen[~active] = np.nan
        for row in np.flatnonzero(active):
            seen[row] = envs[row].step(chosen[row])[0]
        actions.append(chosen)
        distances.append(
            [
                float(env.distance(o["achieved_goal"], o["desired_goal"]))
                for env, o in zip(envs, seen, strict=True)
            ]
        )
    return np.stack(actions, 1), np.array(distances).T


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train"
    collect(
        TWO_ROOM, path, num_episodes=150, num_steps=12, pixels=None, num_workers=1, progress=False
    )
    return path


@pytest.fixture(scope="session")
def state_model(save_twin, tmp_path_factory):
    """A model whose latent is the standardised state: a representation without flaw."""
    return save_twin(tmp_path_factory.mktemp("model"), std=(0.5, 0.5, 1.0, 1.0))


@pytest.fixture(scope="module")
def twin_folder(tmp_path_factory, save_twin):
    """A folder with `data` of TwoRoom and untrained state twins `model` and `other`."""
    home = tmp_path_factory.mktemp("twin")
    options = {"pixels": None, "num_workers": 1, "progress": False}
    collect(TWO_ROOM, home / "data", num_episodes=6, num_steps=9, **options)
    save_twin(home / "model", home / "other")
    return home

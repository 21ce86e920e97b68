"""Inputs of an online policy: the state, the frozen latents of a world model, or frames.

In all three cases, the reward is that of the environment, and hindsight replay has to recompute it.
For latents, goals therefore start with the task's goal coordinates, which only the reward uses. The
policy does not read them, and they are not available to an agent during evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from jepabench.agents.encoding import (
    GOAL_KEYS,
    check_inputs,
    encode_goal_rows,
    encode_rows,
    observation_keys,
)
from jepabench.envs.core.goal_env import Observation
from jepabench.envs.registry import make
from jepabench.envs.task import TaskSpec
from jepabench.world_models.base import WorldModel
from jepabench.world_models.checkpoint import fingerprint, load_world_model

IMAGE = "image"
MAX_SHIFT = 4  # pixels, as in DrQ (Yarats et al., 2021)


class View:
    """The state as input: observation, achieved and desired goal.

    Attributes:
        inputs: "state", "latents" or "pixels".
        world_model: Fingerprint of the model that encodes the inputs, or None.
        world_keys: Keys of the environment's observation that an agent needs.
        pixels: Side length of the frames that it needs, or None.
        num_coordinates: Number of leading entries of goals that are the task's goal coordinates.
        space: Space of the inputs.
        policy: Additional arguments of the policy of Stable-Baselines3.
    """

    inputs = "state"
    world_model: str | None = None

    def __init__(self, task: TaskSpec, *, pixels: int | None = None) -> None:
        self.pixels = pixels
        self.world_keys: tuple[str, ...] = ("observation", "achieved_goal", "desired_goal")
        world = make(task.id)
        self.goal_size = world.observation_space["desired_goal"].shape[0]  # pyright: ignore[reportOptionalSubscript]
        self.num_coordinates = self.goal_size
        self.space = world.observation_space
        self.policy: dict[str, Any] = {}
        world.close()

    def __call__(
        self, seen: Mapping[str, NDArray[Any]], before: Observation | None = None
    ) -> Observation:
        """Return the inputs of the policy.

        Args:
            seen: Observation of the environment.
            before: Inputs one block earlier, None at the start of an episode.
        """
        del before
        return {key: seen[key] for key in self.world_keys}

    @property
    def normalised(self) -> list[str]:
        """Keys of the inputs that are standardised with running moments."""
        return list(self.world_keys)


class LatentView(View):
    """The last K latents of a frozen world model and the latent of the goal as input.

    K is the history of the world model. A single frame does not show velocities, and a policy
    without velocities overshoots its goals.
    """

    inputs = "latents"

    def __init__(self, task: TaskSpec, model: WorldModel, *, weights: str, pixels: int) -> None:
        super().__init__(task, pixels=pixels if model.observation_key == "pixels" else None)
        self.model, self.world_model = model, weights
        self.world_keys = observation_keys(model)
        self._goal_key = GOAL_KEYS[model.observation_key]
        self._goal: tuple[NDArray[Any], NDArray[np.float32]] | None = None
        world = make(task.id, pixels=self.pixels)
        size = self.encode(world.reset(seed=0)[0]).size
        world.close()
        coordinates, recent = _box(self.goal_size + size), _box(model.history * size)
        self.space = spaces.Dict(
            {"observation": recent, "achieved_goal": coordinates, "desired_goal": coordinates}
        )
        self.policy = {
            "features_extractor_class": LatentsOnly,
            "features_extractor_kwargs": {"num_coordinates": self.goal_size},
        }

    def __call__(
        self, seen: Mapping[str, NDArray[Any]], before: Observation | None = None
    ) -> Observation:
        """Return latents and goals. Missing history repeats the first latent of the episode.

        Missing goal coordinates are 0.
        """
        now, unseen = self.encode(seen), np.zeros(self.goal_size, np.float32)
        recent = (
            before["observation"][len(now) :] if before else np.tile(now, self.model.history - 1)
        )
        return {
            "observation": np.concatenate([recent, now]),
            "achieved_goal": np.concatenate(
                [seen.get("achieved_goal", unseen), now], dtype=np.float32
            ),
            "desired_goal": np.concatenate(
                [seen.get("desired_goal", unseen), self._encode_goal(seen)], dtype=np.float32
            ),
        }

    @property
    def normalised(self) -> list[str]:
        """All inputs."""
        return list(self.space.spaces)

    def encode(self, seen: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return the latent of the present observation [D]."""
        return encode_rows(self.model, _row(seen), [0]).flatten().numpy()

    def _encode_goal(self, seen: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        goal = seen[self._goal_key]
        if self._goal is None or not np.array_equal(self._goal[0], goal):
            self._goal = (
                goal.copy(),
                encode_goal_rows(self.model, _row(seen), [0]).flatten().numpy(),
            )
        return self._goal[1]


class PixelView(View):
    """The present frame and the goal frame as input, stacked: uint8 [6, size, size]."""

    inputs = "pixels"

    def __init__(self, task: TaskSpec, *, pixels: int) -> None:
        super().__init__(task, pixels=pixels)
        self.world_keys = ("pixels", "goal_pixels")
        self.space = spaces.Dict({IMAGE: spaces.Box(0, 255, (6, pixels, pixels), np.uint8)})

    def __call__(
        self, seen: Mapping[str, NDArray[Any]], before: Observation | None = None
    ) -> Observation:
        """Return both frames as one."""
        del before
        frames = np.concatenate([seen["pixels"], seen["goal_pixels"]], axis=-1)
        return {IMAGE: np.ascontiguousarray(frames.transpose(2, 0, 1))}

    @property
    def normalised(self) -> list[str]:
        """No inputs, since the scale of frames is known."""
        return []


class LatentsOnly(BaseFeaturesExtractor):
    """Features of a policy on latents: all latents, without the goal coordinates."""

    def __init__(self, observation_space: spaces.Dict, *, num_coordinates: int) -> None:
        recent, goal = (observation_space[key].shape[0] for key in ("observation", "desired_goal"))  # pyright: ignore[reportOptionalSubscript]
        super().__init__(observation_space, recent + goal - num_coordinates)
        self.num_coordinates = num_coordinates

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return features [N, (K + 1) D]."""
        goal = observations["desired_goal"][:, self.num_coordinates :]
        return torch.cat([observations["observation"], goal], dim=1).float()


class ShiftedReplayBuffer(DictReplayBuffer):
    """Replay buffer that shifts frames by up to ``MAX_SHIFT`` pixels (DrQ)."""

    def _get_samples(self, batch_inds: NDArray[np.int_], env: Any = None) -> Any:
        samples = super()._get_samples(batch_inds, env)
        before, after = samples.observations, samples.next_observations
        return samples._replace(
            observations={**before, IMAGE: shift_images(before[IMAGE], MAX_SHIFT)},
            next_observations={**after, IMAGE: shift_images(after[IMAGE], MAX_SHIFT)},
        )


def shift_images(images: Tensor, reach: int) -> Tensor:
    """Shift each image [N, C, s, s] by up to ``reach`` pixels; edges are repeated.

    The shifts are drawn from torch's global generator.
    """
    count, _, size, _ = images.shape
    moves = torch.randint(-reach, reach + 1, (2, count, 1))
    rows, columns = (torch.arange(size) + moves).clamp(0, size - 1)
    picked = images[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def make_view(task: TaskSpec, *, world_model: Path | None, pixels: bool, size: int) -> View:
    """Return the view for the state, the latents of ``world_model``, or frames of side ``size``.

    Raises:
        ValueError: Both a world model and frames were asked for.
        CheckpointError: The world model is missing or of another task.
    """
    check_inputs(world_model, pixels)
    if world_model:
        model = load_world_model(Path(world_model), task_id=task.id).model
        return LatentView(task, model, weights=fingerprint(world_model), pixels=size)
    return PixelView(task, pixels=size) if pixels else View(task)


def _row(seen: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {key: values[None] for key, values in seen.items()}


def _box(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)

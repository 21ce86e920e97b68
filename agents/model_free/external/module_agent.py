"""A PyTorch module as an agent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jepabench.agents.model_free.external.policy_agent import PolicyAgent
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import make

STATE_INPUTS = ("observation", "desired_goal")
_FRAMES = ("pixels", "goal_pixels")


class ModuleAgent(PolicyAgent):
    """Agent that acts with a function or module from float32 tensors to an action.

    If the parameters of a policy are named after observation keys, it is called with these
    observations, each [1, ...]. Any other policy is called with ``inputs``, concatenated to [1, N],
    by default the state and the goal. It returns an action [1, A] for every control step, or
    [1, n * A] for every block. Frames are [1, side, side, 3] with values from 0 to 255.

    Args:
        policy: Function or module. A module is switched to evaluation mode.
        task_id: Id of the task.
        inputs: Observation keys. The default is described above.
        act: "step" or "block". By default, the size of the action decides.
        pixels: Side length of the frames in pixels.

    Raises:
        UnknownNameError: The task has no such observation.
        ValueError: The policy returns no action, or one that fits neither a control step nor a
            block.
    """

    def __init__(
        self,
        policy: Callable[..., Tensor] | nn.Module,
        *,
        task_id: str,
        inputs: Sequence[str] | None = None,
        act: str | None = None,
        pixels: int = 64,
    ) -> None:
        world = make(task_id, pixels=pixels if set(inputs or ()) & set(_FRAMES) else None)
        known = list(world.observation_space.spaces)
        names = _list_parameters(policy)
        named = inputs is None and bool(names) and set(names) <= {*known, *_FRAMES}
        self.observation_keys = tuple(names if named else inputs or STATE_INPUTS)
        self._by_name = named
        if named and set(names) & set(_FRAMES):
            world.close()
            world = make(task_id, pixels=pixels)
            known = list(world.observation_space.spaces)
        for key in self.observation_keys:
            if key not in known:
                raise unknown_name(f"observation of {task_id}", key, known)
        if isinstance(policy, nn.Module):
            policy.eval()
        self.policy = policy
        example, _ = world.reset(seed=0)
        world.close()
        size = self.decide({key: example[key] for key in self.observation_keys}, 0).size
        super().__init__(task_id=task_id, action_size=size, act=act)

    def begin(self, num_episodes: int) -> None:
        """Do nothing: the policy has no memory."""

    def decide(self, observation: Mapping[str, NDArray[Any]], episode: int) -> NDArray[np.float32]:
        """Return the action of the policy."""
        del episode
        rows = [
            torch.as_tensor(np.asarray(observation[key], dtype=np.float32))[None]
            for key in self.observation_keys
        ]
        with torch.no_grad():
            if self._by_name:
                action = self.policy(**dict(zip(self.observation_keys, rows, strict=True)))
            else:
                action = self.policy(torch.cat([row.flatten(1) for row in rows], dim=1))
        try:
            action = torch.as_tensor(action)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"A policy must return its action as a tensor or an array, got {action!r}."
            ) from error
        return action.detach().cpu().float().numpy().reshape(-1)


def _list_parameters(policy: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters without a default."""
    function = policy.forward if isinstance(policy, nn.Module) else policy
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a built-in function
        return []
    return [item.name for item in parameters if item.default is inspect.Parameter.empty]

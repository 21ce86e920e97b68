"""Use a goal-conditioned Gymnasium environment as a task.

``adapt`` registers the task, and ``Adapted`` is its world. Physics, observations and starts are
those of the environment. The adapter adds what the benchmark needs: goals that are states, and
therefore have a frame; exact snapshots; one seed for the whole episode; a check of actions; and
frames without a graphics driver. The modules of ``jepabench.envs.adapted`` contain adapted tasks.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import cv2
import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.adapted.ray_camera import make_ray_camera
from jepabench.envs.adapted.simulator_state import (
    AdapterError,
    Memory,
    MujocoMemory,
    ReplayMemory,
)
from jepabench.envs.adapted.wrapped import (
    get_action_space,
    get_goal_sizes,
    make_wrapped,
)
from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.errors import unknown_name
from jepabench.envs.mujoco_world.camera import Camera
from jepabench.envs.mujoco_world.rendering import RayCamera
from jepabench.envs.mujoco_world.viewing import view
from jepabench.envs.registry import register
from jepabench.envs.task import EpisodeDraw, TaskSpec, load_entry_point
from jepabench.envs.variations.factors import Factor

__all__ = ["Adapted", "AdapterError", "RandomActions", "adapt", "play", "restart"]

FRAMES = ("rays", "own")
_PLAY_STEPS = 50
_LARGEST_SEED = 2**31


def adapt(
    task_id: str,
    env_id: str,
    *,
    control_dt: float,
    max_steps: int,
    env_kwargs: Mapping[str, Any] | None = None,
    goal: str = "jepabench.envs.adapted.gymnasium_env:restart",
    success_distance: float | None = None,
    success: str | None = None,
    frames: str | None = None,
    camera: Camera | str | None = None,
    colours: Mapping[str, Sequence[float]] | None = None,
    behaviours: Mapping[str, str] | None = None,
    tags: Sequence[str] = (),
    **settings: Any,
) -> TaskSpec:
    """Register a Gymnasium environment as a task and return its spec.

    The task has one stratum, ``any``. The environment is not created yet.

    Args:
        task_id: Id of the task, with a version.
        env_id: Id for ``gymnasium.make``; ``module:Name-v0`` imports the module first.
        control_dt: Time between two actions [s].
        max_steps: Budget of an episode [control steps].
        env_kwargs: Arguments of ``gymnasium.make``. Select a sparse reward, and no termination on
            success.
        goal: ``module:function`` that moves the environment to a goal state; see ``restart``.
        success_distance: Largest Euclidean distance to the desired goal that counts as success. By
            default, an achieved goal is a success if ``compute_reward`` gives it at least the
            reward of the desired goal itself, which is right for sparse rewards.
        success: The success rule in words.
        frames: ``rays`` for the CPU ray caster (default for a MuJoCo model), or ``own`` for
            ``render()`` (default otherwise).
        camera: A ``Camera`` or the name of a fixed camera; None for the model's free camera.
        colours: Red, green, blue and opacity of geoms, by name. The ray caster draws neither sites
            nor textures, so a geom that has only these needs a colour.
        behaviours, tags: See ``TaskSpec``. ``random`` is always a behaviour.
        settings: Further fields of ``TaskSpec``, such as ``default_behaviour``.
    """
    rule = f"Within {success_distance:g} of the goal." if success_distance is not None else None
    looks = {"frames": frames, "camera": camera, "colours": dict(colours or {})}
    aim = {"goal": goal, "success_distance": success_distance}
    spec = TaskSpec(
        id=task_id,
        family="adapted",
        entry_point=f"{__name__}:Adapted",
        kwargs={"env_id": env_id, "env_kwargs": dict(env_kwargs or {}), **aim, **looks},
        control_dt=control_dt,
        max_steps=max_steps,
        strata=("any",),
        success=success or rule or f"The reward of {env_id} is as high as at the goal itself.",
        behaviours={"random": f"{__name__}:RandomActions", **(behaviours or {})},
        physics=env_id,
        tags=frozenset(tags),
        **settings,
    )
    register(spec)
    return spec


def restart(env: gymnasium.Env[Any, Any], rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
    """Reset the environment again and return the observation of the goal state.

    Use this function if resets vary the quantities that the goal specifies. It also shows what a
    ``goal`` function may do: call ``reset`` with a seed, call ``step``, or change the data of a
    MuJoCo model. A goal function must draw from ``rng`` only, and returns the observation of the
    goal state. It is called after the reset of the episode. The caller then restores the start.
    """
    return env.reset(seed=int(rng.integers(_LARGEST_SEED)))[0]


def play(env: gymnasium.Env[Any, Any], rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
    """Take 50 control steps with random actions, each held for 5 steps, and return the observation.

    The goal state can therefore be reached from the start.
    """
    space = get_action_space(env)
    observation = {}
    for _ in range(_PLAY_STEPS // 5):
        action = rng.uniform(space.low, space.high).astype(space.dtype)
        for _ in range(5):
            observation = env.step(action)[0]
    return observation


class RandomActions:
    """Uniform actions within the bounds."""

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        self._space, self._rng = env.action_space, rng

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the next action [A]."""
        del observation
        return self._rng.uniform(self._space.low, self._space.high).astype(np.float32)


class Adapted(GoalEnv):
    """The world of a task that adapts a goal-conditioned Gymnasium environment.

    Physics, observations and the distribution of starts are those of the environment. Its goals,
    its time limit and its termination are not used.

    ## Action space

    The action space of the environment.

    ## Observation space

    ``observation`` and ``achieved_goal`` are those of the environment, as float64 vectors.
    ``desired_goal`` is the ``achieved_goal`` of the goal state.

    ## Rewards

    ``sparse``: 0 on success, else -1. ``dense``: the negative Euclidean distance between achieved
    and desired goal.

    ## Starting state

    The environment is reset with a seed that the episode draws. The goal is the state to which the
    task's ``goal`` function leads, by default that of another reset.

    ## Success

    The distance is at most ``success_distance``, or, if that is not given, ``compute_reward`` is at
    least as high as at the goal itself.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    See ``GoalEnv`` and ``jepabench.envs.adapted.gymnasium_env.adapt``.

    ``info["violation"]`` is true if the environment has terminated without a success.

    ## Versions

    * v1: first version.

    Raises:
        AdapterError: The environment cannot be created, has no goals, or has unbounded actions.
    """

    distance_unit = ""

    def __init__(
        self,
        task: TaskSpec,
        *,
        env_id: str,
        env_kwargs: Mapping[str, Any],
        goal: str,
        success_distance: float | None,
        frames: str | None,
        camera: Camera | str | None,
        colours: Mapping[str, Sequence[float]],
        **kwargs: Any,
    ) -> None:
        if frames not in (None, *FRAMES):
            raise unknown_name("frames", str(frames), FRAMES)
        self.wrapped = make_wrapped(env_id, {**env_kwargs, "render_mode": "rgb_array"})
        space = get_action_space(self.wrapped)
        sizes = get_goal_sizes(self.wrapped)
        super().__init__(
            task,
            action_space=spaces.Box(
                space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32
            ),
            observation_size=sizes["observation"],
            goal_size=sizes["achieved_goal"],
            **kwargs,
        )
        self._memory: Memory = _make_memory(self.wrapped)
        has_model = isinstance(self._memory, MujocoMemory)
        if frames == "rays" and not has_model:
            raise AdapterError(
                f"{env_id} has no MuJoCo model, which frames='rays' needs. Use frames='own'."
            )
        self._ray_camera = (
            make_ray_camera(self.wrapped, camera, colours)
            if has_model and frames != "own"
            else None
        )
        self._success_distance = success_distance
        self._bring_to_goal = load_entry_point(goal)
        self._own_dtype = space.dtype
        self._seen, self._achieved, self._has_ended = (
            np.zeros(sizes["observation"]),
            np.zeros(sizes["achieved_goal"]),
            False,
        )

    @property
    def camera(self) -> RayCamera:
        """The camera of the ray caster.

        Raises:
            AdapterError: The environment renders its own frames.
        """
        if self._ray_camera is None:
            raise AdapterError(f"{self.task.id} renders its own frames and has no ray camera.")
        return self._ray_camera

    def distance(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return the Euclidean distance, [..., G] and [..., G] to [...]."""
        return np.sqrt(np.square(np.subtract(achieved_goal, desired_goal)).sum(axis=-1))

    def is_success(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Return whether the task's success rule holds, [..., G] and [..., G] to [...]."""
        if self._success_distance is not None:
            return self.distance(achieved_goal, desired_goal) <= self._success_distance
        achieved, desired = np.broadcast_arrays(achieved_goal, desired_goal)
        rows = [goal.reshape(-1, goal.shape[-1]) for goal in (achieved, desired)]
        return (self._own_reward(*rows) >= self._own_reward(rows[1], rows[1])).reshape(
            achieved.shape[:-1]
        )

    def _own_reward(self, achieved: NDArray[Any], desired: NDArray[Any]) -> NDArray[np.float64]:
        reward = self.wrapped.get_wrapper_attr("compute_reward")
        if self._takes_rows:
            return np.asarray(reward(achieved, desired, {}), np.float64)
        return np.array(
            [reward(*pair, {}) for pair in zip(achieved, desired, strict=True)], np.float64
        )

    @cached_property
    def _takes_rows(self) -> bool:
        """Whether ``compute_reward`` accepts several goals [N, G]."""
        rows = np.zeros((3, len(self._achieved)))
        try:
            return np.shape(self.wrapped.get_wrapper_attr("compute_reward")(rows, rows, {})) == (3,)
        except Exception:  # a reward function for single goals may raise anything
            return False

    def _factors(self) -> Sequence[Factor]:
        return () if self._ray_camera is None else view(self)

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        del stratum, split  # the task has one stratum and no layouts
        self._look(self._memory.env.reset(seed=int(rng.integers(_LARGEST_SEED)))[0])
        start = self._get_physics()
        self._look(self._bring_to_goal(self._memory.env, rng))
        return EpisodeDraw(start, self._get_physics(), self.task.max_steps // 2)

    def _look(self, observation: Mapping[str, NDArray[Any]], *, has_ended: bool = False) -> None:
        self._seen = np.array(observation["observation"], np.float64).ravel()
        self._achieved = np.array(observation["achieved_goal"], np.float64).ravel()
        self._has_ended = has_ended

    def _get_physics(self) -> NDArray[np.float64]:
        return np.concatenate([self._seen, self._achieved, [self._has_ended], self._memory.get()])

    def _set_physics(self, physics: NDArray[np.float64]) -> None:
        ends = np.cumsum([len(self._seen), len(self._achieved), 1])
        self._seen, self._achieved, ended, state = np.split(physics, ends)
        self._has_ended = bool(ended[0])
        self._memory.set(state)
        if isinstance(self._memory, MujocoMemory):
            self.wrapped.unwrapped.np_random = self.np_random  # part of snapshots

    def _step_physics(self, action: NDArray[np.float64]) -> None:
        observation, _, terminated, _, _ = self._memory.env.step(action.astype(self._own_dtype))
        self._look(observation, has_ended=bool(terminated))

    def _observation(self) -> NDArray[np.float64]:
        return self._seen.copy()

    def _achieved_goal(self) -> NDArray[np.float64]:
        return self._achieved.copy()

    def _violated(self) -> bool:
        return self._has_ended and not self._is_success_now()

    def _frame(self, size: int) -> NDArray[np.uint8]:
        if self._ray_camera is not None:
            return self._ray_camera.frame(self.wrapped.unwrapped.data, size)
        frame = self.wrapped.render()
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3:
            raise AdapterError(
                f"{self.task.id}: render() must return a uint8 frame [height, width, 3], got "
                f"{type(frame).__name__}."
            )
        side = min(frame.shape[:2])
        top, left = ((length - side) // 2 for length in frame.shape[:2])
        square = np.ascontiguousarray(frame[top : top + side, left : left + side, :3])
        return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)

    def close(self) -> None:
        """Close the environment."""
        self.wrapped.close()


def _make_memory(env: gymnasium.Env[Any, Any]) -> Memory:
    found = (getattr(env.unwrapped, "model", None), getattr(env.unwrapped, "data", None))
    if isinstance(found[0], mujoco.MjModel) and isinstance(found[1], mujoco.MjData):
        return MujocoMemory(env)
    return ReplayMemory(env)

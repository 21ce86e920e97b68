"""GoalEnv: a goal-conditioned environment with exact snapshots and fully seeded episodes.

``GoalEnv`` implements what all worlds share: episodes, rewards, frames and snapshots. A world
implements the hooks in ``jepabench.envs.core.world``. Observation keys and ``compute_reward`` are
those of Gymnasium-Robotics, so that HER and published baselines run without changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.core.actions import check_actions
from jepabench.envs.core.world import Observation, World
from jepabench.envs.errors import unknown_name
from jepabench.envs.task import SPLITS, EpisodeDraw, State, TaskSpec
from jepabench.envs.variations.factors import FROZEN, REVERSED, Variations
from jepabench.envs.variations.moving_objects import MovingObject

REWARDS = ("sparse", "dense")
OPTIONS = ("stratum", "split", "variation")
_MAX_REDRAWS = 1000


class Replay(NamedTuple):
    """Outcomes of T control steps, each [T].

    Attributes:
        successes: The success rule of the task.
        joint: ``success_joint`` where the task has it, else ``successes``.
        strict: ``success_strict`` where the task has it, else ``successes``.
        distances: Distance to the goal in task units.
        violations: Whether a keep-out rule was broken.
    """

    successes: NDArray[np.bool_]
    joint: NDArray[np.bool_]
    strict: NDArray[np.bool_]
    distances: NDArray[np.float64]
    violations: NDArray[np.bool_]


class GoalEnv(World):
    """A goal-conditioned environment.

    An observation is a dict with ``observation`` (low-dimensional state), ``achieved_goal`` and
    ``desired_goal`` (float64, task units). With ``pixels=size`` it also has ``pixels`` and
    ``goal_pixels`` (uint8 [size, size, 3]). ``terminated`` is always False, because the world runs
    on after a success. ``truncated`` is True when the budget of the episode is used up.

    ``info`` has ``is_success``, ``distance`` (task units, lower is better), ``violation`` (a
    keep-out rule was broken), ``budget`` and ``reference_steps`` [control steps].

    ``reset(seed=s)`` determines everything about an episode of the default stratum and split. Use
    ``options={"stratum": ..., "split": ...}`` for others. The option ``"variation"`` changes looks
    or physics (``jepabench.envs.variations``): ``"mild"``, ``"hard"``, or a mapping from factors
    to levels or values, such as ``{"light": "dim"}``.

    Args:
        task: The task specification.
        action_space: Bounds of the actions.
        observation_size: Length of ``observation``.
        goal_size: Length of the goals.
        pixels: Side of the square frames, 16 to 1024, or None for no frames.
        reward: ``sparse`` (0 on success, else -1) or ``dense`` (minus the distance).
        render_mode: ``rgb_array`` or None.
        render_size: Side of the frames that ``render`` returns.

    Raises:
        UnknownNameError: ``reward`` or ``render_mode`` is unknown.
        ValueError: ``pixels`` is not an integer in its range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        task: TaskSpec,
        *,
        action_space: spaces.Box,
        observation_size: int,
        goal_size: int,
        pixels: int | None = None,
        reward: str = "sparse",
        render_mode: str | None = None,
        render_size: int = 256,
    ) -> None:
        if reward not in REWARDS:
            raise unknown_name("reward", reward, REWARDS)
        if pixels is not None and not (
            isinstance(pixels, (int, np.integer)) and 16 <= pixels <= 1024
        ):
            raise ValueError(
                "pixels (side length of a frame) must be a whole number from 16 to 1024, or None, "
                f"got {pixels!r}."
            )
        if render_mode not in (None, "rgb_array"):
            raise unknown_name("render_mode", str(render_mode), ("rgb_array",))
        self.task, self.pixels, self.reward = task, pixels, reward
        self.render_mode, self.render_size = render_mode, render_size
        self.action_space = action_space  # pyright: ignore[reportIncompatibleVariableOverride]
        box: dict[str, spaces.Space[Any]] = {
            "observation": _unbounded(observation_size),
            "achieved_goal": _unbounded(goal_size),
            "desired_goal": _unbounded(goal_size),
        }
        if pixels is not None:
            frame = spaces.Box(0, 255, (pixels, pixels, 3), np.uint8)
            box |= {"pixels": frame, "goal_pixels": frame}
        self.observation_space = spaces.Dict(box)  # pyright: ignore
        self._draw: EpisodeDraw | None = None
        self._present_world: Mapping[str, NDArray[Any]] = {}
        self._num_steps = 0
        self._desired_goal = np.zeros(goal_size)
        self._goal_frame: NDArray[np.uint8] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode. A draw that is solved at the start is drawn again.

        Raises:
            UnknownNameError: An option, stratum, split, factor or level is unknown.
            VariationError: A factor cannot have this value.

        After an error, the previous episode continues.
        """
        options = dict(options or {})
        for name in options:
            if name not in OPTIONS:
                raise unknown_name("option of reset", name, OPTIONS)
        stratum = options.get("stratum", self.task.strata[0])
        split = options.get("split", "train")
        if stratum not in self.task.strata:
            raise unknown_name(f"stratum of {self.task.id}", stratum, self.task.strata)
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        variation = self.variations.checked(options.get("variation"))
        super().reset(seed=seed)
        values = self.variations.draw(variation, self.np_random)
        self.variations.apply(values)  # before the draw, which may depend on sizes and friction
        for _ in range(_MAX_REDRAWS):
            draw = self._draw_episode(self.np_random, stratum=stratum, split=split)
            self._begin(replace(draw, world={**draw.world, **values}) if values else draw)
            if not self._is_success_now():
                break
        else:
            raise RuntimeError(
                f"{self.task.id}: {_MAX_REDRAWS} draws of stratum {stratum!r} "
                "were solved at the start."
            )
        observation = self._observe()
        info = self._info(observation, violated=self._violated())
        return observation, info

    def step(self, action: NDArray[Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one control step.

        Raises:
            InvalidActionError: The action has the wrong shape, is NaN, or is out of bounds. The
                world is unchanged.
        """
        return self.advance(np.asarray(action)[None])

    def advance(
        self, actions: NDArray[Any], *, pixels: bool = True
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take control steps [K, A] and observe the world after the last one.

        ``info["violation"]`` is True if any of the steps broke a keep-out rule. With
        ``pixels=False``, the observation has no frames.
        """
        violated = False
        for action in self._checked(np.asarray(actions)):
            self._take_step(action)
            self._num_steps += 1
            violated |= self._violated()
        observation = self._observe(pixels=pixels)
        info = self._info(observation, violated=violated)
        reward = (
            -info["distance"] if self.reward == "dense" else float(info["is_success"]) - 1.0
        )  # as compute_reward
        return observation, reward, False, self._num_steps >= self.budget, info

    def replay(self, actions: NDArray[Any]) -> Replay:
        """Take control steps [T, A] and return the outcome of each.

        This is several times as fast as calling ``step`` T times, because it makes no observations
        and computes all distances at once. A distance may differ from that of ``step`` in its
        last bit.

        Raises:
            InvalidActionError: As in ``step``; no step is taken.
        """
        checked = self._checked(np.asarray(actions))
        achieved = np.empty((len(checked), *self._desired_goal.shape))
        violations = np.empty(len(checked), dtype=np.bool_)
        for step, action in enumerate(checked):
            self._take_step(action)
            self._num_steps += 1
            achieved[step] = self._achieved_goal()
            violations[step] = self._violated()
        if type(self)._judge is GoalEnv._judge:
            successes = np.asarray(self.is_success(achieved, self._desired_goal))
            distances = np.asarray(self.distance(achieved, self._desired_goal))
            return Replay(successes, successes, successes, distances, violations)
        judged = [self._judge(goal) for goal in achieved]
        successes, joint, strict = (
            np.array([info.get(name, info["is_success"]) for info in judged], dtype=np.bool_)
            for name in ("is_success", "success_joint", "success_strict")
        )
        distances = np.array([info["distance"] for info in judged])
        return Replay(successes, joint, strict, distances, violations)

    def render(self) -> NDArray[np.uint8]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the present frame, uint8 [render_size, render_size, 3]."""
        return self._frame(self.render_size)

    def compute_reward(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any], info: Any
    ) -> NDArray[np.float64]:
        """Return the rewards [...] of goals [..., G] and [..., G]; ``info`` is ignored."""
        del info
        if self.reward == "dense":
            return -self.distance(achieved_goal, desired_goal)
        return self.is_success(achieved_goal, desired_goal).astype(np.float64) - 1.0

    @cached_property
    def variations(self) -> Variations:
        """The factors of variation of this world."""
        return Variations(self.task.id, self._factors)

    @cached_property
    def moving_objects(self) -> tuple[MovingObject, ...]:
        """The objects that events can act on."""
        return tuple(self._moving_objects())

    @cached_property
    def observation_names(self) -> tuple[str, ...]:
        """Names of the entries of ``observation`` [O]; numbered if the world names none."""
        names = tuple(self._observation_names())
        size = (self.observation_space["observation"].shape or (0,))[0]
        return names if len(names) == size else tuple(f"observation {i}" for i in range(size))

    @property
    def draw(self) -> EpisodeDraw:
        """The draw of the present episode.

        Raises:
            RuntimeError: ``reset`` has not been called.
        """
        if self._draw is None:
            raise RuntimeError(f"{self.task.id}: call reset() first.")
        return self._draw

    @property
    def budget(self) -> int:
        """Control steps of the present episode (protocol, section 1.5)."""
        return min(self.task.max_steps, max(50, 2 * self.draw.reference_steps))

    def snapshot(self) -> State:
        """Return a complete snapshot of the episode."""
        rng = self.np_random.bit_generator.state
        return State(
            self.task.id,
            self.draw,
            self._get_physics().copy(),
            self._num_steps,
            rng,
            self._present_world,
        )

    def restore(self, state: State) -> Observation:
        """Restore a snapshot of any instance of this task, and return its observation.

        Raises:
            ValueError: It belongs to another task. The world is unchanged.
        """
        if not isinstance(state, State) or state.task_id != self.task.id:
            found = (
                f"a snapshot of {state.task_id}"
                if isinstance(state, State)
                else f"a {type(state).__name__}"
            )
            raise ValueError(
                f"{self.task.id}: restore() needs a state that snapshot() of this task returned, "
                f"got {found}."
            )
        if self._draw is not state.draw:
            self._begin(state.draw)
        self._change_world(state.world)
        self._set_physics(state.physics)
        self._num_steps = state.num_steps
        self.np_random.bit_generator.state = dict(state.rng)
        return self._observe()

    def imagine_goals(self, actions: NDArray[Any]) -> NDArray[np.float64]:
        """Return the goals [S, H, G] after each of H model steps of S candidate plans.

        The world is unchanged. Privileged planners use this. A world may override it with a faster
        method that gives the same numbers.

        Args:
            actions: Control actions [S, H, K, A] within the bounds, K per model step.
        """
        now, rng = self._get_physics().copy(), self.np_random.bit_generator.state
        achieved = np.empty((*actions.shape[:2], len(self._desired_goal)))
        for candidate, plan in enumerate(actions):
            self._set_physics(now)
            self.np_random.bit_generator.state = rng
            for step, block in enumerate(plan):
                for action in block:
                    self._step_physics(action)
                achieved[candidate, step] = self._achieved_goal()
        self._set_physics(now)
        self.np_random.bit_generator.state = rng
        return achieved

    def goal_frame(self, size: int) -> NDArray[np.uint8]:
        """Return the goal image, uint8 [size, size, 3]. The world is unchanged."""
        now, world = self._get_physics().copy(), self._present_world
        self._change_world(self.draw.world)
        self._set_physics(self.draw.goal)
        frame = self._frame(size)
        self._change_world(world)
        self._set_physics(now)
        return frame

    def _begin(self, draw: EpisodeDraw) -> None:
        self._draw, self._num_steps = draw, 0
        self._present_world = {}  # a new object, so that the layout is always applied
        self._change_world(draw.world)
        self._set_physics(draw.goal)
        self._desired_goal = self._achieved_goal()
        self._goal_frame = self._frame(self.pixels) if self.pixels else None
        self._set_physics(draw.start)

    def _change_world(self, world: Mapping[str, NDArray[Any]]) -> None:
        if world is not self._present_world:
            self._present_world = world
            self._set_world(self.variations.layout(world))
            self.variations.apply(world)

    def _take_step(self, action: NDArray[np.float64]) -> None:
        """Take a control step, subject to an event that reverses actions or freezes an object."""
        if self._num_steps < self._present_world.get(REVERSED, 0):
            action = self.action_space.low + (self.action_space.high - action)
        until, index = self._present_world.get(FROZEN, (0, 0))
        if self._num_steps >= until:
            return self._step_physics(action)
        frozen = self.moving_objects[int(index)]
        motion = frozen.get_motion()
        self._step_physics(action)
        frozen.set_motion(motion)

    def _observe(self, *, pixels: bool = True) -> Observation:
        observation: Observation = {
            "observation": self._observation(),
            "achieved_goal": self._achieved_goal(),
            "desired_goal": self._desired_goal.copy(),
        }
        if pixels and self.pixels and self._goal_frame is not None:
            observation["pixels"] = self._frame(self.pixels)
            observation["goal_pixels"] = self._goal_frame.copy()
        return observation

    def _info(self, observation: Observation, *, violated: bool) -> dict[str, Any]:
        return self._judge(observation["achieved_goal"]) | {
            "violation": violated,
            "budget": self.budget,
            "reference_steps": self.draw.reference_steps,
        }

    def _checked(self, actions: NDArray[Any]) -> NDArray[np.float64]:
        return check_actions(self, actions)

    def _judge(self, achieved: NDArray[np.float64]) -> dict[str, Any]:
        return {
            "is_success": bool(self.is_success(achieved, self._desired_goal)),
            "distance": float(self.distance(achieved, self._desired_goal)),
        }

    def _is_success_now(self) -> bool:
        return bool(self.is_success(self._achieved_goal(), self._desired_goal))


def _unbounded(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float64)

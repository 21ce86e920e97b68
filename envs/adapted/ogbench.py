"""The Cube task of OGBench: an arm moves a cube to another position.

It needs the extra ``ogbench``, which installs OGBench without its training dependencies.
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.adapted.gymnasium_env import Adapted, adapt
from jepabench.envs.core.goal_env import GoalEnv, Observation

SUCCESS_DISTANCE = 0.04  # [m], as in OGBench
_ARM_SIZE = 19

gymnasium.register(
    id="jepabench-adapted/Cube-Single-v1",
    entry_point="jepabench.envs.adapted.ogbench:make_cube",
    disable_env_checker=True,
)

adapt(
    "adapted/Cube-Single-v1",
    "jepabench.envs.adapted.ogbench:jepabench-adapted/Cube-Single-v1",
    control_dt=0.05,
    action_block=5,
    actions_per_block=5,
    max_steps=200,
    success="The middle of the cube is within 0.04 m of the goal.",
    camera="front_pixels",
    behaviours={"expert": "jepabench.envs.adapted.ogbench:CubeExpert"},
    tags=("manipulation",),
)


class CubeGoals(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Gives OGBench's Cube the observations of a goal-conditioned environment.

    ``observation`` consists of 19 numbers of the arm and the position and quaternion of the cube.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        box = {"observation": _ARM_SIZE + 7, "achieved_goal": 3, "desired_goal": 3}
        self.observation_space = spaces.Dict(
            {key: spaces.Box(-np.inf, np.inf, (size,)) for key, size in box.items()}
        )
        self.action_space = spaces.Box(-1.0, 1.0, (5,), np.float32)

    def reset(self, **kwargs: Any) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(**kwargs)
        return self._with_goals(observation, info), info

    def step(
        self, action: NDArray[Any]
    ) -> tuple[dict[str, NDArray[np.float64]], Any, bool, bool, dict[str, Any]]:
        """Take one control step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_goals(observation, info), reward, terminated, truncated, info

    def compute_reward(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any], info: Any
    ) -> NDArray[np.float64]:
        """Return 0 within the success distance, else -1."""
        del info
        near = np.linalg.norm(achieved_goal - desired_goal, axis=-1) <= SUCCESS_DISTANCE
        return near.astype(np.float64) - 1.0

    def _with_goals(
        self, observation: NDArray[Any], info: dict[str, Any]
    ) -> dict[str, NDArray[np.float64]]:
        place = info["privileged/block_0_pos"]
        return {
            "observation": np.concatenate(
                [observation[:_ARM_SIZE], place, info["privileged/block_0_quat"]]
            ),
            "achieved_goal": place.copy(),
            "desired_goal": info["privileged/target_block_pos"].copy(),
        }


def make_cube(render_mode: str | None = None) -> CubeGoals:
    """Make the environment with one cube. A reset draws the positions of arm and cube."""
    import ogbench.manipspace  # noqa: F401  (registers its environments)

    with warnings.catch_warnings():
        # The environment renders "rgb_array", but its metadata lists no mode.
        warnings.filterwarnings("ignore", message=".*render_mode")
        env = gymnasium.make(
            "cube-single-v0",
            mode="data_collection",
            terminate_at_goal=False,
            visualize_info=False,
            render_mode=render_mode,
            max_episode_steps=-1,
            disable_env_checker=True,
        )
    return CubeGoals(env)


class CubeExpert:
    """OGBench's scripted oracle, which grasps the cube, carries it to the goal and releases it."""

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        from ogbench.manipspace.oracles.markov.cube_markov import CubeMarkovOracle

        self._cube: Any = cast(Adapted, env).wrapped.unwrapped
        self._oracle = CubeMarkovOracle(env=self._cube)
        self._oracle.reset(None, None)
        # The oracle draws the final pose of the arm from the global stream. Draw it from rng.
        self._oracle._final_pos = rng.uniform(*self._cube._arm_sampling_bounds)
        self._oracle._final_yaw = rng.uniform(-np.pi, np.pi)

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the next action [5]."""
        info = self._cube.compute_ob_info()
        goal = {
            "privileged/target_block": 0,
            "privileged/target_block_pos": observation["desired_goal"],
        }
        yaw = {"privileged/target_block_yaw": info["privileged/block_0_yaw"]}
        return np.asarray(self._oracle.select_action(None, {**info, **goal, **yaw}), np.float32)

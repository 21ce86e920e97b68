"""Create the environment that a task adapts, and check its spaces."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces

from jepabench.envs.adapted.simulator_state import AdapterError

GOAL_KEYS = ("observation", "achieved_goal", "desired_goal")


def make_wrapped(env_id: str, kwargs: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """Create the environment that a task adapts.

    Args:
        env_id: Id for ``gymnasium.make``.
        kwargs: Keyword arguments of ``gymnasium.make``.

    Raises:
        AdapterError: The package is missing, or the environment does not start.
    """
    try:
        env = gymnasium.make(env_id, max_episode_steps=-1, disable_env_checker=True, **kwargs)
        env.reset(seed=0)  # some fail, or create their model, only here
    except (ImportError, gymnasium.error.Error) as error:
        raise AdapterError(
            f"{env_id} cannot be created: {error} Install its package. The environments in "
            "jepabench.envs.adapted need the extras `robotics` and `ogbench`: "
            "pip install 'jepabench[robotics,ogbench]'."
        ) from error
    except Exception as error:  # the code of another package may raise anything
        raise AdapterError(_explain_failed_start(env_id, error)) from error
    # The mazes of Gymnasium-Robotics leave the file of their model in the temporary folder.
    if left_behind := getattr(env.unwrapped, "tmp_xml_file_path", None):
        Path(left_behind).unlink(missing_ok=True)
    return env


def _explain_failed_start(env_id: str, error: Exception) -> str:
    """Return the line of code that failed, and the versions that may be incompatible."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}: {frame.line}"
    return (
        f"{env_id} does not start: {type(error).__name__}{f' ({error})' if str(error) else ''} in "
        f"{place}. The error is in the code of the environment. Its package may not support MuJoCo "
        f"{mujoco.__version__} and Gymnasium {gymnasium.__version__}. Install compatible versions, "
        "or check env_kwargs."
    )


def get_action_space(env: gymnasium.Env[Any, Any]) -> spaces.Box:
    """Return the action space.

    Raises:
        AdapterError: The space is not a bounded Box with one axis.
    """
    space = env.action_space
    if not (isinstance(space, spaces.Box) and space.is_bounded() and len(space.shape) == 1):
        raise AdapterError(
            f"{env} has the action space {space}. A task needs a bounded Box with one axis. Wrap "
            "the environment."
        )
    return space


def get_goal_sizes(env: gymnasium.Env[Any, Any]) -> dict[str, int]:
    """Return the length of observation, achieved goal and desired goal, by key.

    Raises:
        AdapterError: The observation space is not a Dict with these keys.
    """
    space = env.observation_space
    if not (isinstance(space, spaces.Dict) and set(GOAL_KEYS) <= set(space.keys())):
        raise AdapterError(
            f"{env} has the observation space {space}. A task needs a Dict with "
            f"{', '.join(GOAL_KEYS)}. Wrap the environment."
        )
    return {key: int(np.prod(space[key].shape or (1,))) for key in GOAL_KEYS}

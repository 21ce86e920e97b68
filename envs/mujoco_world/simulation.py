"""A MuJoCo simulation whose states can be saved and restored exactly.

MuJoCo's integration state includes everything that the next step depends on, such as the solver's
warm start. Body poses are derived data that lag one step behind. They are updated here after every
change, so that cameras and observations see the same after ``step`` and after ``set_state``.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

STATE_SIGNATURE = int(mujoco.mjtState.mjSTATE_INTEGRATION)


class Simulation:
    """A MuJoCo model and its data.

    Attributes:
        model: The compiled model; change it only where ``GoalEnv._set_world`` does.
        data: The present state and what follows from it.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model = model
        self.data = mujoco.MjData(model)
        self.state_size = mujoco.mj_stateSize(model, STATE_SIGNATURE)
        mujoco.mj_kinematics(model, self.data)

    def step(self, num_steps: int = 1) -> None:
        """Advance time by ``num_steps`` physics steps with the present controls."""
        mujoco.mj_step(self.model, self.data, num_steps)
        mujoco.mj_kinematics(self.model, self.data)

    def get_state(self) -> NDArray[np.float64]:
        """Return a copy of the full integration state [state_size]."""
        state = np.empty(self.state_size)
        mujoco.mj_getState(self.model, self.data, state, STATE_SIGNATURE)
        return state

    def set_state(self, state: NDArray[np.float64]) -> None:
        """Put back what ``get_state`` gave; the steps that follow are the same to the last bit.

        Raises:
            ValueError: The state is not of this model.
        """
        if state.shape != (self.state_size,):
            raise ValueError(
                f"A state of this model must have shape {(self.state_size,)}, got {state.shape}."
            )
        mujoco.mj_setState(self.model, self.data, state, STATE_SIGNATURE)
        mujoco.mj_kinematics(self.model, self.data)

    def rest_state(self, joints: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
        """Return the state at rest, at time zero, with these joint positions [m, rad, 1].

        The simulation is in that state afterwards. Joints that are not named are where the model
        says.
        """
        mujoco.mj_resetData(self.model, self.data)
        for name, position in joints.items():
            self.data.joint(name).qpos[:] = position
        mujoco.mj_kinematics(self.model, self.data)
        return self.get_state()


class JointMotion:
    """Pose and velocity of MuJoCo joints, for ``MovingObject``.

    The first joints must give the position x, y.

    Args:
        simulation: Return the present simulation of the world.
        joints: Names of the joints.
    """

    def __init__(self, simulation: Callable[[], Simulation], joints: Sequence[str]) -> None:
        self._simulation, self._joints = simulation, tuple(joints)

    def get(self) -> NDArray[np.float64]:
        """Return positions and velocities of all joints."""
        data = self._simulation().data
        joints = [data.joint(name) for name in self._joints]
        return np.concatenate([joint.qpos for joint in joints] + [joint.qvel for joint in joints])

    def set(self, motion: NDArray[np.float64]) -> None:
        """Put back what ``get`` gave."""
        simulation = self._simulation()
        joints = [simulation.data.joint(name) for name in self._joints]
        start = 0
        for part in [joint.qpos for joint in joints] + [joint.qvel for joint in joints]:
            part[:] = motion[start : start + len(part)]
            start += len(part)
        mujoco.mj_kinematics(simulation.model, simulation.data)

"""Control of the arm by displacements of its gripper, inverse kinematics and position servos."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import math
from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepabench.envs.mujoco_world.simulation import Simulation
from jepabench.envs.variations.moving_objects import MovingObject

# A pose of the gripper is [x, y, z, yaw, opening]: of the point between the fingertips [m], about
# the vertical [rad], and the gap between the fingers [m].
POSE_SIZE = 5
WORKSPACE_LOW = np.array([0.27, -0.31, 0.025, -np.pi / 2, 0.0])
WORKSPACE_HIGH = np.array([0.69, 0.31, 0.26, np.pi / 2, 0.085])
STEP = np.array([0.025, 0.025, 0.025, 0.15, 0.0075])  # what an action of 1 changes
LEAD = np.array([0.05, 0.05, 0.05, 0.3, 0.03])  # that the command may be ahead of the arm
SUBSTEPS = 10
_JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
_FINGERS = ("left_finger", "right_finger")
_NUM_JOINTS = len(_JOINTS)
_HOME = np.array(
    [-0.30, -1.60, 2.11, -2.08, -1.57, -1.87]
)  # gripper over the middle of the table, pointing down
_DAMPING = 0.005
_SAMPLES = 16
_ITERATIONS = 2  # within a control step; the command moves little from one to the next
_ITERATIONS_FROM_HOME = 40
_CONVERGED = 1e-9

OBSERVATION_NAMES = (  # of ``Arm.state``
    *("gripper x", "gripper y", "gripper z", "gripper yaw", "finger gap"),
    *(f"joint {number} angle" for number in range(1, 7)),
    *(f"joint {number} velocity" for number in range(1, 7)),
    *(f"command offset {name}" for name in ("x", "y", "z", "yaw", "gap")),
)


class Arm:
    """The arm in a simulation of ``table.xml``, with its gripper always pointing down.

    An action displaces the commanded pose, which stays within the workspace and near the arm's own
    pose. Damped least squares (Nakamura and Hanafusa, 1986) turn it into joint angles, which
    position servos follow. As in OGBench's manipulation tasks; there the displacement starts at the
    arm's own pose instead, so that a resting arm slowly gives way to a load.

    Args:
        simulation: Where the arm is.
        grips: Whether the fifth action opens and closes the gripper; otherwise it has no effect.

    Attributes:
        low, high: Poses [5] between which the command stays.
    """

    def __init__(self, simulation: Simulation, *, grips: bool) -> None:
        self.simulation, self._data = simulation, simulation.data
        self._model = model = simulation.model
        self._site = model.site("gripper").id
        self.low, self.high = (
            WORKSPACE_LOW,
            WORKSPACE_HIGH * np.array([1.0, 1.0, 1.0, 1.0, float(grips)]),
        )
        self._duration = SUBSTEPS * model.opt.timestep
        self._sketch = mujoco.MjData(model)  # of joint angles that are being looked for
        self._range = model.jnt_range[:_NUM_JOINTS].copy()
        self._jacobian = np.zeros((6, model.nv))
        self._home = self._solve(
            np.array([0.45, 0.0, 0.15, 0.0, 0.0]), _HOME, _ITERATIONS_FROM_HOME
        )

    @property
    def pose(self) -> NDArray[np.float64]:
        """Where the gripper is, [5]."""
        data = self._data
        turn = data.site_xmat[self._site]
        yaw = math.atan2(turn[3], turn[0])
        x, y, z = data.site_xpos[self._site].tolist()
        return np.array([x, y, z, yaw, data.qpos[_NUM_JOINTS] + data.qpos[_NUM_JOINTS + 1]])

    @property
    def command(self) -> NDArray[np.float64]:
        """The commanded pose of the gripper, [5]."""
        return self._data.userdata.copy()

    @property
    def state(self) -> NDArray[np.float64]:
        """Pose [5], joint angles [6], joint velocities [6], and commanded pose minus pose [5]."""
        pose, data = self.pose, self._data
        return np.concatenate(
            [pose, data.qpos[:_NUM_JOINTS], data.qvel[:_NUM_JOINTS], data.userdata - pose]
        )

    def act(self, action: NDArray[np.float64]) -> None:
        """Take one control step with an action [5] in [-1, 1]."""
        pose, data = self.pose, self._data
        command = (
            (data.userdata + action * STEP).clip(pose - LEAD, pose + LEAD).clip(self.low, self.high)
        )
        data.userdata[:] = command
        # What the servos aim at moves evenly until the next step; a jump would make the gripper
        # jerk.
        wanted = np.empty(_NUM_JOINTS + len(_FINGERS))
        wanted[:_NUM_JOINTS] = self._solve(command, data.act[:_NUM_JOINTS], _ITERATIONS)
        wanted[_NUM_JOINTS:] = command[4] / 2.0
        data.ctrl[:] = (wanted - data.act) / self._duration
        self.simulation.step(SUBSTEPS)

    def rest_state(
        self, pose: NDArray[np.float64], joints: Mapping[str, NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Return the state with the gripper at rest at ``pose`` [5].

        ``joints`` gives the positions of other joints.
        """
        angles = self._solve(pose, self._home, _ITERATIONS_FROM_HOME)
        arm: dict[str, ArrayLike] = dict(zip(_JOINTS, angles, strict=True))
        self.simulation.rest_state({**arm, **dict.fromkeys(_FINGERS, pose[4] / 2.0), **joints})
        self._data.userdata[:] = pose
        self._data.act[:_NUM_JOINTS], self._data.act[_NUM_JOINTS:] = angles, pose[4] / 2.0
        return self.simulation.get_state()

    def as_moving_object(self) -> MovingObject:
        """Return the arm as a moving object for events.

        The gripper must be empty. The motion is x and y of the gripper and the state of the arm.
        """
        low, high = WORKSPACE_LOW[:2], WORKSPACE_HIGH[:2]

        def get() -> NDArray[np.float64]:
            return np.concatenate([self.pose[:2], self.simulation.get_state()])

        def put(motion: NDArray[np.float64]) -> None:
            self.simulation.set_state(motion[2:])
            if (motion[:2] != self.pose[:2]).any():
                self.rest_state(np.concatenate([motion[:2], self.pose[2:]]), {})

        return MovingObject(
            name="fingers",
            get_motion=get,
            set_motion=put,
            sample=lambda rng: rng.uniform(low, high, (_SAMPLES, 2)),
            extent=float((high - low).max()),
        )

    def _solve(
        self, pose: NDArray[np.float64], angles: NDArray[np.float64], iterations: int
    ) -> NDArray[np.float64]:
        """Solve for joint angles [6] of a gripper ``pose`` [5], starting at ``angles`` [6]."""
        # MuJoCo's own routines: a LAPACK may round differently from one processor to the next.
        sketch, jacobian = self._sketch, self._jacobian
        half = pose[3] / 2.0
        target = np.array([math.cos(half), 0.0, 0.0, math.sin(half)])
        turn, difference, error, damped, step = (
            np.empty(4),
            np.empty(4),
            np.empty(6),
            np.empty((6, 6)),
            np.empty(6),
        )
        angles = angles.copy()
        for _ in range(iterations):
            sketch.qpos[:_NUM_JOINTS] = angles
            mujoco.mj_kinematics(self._model, sketch)
            error[:3] = pose[:3] - sketch.site_xpos[self._site]
            mujoco.mju_mat2Quat(turn, sketch.site_xmat[self._site])
            turn[1:] *= -1.0
            mujoco.mju_mulQuat(difference, target, turn)
            mujoco.mju_quat2Vel(error[3:], difference, 1.0)
            if np.abs(error).max() < _CONVERGED:
                break
            mujoco.mj_comPos(self._model, sketch)
            mujoco.mj_jacSite(self._model, sketch, jacobian[:3], jacobian[3:], self._site)
            arm = np.ascontiguousarray(jacobian[:, :_NUM_JOINTS])
            mujoco.mju_mulMatMatT(damped, arm, arm)
            damped.ravel()[::7] += _DAMPING**2
            mujoco.mju_cholFactor(damped, 0.0)
            mujoco.mju_cholSolve(step, damped, error)
            mujoco.mju_mulMatTVec(error, arm, step)
            angles += error
            angles.clip(self._range[:, 0], self._range[:, 1], out=angles)
        return angles

"""The table of the particle tasks, with sliding particles and a pusher."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from jepabench.envs.mujoco_world.camera import Camera
from jepabench.envs.mujoco_world.rendering import RayCamera
from jepabench.envs.mujoco_world.scenery import Thing, add_distractors, distractors, view
from jepabench.envs.mujoco_world.simulation import Simulation
from jepabench.envs.variations.factors import Factor, Value
from jepabench.envs.variations.moving_objects import MovingObject

_SAMPLES = 16
REACH = 0.3  # the pusher's middle stays in a square of twice this side [m]
EDGE = 0.355  # the middles of particles stay in a square of twice this side [m]
SHORTEST_PUSH = 0.02  # what is shorter is not made [m]
SPEED = 0.5  # of the pusher [m/s]
_MASS = 0.01  # of a particle, as in the XML [kg]
_TOP = -0.015  # of the table, as in the XML; the particles' middles are at height 0 [m]
_VIEW = 0.76
_BACKGROUND = (0.45, 0.4, 0.36)
_PARKED = np.array([2.0, 2.0, 0.0])  # far from everything, and out of the picture
_LOWERING_STEPS, _SETTLING_STEPS = 4, 8
_PUSHERS = ("blade", "peg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Particles:
    """What lies on the table.

    Attributes:
        name: Name of all together.
        num: How many there are.
        radius: Radius of one [m].
        colour: Red, green, blue, 0 to 1.
        braking_time: In which one that slides freely loses all but 1/e of its speed [s].
        spacing: Distance at which each is held from the next one in the row [m], or None for loose
            particles.
    """

    name: str
    num: int
    radius: float
    colour: tuple[float, float, float]
    braking_time: float
    spacing: float | None = None


class Table:
    """The simulated table.

    Between two pushes everything is at rest, so the places of the particles are the whole state.

    Args:
        particles: What lies on it.
        pusher: ``blade`` (0.18 m wide, across the direction of the push) or ``peg`` (0.02 m in
            radius).
    """

    def __init__(self, particles: Particles, *, pusher: str) -> None:
        spec = mujoco.MjSpec.from_file(str(Path(__file__).with_name("table.xml")))
        for name in {*_PUSHERS} - {pusher}:
            spec.delete(spec.body(name))
        _add(spec, particles)
        add_distractors(spec, radius=0.02, heights=(_TOP, _TOP + 0.001))
        # A row of links needs Newton's exact solution. For a heap, PGS comes as near to it, and in
        # less time.
        spec.option.solver = (
            mujoco.mjtSolver.mjSOL_NEWTON if particles.spacing else mujoco.mjtSolver.mjSOL_PGS
        )
        self.particles, self.simulation = particles, Simulation(spec.compile())
        self.camera = RayCamera(
            self.simulation.model, Camera.overhead(extent=_VIEW), background=_BACKGROUND
        )
        self._timestep = float(self.simulation.model.opt.timestep)

    @property
    def places(self) -> NDArray[np.float64]:
        """Where the particles are, [N, 2] [m]."""
        return self.simulation.data.qpos[3:].reshape(-1, 2).copy()

    def state_at(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the state with the particles at rest at ``places`` [N, 2].

        The simulation keeps this state.
        """
        model, data = self.simulation.model, self.simulation.data
        mujoco.mj_resetData(model, data)
        data.qpos[:] = np.concatenate([_PARKED, places.ravel()])
        mujoco.mj_kinematics(model, data)
        return self.simulation.get_state()

    def push(self, action: NDArray[np.float64]) -> None:
        """Push from ``action[:2]`` to ``action[2:]``, in units of ``REACH``."""
        start, end = REACH * action[:2], REACH * action[2:]
        way = end - start
        length = float(np.sqrt((way * way).sum()))
        if length < SHORTEST_PUSH:
            return
        data = self.simulation.data
        data.qpos[:2], data.qpos[2] = start, np.arctan2(way[1], way[0])
        self.simulation.step(_LOWERING_STEPS)
        num_steps = int(np.ceil(length / (SPEED * self._timestep)))
        data.qvel[:2] = way / (num_steps * self._timestep)
        self.simulation.step(num_steps)
        data.qpos[:3], data.qvel[:3] = _PARKED, 0.0
        self.simulation.step(_SETTLING_STEPS)
        data.qvel[:] = 0.0
        data.qacc_warmstart[:] = 0.0

    def frame(self, size: int) -> NDArray[np.uint8]:
        """Return the present frame, uint8 [size, size, 3]."""
        return self.camera.frame(self.simulation.data, size)

    def as_moving_object(self, *, extent: float) -> MovingObject:
        """Return all particles as one moving object for events.

        The motion is their centre and their positions relative to it.
        """

        def get() -> NDArray[np.float64]:
            places = self.places
            middle = places.mean(axis=0)
            return np.concatenate([middle, (places - middle).ravel()])

        def put(motion: NDArray[np.float64]) -> None:
            self.state_at(motion[:2] + motion[2:].reshape(-1, 2))

        def sample(rng: np.random.Generator) -> NDArray[np.float64]:
            offsets = get()[2:].reshape(-1, 2)
            return rng.uniform(
                -EDGE - offsets.min(axis=0), EDGE - offsets.max(axis=0), (_SAMPLES, 2)
            )

        return MovingObject(
            name=self.particles.name, get_motion=get, set_motion=put, sample=sample, extent=extent
        )

    def factors(self) -> tuple[Factor, ...]:
        """Return the factors of variation."""
        name, reach = self.particles.name, (-REACH, -REACH, REACH, REACH)
        particles = Thing(
            self, name, geoms=[f"particle_{index}" for index in range(self.particles.num)]
        )
        return (
            particles.colour(hard=(0.0, 0.75)),
            particles.hidden(),
            Thing(self, "table", geoms=("table",)).colour(hard=(0.8, 1.0)),
            self._braking_time(),
            distractors(self, area=reach),
            *view(self),
        )

    def _braking_time(self) -> Factor:
        own, damping = self.particles.braking_time, self.simulation.model.dof_damping

        def apply(value: Value) -> None:
            damping[3:] = _MASS / value[0]

        return Factor(
            name="braking_time",
            description="time in which a freely sliding particle slows down to 1/e of its speed",
            unit="s",
            default=own,
            apply=apply,
            allowed=(0.005, 0.1),
            mild=(0.8 * own, 1.25 * own),
            hard=(0.6 * own, 2.0 * own),
        )


def _add(spec: mujoco.MjSpec, particles: Particles) -> None:
    """Add the particles, whose joints give their places, and the links between them."""
    look = spec.find_default("particle")
    for index in range(particles.num):
        place = np.array([index * (particles.spacing or 0.0), 0.0, 0.0])
        body = spec.worldbody.add_body(name=f"particle_{index}", pos=place)
        for axis, letter in enumerate("xy"):
            body.add_joint(
                name=f"particle_{index}_{letter}",
                type=mujoco.mjtJoint.mjJNT_SLIDE,
                axis=np.eye(3)[axis],
                ref=place[axis],
                damping=[_MASS / particles.braking_time, 0.0, 0.0],
                range=[-EDGE, EDGE],
                limited=True,
            )
        body.add_geom(
            look,
            name=f"particle_{index}",
            size=[particles.radius, 0.0, 0.0],
            rgba=[*particles.colour, 1.0],
        )
        body.add_site(name=f"particle_{index}")
    for index in range(particles.num - 1) if particles.spacing else ():
        _link(spec, index)


def _link(spec: mujoco.MjSpec, index: int) -> None:
    """Holds a particle at its present distance from the next one."""
    tendon = spec.add_tendon(name=f"link_{index}")
    for end in (index, index + 1):
        tendon.wrap_site(f"particle_{end}")
    spec.add_equality(
        type=mujoco.mjtEq.mjEQ_TENDON,
        objtype=mujoco.mjtObj.mjOBJ_TENDON,
        name1=tendon.name,
        solref=[0.02, 1.0],
        solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
    )

"""Ready factors of variation of MuJoCo worlds: how things look and weigh, and what is only drawn.

Each is exact: at its default the model has the bytes that it was compiled with.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepabench.envs.mujoco_world.rendering import RayCamera
from jepabench.envs.mujoco_world.simulation import Simulation
from jepabench.envs.mujoco_world.viewing import view
from jepabench.envs.variations.factors import (
    NUM_DISTRACTORS,
    Factor,
    Range,
    Value,
    VariationError,
    make_distractor_factor,
)

__all__ = ["COLOURS", "Scene", "Thing", "add_distractors", "add_double", "distractors", "view"]

COLOURS = {
    "red": (0.85, 0.15, 0.12),
    "orange": (0.93, 0.55, 0.13),
    "yellow": (0.92, 0.80, 0.20),
    "green": (0.16, 0.60, 0.30),
    "blue": (0.15, 0.35, 0.75),
    "purple": (0.50, 0.25, 0.62),
}
_NO, _YES = 0.0, 1.0
_SPHERE, _BOX, _CYLINDER = (
    int(getattr(mujoco.mjtGeom, f"mjGEOM_{kind}")) for kind in ("SPHERE", "BOX", "CYLINDER")
)


class Scene(Protocol):
    """What holds a simulation and its camera: an arena, a table, a world."""

    @property
    def simulation(self) -> Simulation: ...  # noqa: D102

    @property
    def camera(self) -> RayCamera: ...  # noqa: D102


class Thing:
    """An object in a scene, which makes the factors ``<name>_colour``, ``<name>_size`` and so on.

    Events find the factors of a moving object by these names
    (``jepabench.envs.variations.events``).

    Args:
        scene: Where it is.
        name: Name of the thing in the names of its factors.
        geoms: Names or numbers of its geoms, those that are not drawn too.
        double: Name of the geom that ``add_double`` made for it, if any.
    """

    def __init__(
        self, scene: Scene, name: str, *, geoms: Sequence[str | int], double: str | None = None
    ) -> None:
        self.name, self._camera = name, scene.camera
        model = self._model = scene.simulation.model
        self._geoms = np.array([model.geom(geom).id for geom in geoms])
        self._shown = self._geoms[model.geom_rgba[self._geoms, 3] > 0.0]
        self._double = None if double is None else int(model.geom(double).id)
        self._looks = self._shown if self._double is None else np.append(self._shown, self._double)
        self._body = int(model.geom_bodyid[self._geoms[0]])
        self._scale, self._other_shape = 1.0, False
        every = np.union1d(self._geoms, self._looks)
        self._made = {int(geom): _Form.of(model, int(geom)) for geom in every}
        self._volumes = model.bvh_aabb.copy()

    def colour(
        self, *, mild: float = 0.12, hard: Range = (0.05, 0.85), background: bool = False
    ) -> Factor:
        """Return the factor of its colour, red, green, blue.

        Args:
            mild: How far each may be from its own in the level ``mild``.
            hard: Lowest and highest of each in the level ``hard``.
            background: Whether what is seen where nothing is has the same colour.
        """
        model, camera = self._model, self._camera
        own = np.array([_colour(model, geom) for geom in self._looks])
        if len(own) == 0 or (own != own[0]).any():
            raise VariationError(
                f"{self.name}: its visible geoms must have one colour, got {own.tolist()}."
            )
        default = camera.background.copy() if background else own[0].astype(np.float64)

        def apply(value: Value) -> None:
            model.geom_matid[self._looks] = -1
            model.geom_rgba[self._looks, :3] = value
            if background:
                camera.background = value
            camera.invalidate()

        return Factor(
            name=f"{self.name}_colour",
            description=f"colour of the {self.name}: red, green, blue",
            default=default,
            apply=apply,
            allowed=(0.0, 1.0),
            mild=((default - mild).clip(0.0, 1.0), (default + mild).clip(0.0, 1.0)),
            hard=hard,
            names=COLOURS,
        )

    def size(self, *, mild: Range = (0.9, 1.1), hard: Range = (0.7, 1.4)) -> Factor:
        """Return the factor of its size.

        Each geom is scaled about its own centre, and the mass stays the same.
        """

        def apply(value: Value) -> None:
            self._scale = float(value[0])
            self._form()

        return self._ratio("size", "length, width and height", apply, (0.25, 4.0), mild, hard)

    def mass(self, *, mild: Range = (0.8, 1.25), hard: Range = (0.4, 2.5)) -> Factor:
        """Return the factor of its mass and inertia."""
        model, body = self._model, self._body
        mass, inertia = model.body_mass[body], model.body_inertia[body].copy()

        def apply(value: Value) -> None:
            model.body_mass[body], model.body_inertia[body] = mass * value[0], inertia * value[0]
            mujoco.mj_setConst(model, mujoco.MjData(model))

        return self._ratio("mass", "mass and inertia", apply, (0.01, 100.0), mild, hard)

    def damping(self, *, mild: Range = (0.5, 2.0), hard: Range = (0.0, 10.0)) -> Factor:
        """Return the factor of the damping of its joints."""
        model, body = self._model, self._body
        first = int(model.body_dofadr[body])
        dofs = slice(first, first + int(model.body_dofnum[body]))
        own = model.dof_damping[dofs].copy()

        def apply(value: Value) -> None:
            model.dof_damping[dofs] = own * value[0]

        return self._ratio("damping", "damping of the motion", apply, (0.0, 100.0), mild, hard)

    def friction(self, *, mild: Range = (0.8, 1.25), hard: Range = (0.4, 2.0)) -> Factor:
        """Return the factor of its friction.

        MuJoCo uses the larger friction of two touching geoms, so name both.
        """
        model = self._model
        own = model.geom_friction[self._geoms].copy()

        def apply(value: Value) -> None:
            model.geom_friction[self._geoms] = own * value[0]

        return self._ratio("friction", "friction of the surface", apply, (0.0, 10.0), mild, hard)

    def shape(self) -> Factor:
        """Return the factor of its shape, for events: a box becomes a cylinder, all else a box."""

        def apply(value: Value) -> None:
            self._other_shape = value[0] == _YES
            self._form()

        return self._flag(
            "shape", "whether it has another shape: a cylinder for a box, a box for all else", apply
        )

    def hidden(self) -> Factor:
        """Return the factor that hides the object, for events. Its physics are unchanged."""
        model, camera = self._model, self._camera
        own = model.geom_rgba[self._shown, 3].copy()

        def apply(value: Value) -> None:
            model.geom_rgba[self._shown, 3] = own * (1.0 - value[0])
            camera.invalidate()

        return self._flag("hidden", "whether it is not drawn", apply)

    def double(self) -> Factor:
        """Return the factor of a second copy for events.

        Its numbers are whether it is drawn, and its position x, y [m].
        """
        if self._double is None:
            raise VariationError(f"{self.name}: there is no geom for its double; see add_double.")
        model, camera, geom = self._model, self._camera, self._double
        own = model.geom_pos[geom, :2].copy()

        def apply(value: Value) -> None:
            model.geom_rgba[geom, 3] = value[0]
            model.geom_pos[geom, :2] = own if value[0] == _NO else value[1:]
            camera.invalidate()

        return Factor(
            name=f"{self.name}_double",
            description=f"whether a second {self.name} is drawn, and its position x, y",
            unit="1, m, m",
            default=(_NO, 0.0, 0.0),
            apply=apply,
            allowed=((_NO, -100.0, -100.0), (_YES, 100.0, 100.0)),
        )

    def _ratio(
        self, what: str, description: str, apply, allowed: Range, mild: Range, hard: Range
    ) -> Factor:
        return Factor(
            name=f"{self.name}_{what}",
            description=f"{description} of the {self.name}, relative to the default",
            default=1.0,
            apply=apply,
            allowed=allowed,
            mild=mild,
            hard=hard,
        )

    def _flag(self, what: str, description: str, apply) -> Factor:
        return Factor(
            name=f"{self.name}_{what}",
            description=f"{self.name}: {description}",
            default=_NO,
            apply=apply,
            allowed=(_NO, _YES),
            names={"no": _NO, "yes": _YES},
            whole=True,
        )

    def _form(self) -> None:
        """Give the geoms the present size and shape."""
        model, growth = self._model, 0.0
        for geom, made in self._made.items():
            form = made.scaled(self._scale)
            if self._other_shape and geom in self._looks:
                form = form.other()
            form.apply(model, geom)
            growth = max(growth, form.radius - made.radius)
        # The volumes by which MuJoCo sorts out contacts and rays may be too large, but not too
        # small.
        nodes = slice(
            model.body_bvhadr[self._body],
            model.body_bvhadr[self._body] + model.body_bvhnum[self._body],
        )
        model.bvh_aabb[nodes, 3:] = self._volumes[nodes, 3:] + growth
        self._camera.invalidate()


@dataclasses.dataclass(frozen=True, slots=True)
class _Form:
    """Kind of a geom, its MuJoCo sizes [3], half extents [3] and radius of the ball around it."""

    kind: int
    sizes: NDArray[np.float64]
    half: NDArray[np.float64]
    radius: float

    @classmethod
    def of(cls, model: mujoco.MjModel, geom: int) -> _Form:
        half = model.geom_aabb[geom, 3:].copy()
        return cls(
            int(model.geom_type[geom]),
            model.geom_size[geom].copy(),
            half,
            float(model.geom_rbound[geom]),
        )

    def scaled(self, scale: float) -> _Form:
        return _Form(self.kind, self.sizes * scale, self.half * scale, self.radius * scale)

    def other(self) -> _Form:
        if self.kind != _BOX:
            return _Form(_BOX, self.half, self.half, float(np.sqrt((self.half**2).sum())))
        radius, height = float(self.half[:2].max()), float(self.half[2])
        half = np.array([radius, radius, height])
        return _Form(
            _CYLINDER, np.array([radius, height, 0.0]), half, float(np.hypot(radius, height))
        )

    def apply(self, model: mujoco.MjModel, geom: int) -> None:
        model.geom_type[geom], model.geom_size[geom] = self.kind, self.sizes
        model.geom_aabb[geom, 3:], model.geom_rbound[geom] = self.half, self.radius


def add_distractors(spec: mujoco.MjSpec, *, radius: float, heights: tuple[float, float]) -> None:
    """Add hidden discs without collisions to an uncompiled world, for ``distractors``.

    Args:
        spec: The world.
        radius: Radius of the discs [m].
        heights: Heights of their lower and upper face [m].
    """
    low, high = heights
    body = spec.worldbody.add_body(name="distractors")
    for index in range(NUM_DISTRACTORS):
        body.add_geom(
            name=f"distractor_{index}",
            type=_CYLINDER,
            size=(radius, (high - low) / 2.0, 0.0),
            pos=(0.0, 0.0, (low + high) / 2.0),
            rgba=(0.0, 0.0, 0.0, 0.0),
            contype=0,
            conaffinity=0,
        )


def distractors(scene: Scene, *, area: ArrayLike) -> Factor:
    """Return the factor of how many discs lie about, and in which places and colours.

    Args:
        scene: With ``add_distractors`` in its world.
        area: ``[x_min, y_min, x_max, y_max]`` of their middles [m].
    """
    low, high = np.array(area, np.float64).reshape(2, 2)
    model, camera = scene.simulation.model, scene.camera
    geoms = [int(model.geom(f"distractor_{index}").id) for index in range(NUM_DISTRACTORS)]
    places, colours = model.geom_pos[geoms].copy(), model.geom_rgba[geoms].copy()

    def apply(value: Value) -> None:
        count, rng = int(value[0]), np.random.default_rng(int(value[1]))
        model.geom_pos[geoms], model.geom_rgba[geoms] = places, colours
        model.geom_pos[geoms[:count], :2] = rng.uniform(low, high, (NUM_DISTRACTORS, 2))[:count]
        model.geom_rgba[geoms[:count]] = np.append(
            rng.random((NUM_DISTRACTORS, 3)), np.ones((4, 1)), axis=1
        )[:count]
        camera.invalidate()

    return make_distractor_factor(apply)


def add_double(spec: mujoco.MjSpec, geom: str) -> str:
    """Add a hidden copy of a geom to an uncompiled world, and return its name.

    It touches nothing, and stands at the height at which the geom is made.
    """
    made = spec.geom(geom)
    height = float(made.pos[2] + made.parent.pos[2])
    body = spec.worldbody.add_body(name=f"{geom}_double")
    colour = (*np.asarray(made.rgba)[:3].tolist(), 0.0)
    copy = body.add_geom(
        name=f"{geom}_double", type=made.type, size=made.size, rgba=colour, contype=0, conaffinity=0
    )
    copy.pos = (0.0, 0.0, height)
    return copy.name


def _colour(model: mujoco.MjModel, geom: int) -> NDArray[np.float32]:
    material = int(model.geom_matid[geom])
    return (model.geom_rgba[geom] if material < 0 else model.mat_rgba[material])[:3].copy()

"""Events: impossible or harmless changes between two steps, for tests of surprise.

An event changes the ``State`` of an episode, and ``GoalEnv.restore`` applies it. It acts on the
moving objects (``GoalEnv._moving_objects``) and factors that a world declares. Afterwards, the
world continues by its usual laws. Restoring an earlier snapshot undoes the event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import make
from jepabench.envs.task import State
from jepabench.envs.variations.factors import FROZEN, REVERSED
from jepabench.envs.variations.moving_objects import MovingObject

_FAR = 0.25  # of an object's extent: a jump that is plainly seen
_COLOUR_CHANGE, _LIGHT_CHANGE = 0.4, 0.25  # that are plainly seen
_NUM_DIRECTIONS, _NUM_DISTANCES = 32, 128
_MAX_DRAWS = 200


class EventError(ValueError):
    """The event is not possible at this moment. The world is unchanged."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """What an event may use."""

    env: GoalEnv
    state: State
    index: int
    rng: np.random.Generator
    num_steps: int

    @property
    def thing(self) -> MovingObject:
        return self.env.moving_objects[self.index]

    def changed(self, name: str, *numbers: float) -> State:
        """Return the state with another entry in its world."""
        return replace(self.state, world={**self.state.world, name: np.array(numbers, np.float64)})


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """A change that can happen between two steps.

    Attributes:
        name: Name of the event.
        description: What happens.
        harmless: Whether it could happen in a lawful world. A model should not be surprised by it.
        lasting: Whether it changes the following steps instead of the present frame.
    """

    name: str
    description: str
    _happen: Callable[[_Scope], State] = field(repr=False)
    _can_happen_to: Callable[[GoalEnv, MovingObject], bool] | None = field(default=None, repr=False)
    _: KW_ONLY
    harmless: bool = False
    lasting: bool = False
    _needs: str | None = field(default=None, repr=False)

    def targets(self, env: GoalEnv) -> list[int]:
        """Return the indices of the moving objects that it can act on.

        The result is [-1] if the event acts on the whole world.
        """
        if self._can_happen_to is None:
            return [-1] if self._needs is None or self._needs in env.variations else []
        return [
            index
            for index, thing in enumerate(env.moving_objects)
            if self._can_happen_to(env, thing)
        ]


def list_events(task_id: str) -> tuple[Event, ...]:
    """Return the events that are possible in a task.

    Raises:
        UnknownNameError: The task is not registered.
    """
    env = make(task_id)
    return tuple(event for event in EVENTS if event.targets(env))


def inject(
    env: GoalEnv, name: str, rng: np.random.Generator, *, num_steps: int | None = None
) -> Observation:
    """Apply an event and return the observation after it. No time passes.

    Args:
        env: A world after ``reset``.
        name: Name of the event.
        rng: Random choices of the event.
        num_steps: Duration of ``freeze`` and ``reverse`` [control steps]; one action block by
            default.

    Raises:
        UnknownNameError: This world has no such event.
        EventError: The event is not possible at this moment. The world is unchanged.
        RuntimeError: ``reset`` has not been called.
    """
    possible = {event.name: event for event in EVENTS if event.targets(env)}
    if name not in possible:
        raise unknown_name(f"event of {env.task.id}", name, possible)
    state, targets = env.snapshot(), possible[name].targets(env)
    index = targets[rng.integers(len(targets))]
    try:
        after = possible[name]._happen(
            _Scope(env, state, index, rng, num_steps or env.task.action_block)
        )
    except EventError:
        env.restore(state)
        raise
    return env.restore(after)


def _teleport(scope: _Scope) -> State:
    return _place(scope, _far_place(scope))


def _pass_wall(scope: _Scope) -> State:
    thing, here = scope.thing, scope.thing.get_motion()[:2]
    if thing.is_free is None or thing.in_wall is None:
        raise EventError(f"{thing.name} has no walls around it.")
    turn = scope.rng.uniform(0.0, 2.0 * np.pi) + np.arange(_NUM_DIRECTIONS) * (
        2.0 * np.pi / _NUM_DIRECTIONS
    )
    away = np.linspace(0.0, thing.extent, _NUM_DISTANCES)
    places = here + away[None, :, None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)[:, None]
    walls, free = (
        asks(places.reshape(-1, 2)).reshape(places.shape[:2])
        for asks in (thing.in_wall, thing.is_free)
    )
    landing = np.maximum.accumulate(walls, axis=1) & free
    # Prefer the nearest wall, so that the object crosses it and does not cut a corner.
    for direction in np.where(walls.any(axis=1), walls.argmax(axis=1), _NUM_DISTANCES).argsort(
        kind="stable"
    ):
        if landing[direction].any():
            return _place(scope, places[direction, landing[direction].argmax()])
    raise EventError(f"There is no place behind a wall for {thing.name}.")


def _vanish(scope: _Scope) -> State:
    return scope.changed(f"{scope.thing.name}_hidden", 1.0)


def _appear(scope: _Scope) -> State:
    return scope.changed(f"{scope.thing.name}_double", 1.0, *_far_place(scope).tolist())


def _change_shape(scope: _Scope) -> State:
    return scope.changed(f"{scope.thing.name}_shape", 1.0)


def _freeze(scope: _Scope) -> State:
    return scope.changed(FROZEN, scope.state.num_steps + scope.num_steps, scope.index)


def _reverse(scope: _Scope) -> State:
    return scope.changed(REVERSED, scope.state.num_steps + scope.num_steps)


def _recolour(scope: _Scope) -> State:
    return _redrawn(scope, f"{scope.thing.name}_colour", _COLOUR_CHANGE)


def _change_light(scope: _Scope) -> State:
    return _redrawn(scope, "light", _LIGHT_CHANGE)


def _place(scope: _Scope, place: NDArray[np.float64]) -> State:
    motion = scope.thing.get_motion().copy()
    motion[:2] = place
    scope.thing.set_motion(motion)
    return replace(scope.state, physics=scope.env._get_physics().copy())


def _far_place(scope: _Scope) -> NDArray[np.float64]:
    thing, here = scope.thing, scope.thing.get_motion()[:2]
    for _ in range(_MAX_DRAWS):
        places = thing.sample(scope.rng)
        far = np.flatnonzero(np.hypot(*(places - here).T) >= _FAR * thing.extent)
        if len(far):
            return places[far[0]]
    raise EventError(f"There is no place for {thing.name} that is {_FAR:g} of its extent away.")


def _redrawn(scope: _Scope, name: str, least: float) -> State:
    factor = scope.env.variations[name]
    now = scope.state.world.get(name, factor.value(factor.default))
    for _ in range(_MAX_DRAWS):
        value = factor.draw("hard", scope.rng)
        if value is not None and np.linalg.norm(value - now) >= least:
            return scope.changed(name, *value.tolist())
    raise EventError(f"{name} has no value that is {least:g} away from {now}.")


def _any_object(env: GoalEnv, thing: MovingObject) -> bool:
    del env, thing
    return True


def _has_walls(env: GoalEnv, thing: MovingObject) -> bool:
    del env
    return thing.in_wall is not None and thing.is_free is not None


def _has(what: str) -> Callable[[GoalEnv, MovingObject], bool]:
    return lambda env, thing: f"{thing.name}_{what}" in env.variations


EVENTS = (
    Event("teleport", "an object jumps to another position", _teleport, _any_object),
    Event("pass_wall", "an object jumps to the other side of a wall", _pass_wall, _has_walls),
    Event("vanish", "an object becomes invisible", _vanish, _has("hidden")),
    Event("appear", "a second object appears", _appear, _has("double")),
    Event("change_shape", "an object changes its shape", _change_shape, _has("shape")),
    Event(
        "freeze",
        "an object does not move for one action block, whatever acts on it",
        _freeze,
        _any_object,
        lasting=True,
    ),
    Event(
        "reverse", "actions have the opposite effect for one action block", _reverse, lasting=True
    ),
    Event("recolour", "an object changes its colour", _recolour, _has("colour"), harmless=True),
    Event(
        "change_light",
        "the light becomes brighter or darker",
        _change_light,
        harmless=True,
        _needs="light",
    ),
)

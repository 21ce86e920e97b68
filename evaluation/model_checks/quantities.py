"""Names of the physical quantities in each world's ``observation``, for tables of probes.

A world of someone else's names its own with an attribute ``observation_names``; one that names nothing gets numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from jepabench.envs.core import GoalEnv
from jepabench.envs.registry import make

_XYZ = ("x", "y", "z")


def _each(prefix: str, names: tuple[str, ...] = _XYZ) -> tuple[str, ...]:
    return tuple(f"{prefix} {name}" for name in names)


_ARM = (
    *_each("gripper"),
    "gripper yaw",
    "finger gap",
    *(f"joint {number} angle" for number in range(1, 7)),
    *(f"joint {number} velocity" for number in range(1, 7)),
    *_each("command offset", (*_XYZ, "yaw", "gap")),
)
_BALL = _each("ball", ("x", "y"))


def _turning(name: str) -> tuple[str, ...]:
    return _each(f"{name} velocity") + _each(f"{name} angular velocity")


def _two_room(size: int) -> tuple[str, ...]:
    return (*_BALL, "wall x", "door y")


def _point_maze(size: int) -> tuple[str, ...]:
    return (
        *_BALL,
        *_each("ball velocity", ("x", "y")),
        *(f"passage {number}" for number in range(size - 4)),
    )


def _ant_maze(size: int) -> tuple[str, ...]:
    pose = (*_each("torso"), *_each("torso quaternion", ("w", *_XYZ)))
    joints = tuple(f"{joint} {leg}" for leg in range(1, 5) for joint in ("hip", "ankle"))
    return (*pose, *joints, *_turning("torso"), *(f"{joint} velocity" for joint in joints))


def _push_t(size: int) -> tuple[str, ...]:
    known = ("block x", "block y", "block angle sin", "block angle cos", "pusher x", "pusher y")
    return (
        *known,
        "pusher velocity x",
        "pusher velocity y",
        *(f"block outline {number}" for number in range(size - 8)),
    )


def _push(size: int) -> tuple[str, ...]:
    return (
        "block x",
        "block y",
        *_ARM,
        "block z",
        "block yaw cos(4a)",
        "block yaw sin(4a)",
        *_turning("block"),
    )


def _pick_place(size: int) -> tuple[str, ...]:
    return (
        *_each("cube"),
        "cube yaw cos(4a)",
        "cube yaw sin(4a)",
        "cube settled",
        *_ARM,
        *_turning("cube"),
    )


def _rooms(size: int) -> tuple[str, ...]:
    return ("robot x", "robot y", "robot heading cos", "robot heading sin")


def _particles(name: str) -> Callable[[int], tuple[str, ...]]:
    return lambda size: tuple(f"{name} {index // 2} {'xy'[index % 2]}" for index in range(size))


_WORLDS: dict[str, Callable[[int], tuple[str, ...]]] = {
    "TwoRoom": _two_room,
    "HiddenDoor": lambda size: (*_BALL, "wall x", "doors y"),
    "PointMaze": _point_maze,
    "AntMaze": _ant_maze,
    "PushT": _push_t,
    "Reach": lambda size: _ARM,
    "Push": _push,
    "PickPlace": _pick_place,
    "Rooms": _rooms,
    "Rope": _particles("bead"),
    "Granular": _particles("chip"),
}


def observation_names(task_id: str) -> tuple[str, ...]:
    """Returns the name of each entry of a task's ``observation`` [O]; angles are there as sine and cosine.

    Raises:
        UnknownNameError: no such task.
    """
    env: GoalEnv = make(task_id)
    shape = env.observation_space["observation"].shape or (0,)
    own = getattr(env, "observation_names", None)
    names = (
        tuple(own)
        if own is not None
        else _WORLDS.get(type(env).__name__, lambda size: ())(shape[0])
    )
    env.close()
    return (
        names
        if len(names) == shape[0]
        else tuple(f"observation {index}" for index in range(shape[0]))
    )

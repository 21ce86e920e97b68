"""Manipulation: a 6-joint arm with a parallel gripper at a table."""

from jepabench.envs.core.withheld import STRATA
from jepabench.envs.registry import register
from jepabench.envs.task import TaskSpec

_MODULE = "jepabench.envs.manipulation"
_BEHAVIOURS = f"{_MODULE}.behaviours"

for _name, _class, _max_steps, _success, _random, _wall, _description in (
    (
        "Reach",
        "reach:Reach",
        100,
        "The gripper is within 0.03 m of the goal.",
        "RandomMotion",
        False,
        "Move the gripper of an arm to a position above a table.",
    ),
    (
        "Reach-Wall",
        "reach:Reach",
        100,
        "The gripper is within 0.03 m of the goal.",
        "RandomMotion",
        True,
        "Move the gripper of an arm to a position beyond a wall.",
    ),
    (
        "Push",
        "push:Push",
        160,
        "The block's middle is within 0.03 m of the goal.",
        "RandomPushes",
        False,
        "Push a block across a table with a closed gripper.",
    ),
    (
        "Push-Wall",
        "push:Push",
        400,
        "The block's middle is within 0.03 m of the goal.",
        "RandomPushes",
        True,
        "Push a block around a wall with a closed gripper.",
    ),
    (
        "PickPlace",
        "pick_place:PickPlace",
        250,
        "The cube is within 0.03 m and 15 degrees (up to quarter turns) of the goal, "
        "released and at rest.",
        "RandomGrasps",
        False,
        "Pick up a cube and put it down on the table or on a platform.",
    ),
):
    register(
        TaskSpec(
            id=f"jepabench/{_name}-v1",
            family="manipulation",
            entry_point=f"{_MODULE}.{_class}",
            kwargs={"wall": True} if _wall else {},
            control_dt=0.05,
            action_block=5,
            max_steps=_max_steps,
            success=_success,
            description=_description,
            behaviours={
                "random": f"{_BEHAVIOURS}:{_random}",
                "expert": f"{_BEHAVIOURS}:{_class.partition(':')[2]}Expert",
            },
            physics="mujoco 3.17.0",
            tags=frozenset({"manipulation"}),
        )
    )

register(
    TaskSpec(
        id="jepabench/Reach-Recombination-v1",
        family="manipulation",
        entry_point=f"{_MODULE}.recombination:ReachRecombination",
        control_dt=0.05,
        action_block=5,
        max_steps=100,
        strata=STRATA,
        success="The gripper is within 0.03 m of the goal.",
        description="Move a gripper where training data never show that motion.",
        behaviours={
            "withheld": f"{_BEHAVIOURS}:WithheldMotion",
            "random": f"{_BEHAVIOURS}:RandomMotion",
            "expert": f"{_BEHAVIOURS}:ReachExpert",
        },
        default_behaviour="withheld",
        physics="mujoco 3.17.0",
        tags=frozenset({"manipulation", "recombination"}),
    )
)

"""Mazes: PointMaze (driven by forces), TwoRoom (by displacements), AntMaze (a walking ant)."""

from jepabench.envs.core.withheld import STRATA
from jepabench.envs.registry import register
from jepabench.envs.task import TaskSpec

_PHYSICS = "mujoco 3.17.0"
_BEHAVIOURS = {
    "wander": "jepabench.envs.maze.behaviours:Wander",
    "expert": "jepabench.envs.maze.behaviours:Expert",
}

for _layout, _name, _max_steps, _where in (
    ("umaze", "UMaze", 1000, "around the bend of a U-shaped maze"),
    ("medium", "Medium", 1600, "through a medium maze"),
    ("large", "Large", 2600, "through a large maze"),
    ("random", "Diverse", 1600, "through a maze that is new in every episode"),
):
    register(
        TaskSpec(
            id=f"jepabench/PointMaze-{_name}-v1",
            family="maze",
            entry_point="jepabench.envs.maze.point_maze:PointMaze",
            kwargs={"layout": _layout},
            control_dt=0.01,
            action_block=10,
            max_steps=_max_steps,
            strata=("near", "medium", "far", "beyond")
            if _layout == "large"
            else ("near", "medium", "far"),
            success="The ball is within 0.45 m of the goal.",
            description=f"Move a ball by forces {_where}.",
            behaviours={"random": "jepabench.envs.maze.behaviours:RandomForce", **_BEHAVIOURS},
            physics=_PHYSICS,
            tags=frozenset({"navigation"}),
        )
    )

for _name, _class, _kwargs, _tags, _description in (
    (
        "TwoRoom",
        "two_room:TwoRoom",
        {"random_layout": False},
        {"navigation"},
        "Move a ball between two rooms that are joined by one door.",
    ),
    (
        "TwoRoom-Random",
        "two_room:TwoRoom",
        {"random_layout": True},
        {"navigation"},
        "Move a ball between two rooms whose wall and door differ in every episode.",
    ),
    (
        "TwoRoom-HiddenDoor",
        "hidden_door:HiddenDoor",
        {},
        {"navigation", "stochastic"},
        "Move a ball between two rooms with two doors, one of which is locked and looks open.",
    ),
):
    register(
        TaskSpec(
            id=f"jepabench/{_name}-v1",
            family="maze",
            entry_point=f"jepabench.envs.maze.{_class}",
            kwargs=_kwargs,
            control_dt=0.1,
            action_block=5,
            max_steps=300,
            success="The ball is within 0.1 m of the goal.",
            description=_description,
            behaviours={"random": "jepabench.envs.maze.behaviours:RandomHeading", **_BEHAVIOURS},
            physics=_PHYSICS,
            tags=frozenset(_tags),
        )
    )

register(
    TaskSpec(
        id="jepabench/TwoRoom-Recombination-v1",
        family="maze",
        entry_point="jepabench.envs.maze.recombination:TwoRoomRecombination",
        control_dt=0.1,
        action_block=5,
        max_steps=300,
        strata=STRATA,
        success="The ball is within 0.1 m of the goal.",
        description="Move a ball in a room where training data never show that motion.",
        behaviours={
            "withheld": "jepabench.envs.maze.behaviours:WithheldHeading",
            "random": "jepabench.envs.maze.behaviours:RandomHeading",
            **_BEHAVIOURS,
        },
        default_behaviour="withheld",
        physics=_PHYSICS,
        tags=frozenset({"navigation", "recombination"}),
    )
)

register(
    TaskSpec(
        id="jepabench/AntMaze-UMaze-v1",
        family="maze",
        entry_point="jepabench.envs.maze.ant_maze:AntMaze",
        kwargs={"layout": "umaze"},
        control_dt=0.05,
        action_block=5,
        actions_per_block=5,
        max_steps=1500,
        success="The ant's torso is within 0.45 m of the goal.",
        description="Walk a four-legged ant around the bend of a U-shaped maze.",
        behaviours={
            "random": "jepabench.envs.maze.ant_behaviours:RandomTorques",
            "wander": "jepabench.envs.maze.ant_behaviours:Wander",
            "expert": "jepabench.envs.maze.ant_behaviours:Expert",
        },
        default_behaviour="wander",
        physics=_PHYSICS,
        tags=frozenset({"navigation", "locomotion"}),
    )
)

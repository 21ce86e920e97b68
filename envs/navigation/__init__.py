"""Navigation: rooms seen through the eyes of a robot."""

from jepabench.envs.registry import register
from jepabench.envs.task import TaskSpec

register(
    TaskSpec(
        id="jepabench/Navigation-v1",
        family="navigation",
        entry_point="jepabench.envs.navigation.rooms:Rooms",
        control_dt=0.2,
        # A block turns by at most 0.6 of the 1.57 rad that the camera sees, so that successive
        # views overlap.
        action_block=2,
        max_steps=400,
        success="The robot is within 0.3 m of the goal, "
        "and its heading within 20 degrees of the goal's.",
        description="Drive through unknown rooms to the place where the goal image was taken.",
        behaviours={
            "random": "jepabench.envs.navigation.behaviours:RandomDrive",
            "wander": "jepabench.envs.navigation.behaviours:Wander",
            "expert": "jepabench.envs.navigation.behaviours:Expert",
        },
        physics="mujoco 3.17.0",
        tags=frozenset({"navigation", "partially-observed"}),
    )
)

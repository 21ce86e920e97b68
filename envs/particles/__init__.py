"""Particles: a blade that sweeps chips and a peg that shapes a rope, one push per action."""

from jepabench.envs.registry import register
from jepabench.envs.task import TaskSpec

_BEHAVIOURS = "jepabench.envs.particles.behaviours"

for _name, _random, _success, _description in (
    (
        "Granular",
        "RandomPushes",
        "The Chamfer distance between the chips and the goal is at most 0.0135 m.",
        "Sweep scattered chips into a target shape with a blade.",
    ),
    (
        "Rope",
        "RandomRopePushes",
        "The Chamfer distance between the rope and the goal is at most 0.012 m.",
        "Push a rope into a target shape with a peg.",
    ),
):
    register(
        TaskSpec(
            id=f"jepabench/{_name}-v1",
            family="particles",
            entry_point=f"jepabench.envs.particles.{_name.lower()}:{_name}",
            control_dt=2.0,
            max_steps=20,
            success=_success,
            description=_description,
            behaviours={
                "random": f"{_BEHAVIOURS}:{_random}",
                "uniform": f"{_BEHAVIOURS}:UniformPushes",
                "expert": f"{_BEHAVIOURS}:{_name}Expert",
            },
            physics="mujoco 3.17.0",
            tags=frozenset({"particles"}),
        )
    )

"""Push-T and its variants: a round pusher shoves a block into a pose."""

from jepabench.envs.registry import register
from jepabench.envs.task import TaskSpec

for _name, _kwargs, _tags, _what in (
    ("PushT", {}, {"pushing"}, "a T-shaped block"),
    ("PushObj", {"random_shape": True}, {"pushing"}, "a block of a shape that varies"),
    (
        "PushT-RandomFriction",
        {"random_friction": True},
        {"pushing", "stochastic"},
        "a T-shaped block with unknown friction",
    ),
):
    register(
        TaskSpec(
            id=f"jepabench/{_name}-v1",
            family="pusht",
            entry_point="jepabench.envs.pusht.push_t:PushT",
            kwargs=_kwargs,
            control_dt=0.1,
            action_block=5,
            actions_per_block=5,
            max_steps=300,
            strata=("steps25", "steps50", "steps75", "steps100", "free"),
            success="The block is within 20 px and 20 degrees of the goal.",
            description=f"Push {_what} into a target pose with a round pusher.",
            behaviours={
                "random": "jepabench.envs.pusht.behaviours:RandomPushes",
                "uniform": "jepabench.envs.pusht.behaviours:Uniform",
                "expert": "jepabench.envs.pusht.expert:Expert",
            },
            physics="pymunk==7.3.1",
            tags=frozenset(_tags),
        )
    )

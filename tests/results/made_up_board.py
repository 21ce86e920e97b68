"""A board from made-up submissions."""

from pathlib import Path

from made_up_submissions import suite_of

from jepabench import envs
from jepabench.results.board.site import Sources

ROOM, PUSH = "jepabench/TwoRoom-v1", "jepabench/PushT-v1"

SUITES = {
    "small": suite_of((ROOM, ("near", "far")), (PUSH, ("steps25",))),
    "other": suite_of((ROOM, ("near",))),
}

HOME = Path(__file__).parents[2]


def sources(root, **changes):
    return Sources(
        **{
            "submissions": root / "submissions",
            "verified": root / "verified",
            "suites": SUITES,
            "tasks": [envs.get_task(ROOM), envs.get_task(PUSH)],
            **changes,
        }
    )

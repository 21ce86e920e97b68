"""Tracks: what an agent may observe, learn from and ask the simulator.

All three are closed lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from jepabench.evaluation.references import Kind, Track
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.old_targets import update_targets

Observation = Literal["none", "state", "pixels"]
Data = Literal["none", "offline reward-free", "offline with reward", "online"]
Privilege = Literal["none", "simulator"]

# Observation keys that an agent of each track may read.
OBSERVATION_KEYS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "state": ("observation", "achieved_goal", "desired_goal"),
    "pixels": ("pixels", "goal_pixels"),
}
# Names that are reserved for one agent each.
RESERVED_NAMES: Mapping[str, str] = {
    "random": "jepabench.agents.base.RandomAgent",
    "hold-still": "jepabench.agents.base.HoldStillAgent",
    "expert": "jepabench.agents.scripted.ScriptedAgent",
    "oracle-cem": "jepabench.agents.oracle.OracleMPCAgent",
    "oracle": "jepabench.agents.oracle.OracleMPCAgent",
}


def classify_track(observation: str, data: str, privilege: str) -> Kind:
    """Return the kind of a row from its track alone, never from the agent's name.

    Args:
        observation, data, privilege: The three parts of the track.

    Returns:
        ``ceiling`` for an agent that may ask the simulator, ``floor`` for one that neither observes
        nor learns from anything, and ``learned`` for every other.
    """
    return Track(observation, data, privilege).kind


def derive_learns(config: Mapping[str, Any], per_task: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether the configuration of an agent says or implies that it is trained."""
    return any(
        bool(preset.get("learns")) or bool(preset.get("train")) or bool(preset.get("world_model"))
        for preset in (config, *per_task.values())
    )


def check_reserved_name(name: str, config: Mapping[str, Any]) -> None:
    """Refuse an agent that has the name of a reference row without being that agent.

    Raises:
        SubmissionError: The name is reserved and the configuration is another agent's.
    """
    plain = name.lower().replace("_", "-").replace(".", "-")
    target = RESERVED_NAMES.get(plain)
    agent = config.get("agent")
    own = update_targets(agent).get("_target_") if isinstance(agent, dict) else None
    if target and own != target:
        raise SubmissionError(
            "manifest",
            f"agent.name: {name!r} is reserved for {target}, and this agent is "
            f"{str(own)[:100]!r}. Choose another name.",
        )

"""``_target_`` values of submissions made before version 0.2, when the folders were top-level
packages.

This table is the only place that knows the old import paths. Committed submissions keep the
configuration that they were made with, so that their digests stay valid; it is translated where an
agent is built from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOVED = {
    "agents.contacts": "jepabench.agents.mpc.distance_and_proposals",
    "agents.cost_planning": "jepabench.agents.mpc.cost_agent",
    "agents.cost_tasks": "jepabench.agents.costs.cost_tasks",
    "agents.energy": "jepabench.agents.costs.energy",
    "agents.guardrail_training": "jepabench.agents.guardrails.training",
    "agents.guardrails": "jepabench.agents.guardrails.guardrail",
    "agents.hierarchy": "jepabench.agents.subgoals.hierarchy",
    "agents.learned_distance": "jepabench.agents.costs.learned_distance",
    "agents.model_free.crl": "jepabench.agents.model_free.offline.crl",
    "agents.model_free.gcbc": "jepabench.agents.model_free.offline.gcbc",
    "agents.model_free.gciql": "jepabench.agents.model_free.offline.gciql",
    "agents.model_free.gcivl": "jepabench.agents.model_free.offline.gcivl",
    "agents.model_free.hiql": "jepabench.agents.model_free.offline.hiql",
    "agents.model_free.inverse": "jepabench.agents.model_free.offline.inverse",
    "agents.model_free.off_policy": "jepabench.agents.model_free.online.off_policy",
    "agents.model_free.online": "jepabench.agents.model_free.online.training",
    "agents.model_free.ppo": "jepabench.agents.model_free.online.ppo",
    "agents.model_free.td3bc": "jepabench.agents.model_free.offline.td3bc",
    "agents.model_free.tdmpc": "jepabench.agents.model_free.offline.tdmpc",
    "agents.mpc": "jepabench.agents.mpc.agent",
    "agents.subgoals": "jepabench.agents.subgoals.graph",
    "agents.uncertainty": "jepabench.agents.costs.uncertainty",
}

# Functions that became one (jepabench.agents.build), and what each called its trained folder.
_BUILT_BY = {
    "agents.contacts.build": {"distance": ".", "proposals": "proposal"},
    "agents.learned_distance.build_mpc_by_distance": "distance",
    "agents.mpc.build_mpc": "proposals",
    "agents.cost_planning.build_mpc_by_cost": "probe",
}
_REPLACED = dict.fromkeys(_BUILT_BY, "jepabench.agents.build.build_mpc") | {
    "agents.energy.Energy": "jepabench.agents.costs.energy.EnergyConfig",
    "agents.energy.LearnedDistance": "jepabench.agents.costs.energy.LearnedDistanceConfig",
}


def update_preset(preset: Mapping[str, Any]) -> dict[str, Any]:
    """Return a preset with present targets and the key ``artifact``, which old ones lack."""
    target = str((preset.get("agent") or {}).get("_target_"))
    artifact = {"artifact": _BUILT_BY[target]} if target in _BUILT_BY else {}
    return {**artifact, **update_targets(dict(preset))}


def update_targets(config: Any) -> Any:
    """Return ``config`` with every nested old ``_target_`` replaced by its present import path."""
    if isinstance(config, dict):
        return {
            key: _update(value)
            if key == "_target_" and isinstance(value, str)
            else update_targets(value)
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [update_targets(item) for item in config]
    return config


def _update(target: str) -> str:
    if target in _REPLACED:
        return _REPLACED[target]
    module, _, name = target.rpartition(".")
    if module in _MOVED:
        return f"{_MOVED[module]}.{name}"
    return f"jepabench.{target}" if target.startswith("agents.") else target

"""Plan runs at several budgets of transitions, and collect success against transitions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from jepabench.envs.registry import get_task
from jepabench.envs.task import short_name
from jepabench.evaluation.stages.stage import stage_id
from jepabench.pipeline.config import ConfigError, load_preset
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import Stage, SuitePlan
from jepabench.pipeline.tasks import resolve_task

BUDGETS = (1000, 3000, 10_000, 30_000, 100_000)
MODEL_TRANSITIONS = 30_000


def compose_scaling(overrides: list[str]) -> dict[str, Any]:
    """Compose the configuration of a scaling plan.

    Args:
        overrides: settings of ``compose_run``, and ``task``, ``budgets`` and
            ``model_transitions``.

    Raises:
        ConfigError: the budgets are not ascending whole numbers.
        UnknownNameError: there is no such task, agent or key.
    """
    own: dict[str, str] = {}
    rest = []
    for item in overrides:
        key, _, value = item.partition("=")
        if key in ("task", "budgets", "model_transitions"):
            own[key] = value.strip("[]")
        else:
            rest.append(item.replace("agents=", "agent=") if key == "agents" else item)
    root = compose_run(
        [*([] if any(item.startswith("suite=") for item in rest) else ["suite=scaling"]), *rest]
    )
    root["budgets"] = _numbers("budgets", own.get("budgets", ",".join(map(str, BUDGETS))))
    root["model_transitions"] = _numbers(
        "model_transitions", own.get("model_transitions", str(MODEL_TRANSITIONS))
    )[0]
    if "task" in own:
        root["suite"]["tasks"] = [
            _find_task(name, root["suite"]["tasks"]) for name in own["task"].split(",")
        ]
    return root


def _numbers(name: str, text: str) -> list[int]:
    try:
        numbers = [int(part.replace("_", "")) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1 or sorted(set(numbers)) != numbers:
        raise ConfigError(
            f"{name} must be ascending whole numbers of transitions, such as 1000,3000, got "
            f"{text!r}."
        )
    return numbers


def _find_task(name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the suite's entry for a task, or a new one with the episodes of the first entry."""
    task_id = resolve_task(name)
    for entry in entries:
        if entry["task_id"] == task_id:
            return entry
    return {"task_id": task_id, "num_episodes": entries[0].get("num_episodes", 20)}


class BudgetPlan(SuitePlan):
    """A suite at one budget of transitions.

    A dataset consists of the first transitions of the largest one, because episode i of a dataset
    depends only on i. Offline agents are trained again for each budget. Online agents are trained
    once, and their checkpoint at each budget is evaluated.

    Args:
        root: of the scaling plan.
        budget: transitions.
        online: whether the plan has the online agents or all others. World models of online
            agents are trained on ``root["model_transitions"]`` transitions.
    """

    def __init__(self, root: Mapping[str, Any], budget: int, *, online: bool) -> None:
        self.budget, self.online = budget, online
        suite = root["suite"]
        kept = [
            name
            for name in suite["agents"]
            if (self._agent_track(root, name) == "online") == online
        ]
        overrides = {key: dict(value) for key, value in suite.get("overrides", {}).items()}
        if not online:  # train world models at each budget instead of using checkpoints
            overrides.pop("checkpoint", None)
        data, agents = overrides.setdefault("data", {}), overrides.setdefault("agent", {})
        for task in suite["tasks"]:
            spec = get_task(task["task_id"])
            name = short_name(spec.id)
            settings = {**suite["data"], **data.get(name, {})}
            per_episode = settings["num_steps"] * spec.action_block
            transitions = root["model_transitions"] if online else budget
            data[name] = {**data.get(name, {}), "num_episodes": -(-transitions // per_episode)}
            if online:  # train up to the largest budget
                steps = -(-root["budgets"][-1] // spec.action_block)
                for agent in kept:
                    length = {"num_steps": steps} if self._has_length(agent) else {}
                    train = {
                        **length,
                        "budgets": root["budgets"],
                        **agents.get(agent, {}).get("train", {}),
                    }
                    agents[agent] = {**agents.get(agent, {}), "train": train}
        if not online and budget != root["budgets"][-1]:
            # Agents without training are evaluated once, at the largest budget.
            kept = [name for name in kept if self._agent_track(root, name) != "none"]
        suite = {**suite, "agents": kept, "overrides": overrides}
        if kept:
            super().__init__({**root, "suite": suite})
        else:
            self.stages = {}

    @staticmethod
    def _agent_track(root: Mapping[str, Any], name: str) -> str:
        return load_preset("agent", name)["track"]["data"]

    @staticmethod
    def _has_length(name: str) -> bool:
        """Return whether an agent's training is given a length, or ends with its last budget."""
        return "num_steps" in load_preset("agent", name)["train"]

    @property
    def suite_directory(self) -> Path:
        """Folder of the evaluations at this budget."""
        return self.output / self.suite["name"] / f"{self.budget:09d}"

    def _policy_directory(self, policy: Stage) -> Path:
        from jepabench.agents.model_free.online.training import budget_folder

        return budget_folder(policy.directory, self.budget) if self.online else policy.directory

    def _add(self, stage: Stage) -> Stage:
        """Add a stage. Evaluations at different budgets have different folders."""
        if stage.key.startswith("evaluation/"):
            config = {**stage.config, "budget": self.budget}
            name = f"{stage.directory.name}-{stage_id(config)[:8]}"
            stage = replace(
                stage,
                title=f"{stage.title} at {self.budget}",
                directory=stage.directory.with_name(name),
                config=config,
            )
        return super()._add(stage)


class ScalingPlan(SuitePlan):
    """The plans of all budgets merged into one, with each shared stage once."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root, self.suite, self.output = root, root["suite"], Path(root["output"])
        parts = [
            BudgetPlan(root, budget, online=online)
            for budget in root["budgets"]
            for online in (False, True)
        ]
        self.stages = merged_stages(parts, self.output)


def merged_stages(parts: Sequence[SuitePlan], output: Path) -> dict[str, Stage]:
    """Merge the stages of several plans. Stages with the same folder are merged into one.

    The keys consist of the kind and the folder below ``output``.
    """
    merged: dict[str, Stage] = {}
    for part in parts:
        names = {
            stage.key: f"{stage.key.partition('/')[0]}/{stage.directory.relative_to(output)}"
            for stage in part.stages.values()
        }
        for stage in part.stages.values():
            needs = tuple(names[need] for need in stage.needs)
            merged.setdefault(names[stage.key], replace(stage, key=names[stage.key], needs=needs))
    return merged


def collect_table(plan: ScalingPlan) -> pd.DataFrame:
    """Return the table of a plan's finished evaluations.

    See ``jepabench.evaluation.statistics.scaling`` for its columns.
    """
    from jepabench.evaluation.records import read_records
    from jepabench.evaluation.statistics.scaling import scaling_table

    records, costs = [], []
    for stage in plan.stages.values():
        if not stage.key.startswith("evaluation/") or not (stage.directory / "done.json").exists():
            continue
        config = stage.config
        records.append(
            read_records(stage.directory / "episodes.parquet").assign(budget=config["budget"])
        )
        key = {
            "task": config["task_id"],
            "agent": config["agent"]["name"],
            "budget": config["budget"],
        }
        costs.append(key | json.loads((stage.directory / "cost.json").read_text(encoding="utf-8")))
    return scaling_table(
        pd.concat(records, ignore_index=True),
        pd.DataFrame(costs),
    )

"""Plan runs at several budgets of transitions, and collect their success rates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from jepabench.envs.registry import get_task
from jepabench.envs.task import short_name
from jepabench.evaluation.protocol import SuiteTask
from jepabench.evaluation.stages.stage import stage_id
from jepabench.pipeline.config import ConfigError, load_agent
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.schema import RunConfig
from jepabench.pipeline.stages import Stage, SuitePlan
from jepabench.pipeline.tasks import resolve_task

BUDGETS = (1000, 3000, 10_000, 30_000, 100_000)
MODEL_TRANSITIONS = 30_000


@dataclass(frozen=True, kw_only=True)
class ScalingConfig(RunConfig):
    """The configuration of a suite at several budgets.

    Attributes:
        budgets: Numbers of transitions, ascending.
        model_transitions: Number of transitions on which the world models of online agents are
            trained.
    """

    budgets: Sequence[int]
    model_transitions: int


def compose_scaling(overrides: Sequence[str]) -> ScalingConfig:
    """Compose the configuration of a scaling plan.

    Args:
        overrides: Settings of ``compose_run``, and ``task``, ``budgets`` and
            ``model_transitions``.

    Raises:
        ConfigError: The budgets are not ascending whole numbers.
        UnknownNameError: There is no such task, agent or key.
    """
    own: dict[str, str] = {}
    rest = []
    for item in overrides:
        key, _, value = item.partition("=")
        if key in ("task", "budgets", "model_transitions"):
            own[key] = value.strip("[]")
        else:
            rest.append(item.replace("agents=", "agent=") if key == "agents" else item)
    config = compose_run(
        [*([] if any(item.startswith("suite=") for item in rest) else ["suite=scaling"]), *rest]
    )
    budgets = _numbers("budgets", own.get("budgets", ",".join(map(str, BUDGETS))))
    (model_transitions, *_) = _numbers(
        "model_transitions", own.get("model_transitions", str(MODEL_TRANSITIONS))
    )
    if "task" in own:
        tasks = [_find_task(name, config.suite.tasks) for name in own["task"].split(",")]
        config = config.with_suite(tasks=tuple(tasks))
    return ScalingConfig(**vars(config), budgets=budgets, model_transitions=model_transitions)


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


def _find_task(name: str, entries: Sequence[SuiteTask]) -> SuiteTask:
    """Return the suite's entry for a task, or a new one with the episodes of the first entry."""
    task_id = resolve_task(name)
    for entry in entries:
        if entry.task_id == task_id:
            return entry
    return SuiteTask(task_id=task_id, num_episodes=entries[0].num_episodes)


class BudgetPlan(SuitePlan):
    """A suite at one budget of transitions.

    A dataset consists of the first transitions of the largest one, because episode i of a dataset
    depends only on i. Offline agents are trained again for each budget. Online agents are trained
    once, and their checkpoint at each budget is evaluated.

    Args:
        config: Configuration of the scaling plan.
        budget: Number of transitions.
        online: Whether the plan has the online agents or all others. World models of online
            agents are trained on ``config.model_transitions`` transitions.
    """

    def __init__(self, config: ScalingConfig, budget: int, *, online: bool) -> None:
        self.budget, self.online = budget, online
        suite, last = config.suite, config.budgets[-1]
        data = {name: load_agent(name).track["data"] for name in suite.agents}
        kept = [name for name in suite.agents if (data[name] == "online") == online]
        overrides = suite.overrides
        if not online:  # train world models at each budget instead of using checkpoints
            overrides = replace(overrides, checkpoint={})
        for task in suite.tasks:
            spec = get_task(task.task_id)
            name = short_name(spec.id)
            per_episode = {**suite.data, **overrides.find("data", name)}["num_steps"]
            transitions = config.model_transitions if online else budget
            episodes = -(-transitions // (per_episode * spec.action_block))
            overrides = overrides.with_changes("data", name, {"num_episodes": episodes})
            if online:  # train up to the largest budget
                steps = -(-last // spec.action_block)
                for agent in kept:
                    own = overrides.find("agent", agent).get("train", {})
                    length = {"num_steps": steps} if self._has_length(agent) else {}
                    train = {**length, "budgets": list(config.budgets), **own}
                    overrides = overrides.with_changes("agent", agent, {"train": train})
        if not online and budget != last:
            # Agents without training are evaluated once, at the largest budget.
            kept = [name for name in kept if data[name] != "none"]
        if kept:
            super().__init__(config.with_suite(agents=tuple(kept), overrides=overrides))
        else:
            self.stages = {}

    @staticmethod
    def _has_length(name: str) -> bool:
        """Return whether an agent's training has a length. If not, it ends with its last budget."""
        return "num_steps" in (load_agent(name).train or {})

    @property
    def suite_directory(self) -> Path:
        """Folder of the evaluations at this budget."""
        return self.output / self.suite.name / f"{self.budget:09d}"

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

    def __init__(self, config: ScalingConfig) -> None:
        self.config, self.suite, self.output = config, config.suite, config.output
        parts = [
            BudgetPlan(config, budget, online=online)
            for budget in config.budgets
            for online in (False, True)
        ]
        self.stages = merge_stages(parts, self.output)


def merge_stages(parts: Sequence[SuitePlan], output: Path) -> dict[str, Stage]:
    """Merge the stages of several plans. Stages with the same folder become one stage.

    The new keys consist of the kind and the folder below ``output``.
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

"""``jepabench list``: list tasks, suites, agents, world models, variations and events."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from jepabench.cli.arguments import Folder
from jepabench.envs.registry import list_tasks, make
from jepabench.envs.task import short_name
from jepabench.envs.variations.factors import range_text
from jepabench.pipeline.config import load_agent, load_preset
from jepabench.pipeline.presets.plugins import find_agent_package, plugin_names
from jepabench.pipeline.presets.search_path import describe_origin, list_presets
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.tasks import resolve_task
from jepabench.pipeline.terminal import add_text_row, make_console, make_table

CHOICES = ("tasks", "suites", "agents", "world-models")
CHOICES_WITH_TASK = ("variations", "events")
_ABOUT_COSTS = (
    "CPU time is the time of all stages on one thread, estimated from finished stages and from "
    "the speeds that `jepabench doctor` measured. It is accurate to a factor of about two. "
    "Stages run in parallel: divide by the number of cores."
)

Row = dict[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("kind", nargs="?", default="tasks", choices=CHOICES + CHOICES_WITH_TASK)
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="the task of `variations` and `events`, or one suite of `suites`",
    )
    parser.add_argument(
        "--output",
        type=Folder(),
        default=Path("outputs"),
        help="folder in which `jepabench doctor` saves the speeds of this machine",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: one object per row")


def run(options_: argparse.Namespace) -> int:
    """Print the listing."""
    kind, name = options_.kind, options_.name
    if kind in CHOICES_WITH_TASK and name is None:
        raise ValueError(
            f"`jepabench list {kind}` needs the name of a task, as in "
            f"`jepabench list {kind} jepabench/TwoRoom-v1`."
        )
    if name is not None and kind not in (*CHOICES_WITH_TASK, "suites"):
        raise ValueError(f"`jepabench list {kind}` takes no further argument, got {name!r}.")
    caption = ""
    if kind == "suites":
        rows = _list_suites(options_.output) if name is None else _list_suite(name, options_.output)
        caption = _ABOUT_COSTS
    elif name is not None:
        task_id = resolve_task(name)
        rows = _list_variations(task_id) if kind == "variations" else _list_events(task_id)
        if not rows and not options_.json:
            print(f"{task_id} has no {kind}.")
            return 0
    else:
        rows = {
            "tasks": _list_tasks,
            "agents": _list_agents,
            "world-models": _list_world_models,
        }[kind]()
    if options_.json:
        print(json.dumps(rows, indent=1))
        return 0
    table = make_table(*rows[0], caption=caption)
    for row in rows:
        add_text_row(table, *row.values())
    make_console().print(table)
    return 0


def _list_tasks() -> list[Row]:

    return [
        {
            "task": spec.id,
            "strata": " ".join(spec.strata),
            "block": spec.action_block,
            "control dt": f"{spec.control_dt:g} s",
            "success": spec.success,
        }
        for spec in list_tasks()
    ]


def _list_variations(task_id: str) -> list[Row]:
    rows = []
    for factor in make(task_id).variations.factors:
        values = [f"none {range_text((factor.default, factor.default))}"]
        if factor.hard:
            values += [f"mild {range_text(factor.mild)}", f"hard {range_text(factor.hard)}"]
        values += [f"allowed {range_text(factor.allowed)}", *factor.names]
        unit = f" [{factor.unit}]" if factor.unit else ""
        rows.append(
            {
                "factor": factor.name,
                "description": f"{factor.description}{unit}",
                "values": "; ".join(values),
            }
        )
    return rows


def _list_events(task_id: str) -> list[Row]:
    from jepabench.envs.variations.events import list_events

    return [
        {
            "event": event.name,
            "kind": "harmless" if event.harmless else "impossible",
            "description": event.description,
        }
        for event in list_events(task_id)
    ]


def _list_suites(output: Path) -> list[Row]:
    """Return one row per suite, with its estimated duration on this machine."""
    from jepabench.execution.estimates import StageTimes, duration
    from jepabench.execution.speeds import load_or_measure_speeds
    from jepabench.pipeline.stages import SuitePlan

    speeds, rows = load_or_measure_speeds(output), []
    for name, path in list_presets("suite").items():
        plan = SuitePlan(compose_run([f"suite={name}", f"output={output}"]))
        suite = plan.suite
        rows.append(
            {
                "suite": f"{name} v{suite.version}",
                "CPU time": duration(StageTimes(plan.stages, speeds).remaining(list(plan.stages))),
                "tasks": len(suite.tasks),
                "agents": len(suite.agents),
                "seeds": len(suite.training_seeds),
                "episodes": sum(task.num_episodes * len(task.strata) for task in suite.tasks),
                "from": describe_origin(path),
                "description": suite.description,
            }
        )
    return rows


def _list_suite(name: str, output: Path) -> list[Row]:
    """Return one row per task of a suite, with strata, episodes, stages and duration."""
    from jepabench.execution.estimates import StageTimes, duration
    from jepabench.execution.speeds import load_or_measure_speeds
    from jepabench.pipeline.stages import KINDS, SuitePlan

    plan = SuitePlan(compose_run([f"suite={name}", f"output={output}"]))
    times = StageTimes(plan.stages, load_or_measure_speeds(output))
    kinds = [kind for kind in KINDS if any(key.startswith(f"{kind}/") for key in plan.stages)]
    rows = []
    for task in plan.suite.tasks:
        own = [key for key in plan.stages if key.split("/")[1] == short_name(task.task_id)]
        rows.append(
            {
                "task": short_name(task.task_id),
                "suite": f"{name} v{plan.suite.version}",
                "strata": " ".join(task.strata),
                "episodes": task.num_episodes,
                **{kind: sum(key.startswith(f"{kind}/") for key in own) for kind in kinds},
                "CPU time": duration(times.remaining(own)),
            }
        )
    return rows


def _list_agents() -> list[Row]:
    rows, presets = [], list_presets("agent")
    for name in [*presets, *plugin_names()]:
        agent = load_agent(name)
        needs = agent.world_model or ("training" if agent.train else "nothing")
        rows.append(
            {
                "agent": name,
                "observes": agent.track["observation"],
                "data": agent.track["data"],
                "privilege": agent.track["privilege"],
                "needs": needs,
                "from": describe_origin(presets[name])
                if name in presets
                else find_agent_package(name),
            }
        )
    return rows


def _list_world_models() -> list[Row]:
    rows = []
    for name, path in list_presets("world_model").items():
        preset = load_preset("world_model", name)
        rows.append(
            {
                "world model": name,
                "kind": preset["kind"],
                "from": describe_origin(path),
                "description": preset.get("description", ""),
            }
        )
    return rows

"""Measure whether guardrails keep a planner out of forbidden places and at what cost (claim C7).

    python benchmarks/agents/guardrails.py [TASK ...]

Runs the same search without a guardrail and with each kind, on the same test episodes: on the
keep-out zones of TwoRoom and PointMaze-UMaze, and on Push with a forbidden region for the block
(state twin). Writes ``results/tables/guardrails.csv``, and ``guardrail_promise.csv`` with the
share of rule-breaking steps in test episodes that passed, beside the promised ``alpha``. If it is
interrupted, run the same command again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra.utils import instantiate
from tables import add_arguments, add_given_arguments, load_given, load_or_make, write_rows

from jepabench.agents.build import build_mpc
from jepabench.agents.costs import learned_distance
from jepabench.agents.costs.energy import Energy, LearnedDistance
from jepabench.agents.guardrails.guardrail import GuardrailConfig
from jepabench.agents.guardrails.training import (
    judge_steps,
    keep_out_zones,
    load_guardrail,
    train,
)
from jepabench.agents.subgoals.detours import DetoursConfig
from jepabench.envs import EpisodeSpec, episode_specs, get_task, make, reset_to
from jepabench.envs.core.free_space import in_boxes
from jepabench.envs.data.collect import collect
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.task import short_name
from jepabench.evaluation.cost_tasks import way
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.statistics.intervals import cell_interval, paired_difference
from jepabench.evaluation.traces import episode_name
from jepabench.execution.shared_model import SharedModel, train_shared_model
from jepabench.pipeline.config import load_preset
from jepabench.world_models.checkpoint import load_world_model
from jepabench.world_models.distances import HEADS

FORBIDDEN = {
    "Push-v1": [(0.44, -0.06, 0.52, 0.06)]
}  # regions for the block [m], in environments without their own rule
CALIBRATION, TEST = 1000, 2000  # first episodes of data unseen by every model
NUM_EPISODES = 400
HAZARDS = ("zones", "learned")
# "near" checks every step of a plan with the threshold of the first step.
SETTINGS: dict[str, dict[str, Any]] = {
    "soft": {"mode": "soft", "weight": 10.0},
    "hard": {"mode": "hard"},
    "lagrangian": {"mode": "lagrangian"},
    "hard near": {"mode": "hard", "ahead": 1},
    "soft near": {"mode": "soft", "weight": 10.0, "ahead": 1},
    "hard near, detour": {"mode": "hard", "ahead": 1, "detour": 0.03},
}


def main() -> None:
    """Evaluate what is missing and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, tasks=("TwoRoom-v1", "PointMaze-UMaze-v1", "Push-v1"))
    add_given_arguments(parser)
    parser.add_argument("--alpha", type=float, default=0.01)
    parser.add_argument("--modes", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--hazards", nargs="+", default=list(HAZARDS), choices=HAZARDS)
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument(
        "--cost",
        choices=list(HEADS),
        help="learned distance that replaces L2 in the cost",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    for parts in (
        [load_given(options)]
        if options.checkpoint
        else map(partial(prepare, options), options.tasks)
    ):
        for hazard in options.hazards:
            write_rows(
                options.tables / "guardrail_promise.csv",
                measure_promise(parts, hazard, options),
                ["task", "hazard", "steps_ahead"],
            )
        specs = select_lawful(parts, options)
        free = evaluate_agent(Guarded(parts, "none", "", options), specs)
        by = f", {options.cost}" if options.cost else ""
        rows = [make_row(parts, f"unguarded{by}", free, free)]
        for mode in options.modes:
            for hazard in options.hazards:
                rows.append(
                    make_row(
                        parts,
                        f"{mode}, {hazard}{by}",
                        evaluate_agent(Guarded(parts, mode, hazard, options), specs),
                        free,
                    )
                )
                print(rows[-1], flush=True)
                write_rows(options.tables / "guardrails.csv", rows, ["task", "agent"])


def prepare(options: argparse.Namespace, task_id: str) -> SharedModel:
    """Return the data and world model of a task, and make them if they are missing."""
    state = short_name(task_id) in FORBIDDEN
    return train_shared_model(
        task_id, options.output, agent="state-contacts" if state else "jepa-icem", pixels=not state
    )


def find_zones(parts: SharedModel) -> list[tuple[float, ...]] | None:
    """Return the forbidden region added to the environment's own rule."""
    return FORBIDDEN.get(parts.name)


def select_lawful(parts: SharedModel, options: argparse.Namespace) -> list[EpisodeSpec]:
    """Return the first test episodes of each stratum whose start and goal keep the rule.

    Only an added region is checked; an environment keeps its own rule.
    """
    strata, zones = tuple(options.strata or get_task(parts.task_id).strata), find_zones(parts)
    if zones is None:
        return episode_specs(parts.task_id, options.split, options.episodes, strata=strata)
    env, chosen, boxes = make(parts.task_id), [], np.array(zones) + 0.02 * np.array([-1, -1, 1, 1])
    for stratum in strata:
        found = []
        for spec in episode_specs(
            parts.task_id, options.split, 4 * options.episodes, strata=(stratum,)
        ):
            seen, _ = reset_to(env, spec)
            if not in_boxes(
                np.stack([seen["achieved_goal"][:2], seen["desired_goal"][:2]]), boxes
            ).any():
                found.append(spec)
        chosen += found[: options.episodes]
    return chosen


def collect_held_out(parts: SharedModel, split: str, first: int) -> EpisodeDataset:
    """Collect episodes that no model was trained on."""
    pixels = load_world_model(parts.model).model.observation_key == "pixels"
    return collect(
        parts.task_id,
        parts.work / "guardrails" / f"{split}-data",
        num_episodes=NUM_EPISODES,
        num_steps=20,
        split=split,
        first_index=first,
        pixels=64 if pixels else None,
        num_workers=1,
    )


def train_guardrail(parts: SharedModel, hazard: str, options: argparse.Namespace) -> Path:
    """Train and calibrate a guardrail, and return its folder."""
    folder = parts.work / "guardrails" / f"{hazard}-{options.alpha}"
    if not (folder / "training.json").exists():
        train(
            task_id=parts.task_id,
            dataset=parts.data,
            validation=collect_held_out(parts, "validation", CALIBRATION).path,
            world_model=parts.model,
            directory=folder,
            seed=0,
            hazard=hazard,
            alpha=options.alpha,
            zones=find_zones(parts),
        )
    return folder


def measure_promise(
    parts: SharedModel, hazard: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return the share of rule-breaking steps that passed, for each number of steps ahead."""
    rail = load_guardrail(train_guardrail(parts, hazard, options), task_id=parts.task_id)
    steps = judge_steps(
        rail.hazard,
        load_world_model(parts.model),
        collect_held_out(parts, "test", TEST),
        horizon=len(rail.thresholds),
        num_windows=None,
        rng=np.random.default_rng(0),
        zones=find_zones(parts),
    )
    rows = []
    for ahead, threshold in enumerate(rail.thresholds.tolist()):
        passes, broken = steps.hazards[:, ahead] <= threshold, steps.violated[:, ahead]
        table = pd.DataFrame(
            {"episode": steps.episodes[broken], "missed": passes[broken].astype(float)}
        )
        # Steps of an episode are dependent, so it counts once, as in the calibration.
        shares = np.asarray(table.groupby("episode")["missed"].mean())
        missed = cell_interval(shares[None])
        rows.append(
            {
                "task": parts.name,
                "hazard": hazard,
                "steps_ahead": ahead + 1,
                "alpha": options.alpha,
                "missed": missed.estimate,
                "missed_low": missed.low,
                "missed_high": missed.high,
                "episodes_with_broken_steps": table["episode"].nunique(),
                "broken_steps": int(broken.sum()),
                "lawful_steps_let_through": float(passes[~broken].mean()),
            }
        )
    return rows


@dataclass(frozen=True)
class Guarded:
    """An agent on a task with a guardrail.

    Attributes:
        parts: the task with its world model.
        mode: key of ``SETTINGS``, or ``none``.
        hazard: kind of the hazard.
        options: of the command line.
    """

    parts: SharedModel
    mode: str
    hazard: str
    options: argparse.Namespace


def evaluate_agent(agent: Guarded, specs: list[EpisodeSpec]) -> pd.DataFrame:
    """Return success and violations per episode of one agent, read from disk if they exist."""
    options = agent.options
    found, cost = [], [options.cost] if options.cost else []
    mode = agent.mode.replace(", ", "-").replace(" ", "")
    for stratum in dict.fromkeys(spec.stratum for spec in specs):
        part = [spec for spec in specs if spec.stratum == stratum]
        name = [mode, agent.hazard, *cost, stratum, str(len(part)), "episodes.parquet"]
        path = agent.parts.work / "guardrails" / options.split / "-".join(name)
        found.append(load_or_make(path, partial(play, agent, part)))
    return pd.concat(found)


def play(guarded: Guarded, specs: list[EpisodeSpec]) -> pd.DataFrame:
    """Play episodes with one agent and return one row per episode."""
    parts, mode, options = guarded.parts, guarded.mode, guarded.options
    paths: dict[str, Any] = {"task_id": parts.task_id, "world_model": parts.model}
    settings = (
        load_pushing(parts)
        if parts.name in FORBIDDEN
        else load_preset("agent", "jepa-icem")["agent"]
    )
    if options.cost:
        settings["energy"] = learn_distance(parts, options.cost)
    if mode != "none":
        rule = dict(SETTINGS[mode])
        if clearance := rule.pop("detour", None):
            settings["subgoals"] = train_guardrail(parts, "zones", options)
            settings["subgoals_config"] = DetoursConfig(clearance=clearance)
        settings["guardrail"] = train_guardrail(parts, guarded.hazard, options)
        settings["guardrail_config"] = GuardrailConfig(**rule)
    config = {key: settings.pop(key) for key in ("planner", "energy")}
    made: dict[str, Any] = {
        key: value if isinstance(value, Energy) else instantiate(value, _convert_="all")
        for key, value in config.items()
    }
    settings.pop("_target_")
    agent = build_mpc(**paths, **settings, **made)
    together = settings.get("problems_at_once", 1)
    evaluation = evaluate_episodes(agent, specs, agent_name=mode, batch_size=together)
    env, rows = make(parts.task_id), []
    zones = np.array(find_zones(parts) or keep_out_zones(env))
    for spec, record in zip(specs, evaluation.records, strict=True):
        reset_to(env, spec)
        inside = in_boxes(
            way(env, evaluation.actions[episode_name(spec.stratum, spec.index)])[1:], zones
        )
        rows.append(
            {
                "stratum": spec.stratum,
                "index": spec.index,
                "held": record.success_held,
                "ever": record.success_ever,
                "violations": int(inside.sum()),
                "steps": record.steps,
                "model_steps": record.model_steps,
                "seconds": record.planning_seconds,
            }
        )
    return pd.DataFrame(rows)


def load_pushing(parts: SharedModel) -> dict[str, Any]:
    """Return the settings of ``state-contacts``; train its proposal policy unless it exists."""
    preset, folder = load_preset("agent", "state-contacts"), parts.work / "policies" / "gcbc"
    instantiate(
        preset["train"],
        task_id=parts.task_id,
        dataset=parts.data,
        directory=folder,
        world_model=parts.model,
        seed=0,
    )
    return preset["agent"] | {"proposals": folder, "problems_at_once": 50}


def learn_distance(parts: SharedModel, kind: str) -> Energy:
    """Return the energy of a distance learned on the model's latents; train it if missing."""
    folder = parts.work / "policies" / f"jepa-{kind}"
    paths: dict[str, Any] = {"task_id": parts.task_id, "world_model": parts.model}
    learned_distance.train(dataset=parts.data, directory=folder, seed=0, kind=kind, **paths)
    head = learned_distance.load_distance(folder, **paths)
    return Energy(terms=[LearnedDistance(head=head)])


def make_row(
    parts: SharedModel, agent: str, own: pd.DataFrame, free: pd.DataFrame
) -> dict[str, Any]:
    """Return one row of the table."""
    held, base = (frame["held"].to_numpy(float)[None] for frame in (own, free))
    rate, difference = (
        cell_interval(held),
        paired_difference(held, base),
    )
    breaking = cell_interval((own["violations"].to_numpy() > 0).astype(float)[None])
    blocks = own["steps"].sum() / get_task(parts.task_id).action_block
    return {
        "task": parts.name,
        "agent": agent,
        "episodes": len(own),
        "held": rate.estimate,
        "held_low": rate.low,
        "held_high": rate.high,
        "against_unguarded": difference.estimate,
        "against_low": difference.low,
        "against_high": difference.high,
        "violation_steps": int(np.sum(own["violations"])),
        "of_unguarded": own["violations"].sum() / max(1, free["violations"].sum()),
        "episodes_with_violation": breaking.estimate,
        "with_violation_low": breaking.low,
        "with_violation_high": breaking.high,
        "model_steps_a_block": own["model_steps"].sum() / blocks,
    }


if __name__ == "__main__":
    main()

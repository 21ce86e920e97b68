"""Estimate the duration of a stage from its size and the speeds of this machine.

The estimate is accurate to a factor of about two. The constants below are times relative to
PointMaze-UMaze (control steps) and to the default JEPA (training steps).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jepabench.envs.registry import get_task
from jepabench.execution.speeds import Speeds
from jepabench.pipeline.stages import Stage

# Time of a control step with and without a frame, relative to PointMaze-UMaze
# (docs/performance.md).
_FRAME = {"pusht": 1.0, "manipulation": 9.0, "navigation": 17.0, "particles": 60.0, "maze": 1.0}
_STEP = {"pusht": 2.5, "manipulation": 15.0, "navigation": 4.0, "particles": 70.0, "maze": 2.0}
# Time of a training step relative to the default JEPA, by kind of world model or policy training.
_TRAINING = {
    "jepa": 1.0,
    "ensemble": 1.5,
    "recurrent": 3.0,
    "latent-variable": 1.5,
    "dino-wm": 3.0,
    "autoencoder": 2.0,
}
# The same for a model of states, a policy, a policy from pixels, and a step of online RL.
_STATE_TRAINING, _POLICY_TRAINING, _PIXEL_POLICY, _ONLINE_STEP = 0.05, 0.05, 0.8, 0.03
_POLICY_STEPS = 3000  # gradient steps of a policy whose preset does not state num_steps
_PLANS_PER_CONTROL_STEP = 0.25  # for blocks of five steps
_CONTROL_STEPS = 0.35  # average length of an episode, relative to the task's maximum
# Control steps per model step of a candidate in the true simulator, including the restore.
_SIMULATED = 5.0
_GRADIENT = 3.0  # forward and backward pass, relative to a forward pass
_CLIPS = 12  # number of continuations of an episode with an event


def stage_seconds(stage: Stage, speeds: Speeds) -> float:
    """Return the estimated time of a stage on one thread [s], or NaN for an unknown kind."""
    kinds = {
        "data": _data,
        "model": _model,
        "policy": _policy,
        "evaluation": _evaluation,
        "change": _evaluation,
    }
    kinds["surprise"] = _surprise
    estimate = kinds.get(stage.key.partition("/")[0])
    return estimate(stage.config, speeds) if estimate else math.nan


def _data(config: Mapping[str, Any], speeds: Speeds) -> float:
    steps = config["num_episodes"] * config["num_steps"]
    return steps * (
        _frame(config["task_id"], speeds) + (_block(config) - 1) * _step(config["task_id"], speeds)
    )


def _model(config: Mapping[str, Any], speeds: Speeds) -> float:
    if "checkpoint" in config:
        return 1.0
    training, model = config["training"], config["model"]
    steps = training.get("num_steps", 1000) * training.get("batch_size", 128) / 128
    steps *= training.get("max_rounds", 1)  # rounds may end early, or start anew
    if model.get("encoder") == "state":
        return steps * _STATE_TRAINING * speeds.training_step
    width = 6.0 if model.get("encoder") in ("vit", "slots") else 1.0
    decoder = 0.7 * training.get("decoder_steps", 0)
    return (steps * _TRAINING.get(config["kind"], 1.0) * width + decoder) * speeds.training_step


def _policy(config: Mapping[str, Any], speeds: Speeds) -> float:
    train = config["train"]
    steps = train.get("num_steps", _POLICY_STEPS)
    pixels = train.get("pixels", False)
    if "data" in config or "dataset" in config:
        return steps * (_PIXEL_POLICY if pixels else _POLICY_TRAINING) * speeds.training_step
    world = _block(config) * _step(config["task_id"], speeds)
    seen = _frame(config["task_id"], speeds) if pixels or "world_model" in config else 0.0
    return steps * (world + seen + _ONLINE_STEP * (20 if pixels else 1) * speeds.training_step)


def _evaluation(config: Mapping[str, Any], speeds: Speeds) -> float:
    task = get_task(config["task_id"])
    steps = (
        max(50, _CONTROL_STEPS * task.max_steps) * config["num_episodes"] * len(config["strata"])
    )
    agent = config["agent"]
    looks = agent["track"]["observation"] == "pixels"
    acting = _frame(task.id, speeds) / task.action_block if looks else 0.0
    planner = agent["agent"].get("planner", {})
    if planner:
        plans = (
            _PLANS_PER_CONTROL_STEP
            * 5
            / (task.action_block * agent["agent"].get("execute_steps", 1))
        )
        acting += min(1.0, plans) * _plan(
            planner, task.id, speeds, agent["track"]["privilege"] == "simulator"
        )
    return steps * (_step(task.id, speeds) + acting)


def _plan(planner: Mapping[str, Any], task_id: str, speeds: Speeds, simulated: bool) -> float:
    candidates = planner.get("num_samples", planner.get("num_starts", 64)) * planner.get(
        "num_iterations", 5
    )
    count = candidates * planner.get("horizon", 5)
    if simulated:
        return count * _SIMULATED * _step(task_id, speeds)
    return count * speeds.model_step * (_GRADIENT if "num_starts" in planner else 1.0)


def _surprise(config: Mapping[str, Any], speeds: Speeds) -> float:
    steps = config["num_episodes"] * (4 + 2 * _CLIPS)
    return steps * (
        _frame(config["task_id"], speeds) + _block(config) * _step(config["task_id"], speeds)
    )


def _block(config: Mapping[str, Any]) -> int:
    return get_task(config["task_id"]).action_block


def _frame(task_id: str, speeds: Speeds) -> float:
    return speeds.frame * _FRAME.get(get_task(task_id).family, 5.0)


def _step(task_id: str, speeds: Speeds) -> float:
    return speeds.step * _STEP.get(get_task(task_id).family, 5.0)

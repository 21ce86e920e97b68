"""Measure the speed of this machine, from which the durations of stages are estimated."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from jepabench import envs

SPEEDS_FILE = "doctor.json"  # below the output folder
MODEL_STEPS = 300 * 30 * 5  # number of model steps in the measured plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Processor times of basic operations on one thread.

    Attributes:
        step: Time of a control step of PointMaze-UMaze without a frame [s].
        frame: Time of a control step of PointMaze-UMaze with a frame of 64x64 pixels [s].
        model_step: Time of a step of the default JEPA for one candidate plan [s].
        training_step: Time of a gradient step of the default JEPA on 128 windows [s].
    """

    step: float
    frame: float
    model_step: float
    training_step: float

    def save(self, path: Path) -> None:
        """Write the speeds for ``load_speeds``."""
        from jepabench.envs.data.files import write_atomically

        write_atomically(path, (json.dumps(asdict(self), indent=1) + "\n").encode())


def load_speeds(path: Path) -> Speeds | None:
    """Return the speeds that ``jepabench doctor`` saved, or None if they cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Speeds(**{item.name: float(found[item.name]) for item in fields(Speeds)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def load_or_measure_speeds(output: Path) -> Speeds:
    """Return the saved speeds of this machine. If there are none, measure them in about 10 s.

    The result is saved below ``output`` if that folder is writable.
    """
    path = output / SPEEDS_FILE
    found = load_speeds(path)
    if found is None:
        found = measure_speeds()
        try:
            found.save(path)
        except OSError:  # the folder is read-only, and the file is only a cache
            pass
    return found


def measure_speeds() -> Speeds:
    """Measure the speeds of this machine on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    plain = envs.make("jepabench/PointMaze-UMaze-v1")
    rendered = envs.make("jepabench/PointMaze-UMaze-v1", pixels=64)
    plain.reset(seed=0)
    rendered.reset(seed=0)
    action = plain.action_space.high
    try:
        return Speeds(
            step=_median_seconds(lambda: plain.step(action), 300),
            frame=_median_seconds(lambda: rendered.step(action), 300),
            model_step=_median_seconds(_make_planning_step(), 5) / MODEL_STEPS,
            training_step=_median_seconds(_make_training_step(), 3),
        )
    finally:
        torch.set_num_threads(threads)


def _make_planning_step() -> Callable[[], object]:
    import torch

    from jepabench.agents.costs.energy import Energy
    from jepabench.agents.planners.base import ActionBounds
    from jepabench.agents.planners.cem import CEMPlanner
    from jepabench.pipeline.config import load_preset
    from jepabench.world_models.base import Context, WorldModel, rollout
    from jepabench.world_models.checkpoint import build_model

    model = build_model("jepa", {**load_preset("world_model", "jepa")["model"], "action_size": 2})
    model.eval().requires_grad_(False)
    assert isinstance(model, WorldModel)
    latents = model.encode(torch.zeros(3, 64, 64, 3, dtype=torch.uint8))
    context, energy = Context(latents[None, :2], torch.zeros(1, 1, 2)), Energy()
    planner = CEMPlanner(num_samples=300, num_elites=30, num_iterations=30)
    bounds = ActionBounds(-torch.ones(2), torch.ones(2))

    def plan() -> object:
        return planner.plan(
            lambda actions: energy(rollout(model, context, actions), latents[2:], actions),
            bounds=bounds,
            generators=[torch.Generator().manual_seed(0)],
        )

    return plan


def _make_training_step() -> Callable[[], object]:
    import torch

    from jepabench.pipeline.config import load_preset
    from jepabench.world_models.kinds.jepa import JEPA, JEPAConfig
    from jepabench.world_models.training.batches import TrajectoryBatch

    model = JEPA(JEPAConfig(**load_preset("world_model", "jepa")["model"], action_size=2))
    frames = torch.zeros(128, model.config.window, 64, 64, 3, dtype=torch.uint8)
    batch = TrajectoryBatch(
        {"pixels": frames},
        torch.zeros(128, model.config.window - 1, 2),
        torch.zeros(*frames.shape[:2], 4),
    )
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> object:
        losses = model.losses(batch, torch.Generator().manual_seed(0))
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        return optimizer.step()

    return step


def _median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median processor time of one call [s], after one call to warm up.

    Processor time depends less than wall-clock time on the load of the machine.
    """
    work()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times)

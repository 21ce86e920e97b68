"""Provide the datasets and the world model of a task for comparisons of planners.

Existing datasets and models are reused. For TwoRoom and PointMaze-UMaze, they are those of
``suite=quick``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from rich.console import Console

from jepabench.envs import get_task
from jepabench.envs.task import short_name
from jepabench.evaluation.protocol import SuiteTask
from jepabench.execution.executor import run_stages
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan

# Settings for harder tasks. The quick suite has 600 episodes of 30 model steps and 400 gradient
# steps.
_DATA: dict[str, dict[str, int]] = {
    "PointMaze-Medium-v1": {"num_episodes": 1000},
    "PointMaze-Large-v1": {"num_episodes": 1500, "num_steps": 40},
    "Push-v1": {"num_episodes": 2000},
}
_GRADIENT_STEPS = {"PointMaze-Medium-v1": 600, "PointMaze-Large-v1": 800}


@dataclass(frozen=True, slots=True)
class SharedModel:
    """Folders of a world model and its datasets.

    Attributes:
        task_id: Id of the task.
        model: Folder of the world model.
        data: Folder of the training data.
        validation: Folder of the validation data.
        work: Folder for results that are based on the model.
    """

    task_id: str
    model: Path
    data: Path
    validation: Path
    work: Path

    @property
    def name(self) -> str:
        """Short name of the task."""
        return short_name(self.task_id)


def train_shared_model(
    task_id: str, output: Path, *, agent: str = "jepa-cem", pixels: bool = True
) -> SharedModel:
    """Collect the data and train the world model of an ``agent`` preset, if they are missing."""
    task = get_task(task_id)
    config = compose_run(
        ["suite=quick", f"agent={agent}", f"output={output.resolve()}", "num_workers=1"]
    )
    suite, name = config.suite, short_name(task.id)
    steps = {"training": {"num_steps": _GRADIENT_STEPS.get(name, 400)}}
    config = config.with_suite(
        tasks=(SuiteTask(task_id=task.id, strata=task.strata[:1], num_episodes=1),),
        data={**suite.data, **_DATA.get(name, {})},
        overrides=suite.overrides.with_changes("world_model", "jepa", steps),
    )
    if not pixels:
        config = replace(config, pixels=None)
    make_plan = partial(SuitePlan, config)
    stages = make_plan().stages
    (model,) = [key for key in stages if key.startswith("model/")]
    run_stages(make_plan, launcher=instantiate(config.launcher), console=Console(), only=[model])
    train, validation = (
        stages[f"data/{name}/{split}"].directory / "dataset" for split in ("train", "validation")
    )
    folder = stages[model].directory
    return SharedModel(task.id, folder, train, validation, output / "planning" / name / folder.name)

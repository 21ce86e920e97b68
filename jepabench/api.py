"""The Python interface: make environments, models and agents, and evaluate them in one line.

Everything here is also an attribute of ``jepabench``::

    import jepabench

    env = jepabench.make("TwoRoom", pixels=64) agent = jepabench.make_agent("jepa-cem", "TwoRoom")
    results = jepabench.evaluate(agent, suite="quick") print(results.table())
"""

from __future__ import annotations

import base64
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jepabench.envs import ActionBlock, GoalEnv, episode_specs, get_task
from jepabench.envs import make as make_env
from jepabench.envs.errors import unknown_name
from jepabench.envs.task import short_name

if TYPE_CHECKING:
    import pandas as pd
    from gymnasium import Env
    from gymnasium.vector import VectorEnv

    from jepabench.agents.base import Agent
    from jepabench.evaluation.protocol import SuiteTask
    from jepabench.world_models.checkpoint import LoadedWorldModel

__all__ = ["Results", "evaluate", "load_world_model", "make", "make_agent", "make_vec"]

_COLUMNS = {
    "task": "task",
    "stratum": "stratum",
    "agent": "agent",
    "episodes": "episodes",
    "success_held": "held",
    "held_low": "low",
    "held_high": "high",
    "success_ever": "ever",
    "ms_per_step": "ms/step",
}


@dataclass(frozen=True)
class Results:
    """Evaluated episodes of one or more agents.

    Attributes:
        directories: Folders with the records and actions, one per agent, task and training seed.
    """

    directories: tuple[Path, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per episode, with the columns of ``EpisodeRecord``."""
        import pandas as pd

        from jepabench.evaluation.records import read_records

        parts = [read_records(folder / "episodes.parquet") for folder in self.directories]
        return pd.concat(parts, ignore_index=True)

    def table(self) -> pd.DataFrame:
        """Return the success table: one row per task, stratum and agent.

        ``held`` is the share of held goals in [0, 1], ``low`` and ``high`` its 95 % interval, and
        ``ever`` the share of goals that were reached at all.
        """
        import pandas as pd

        from jepabench.evaluation.statistics.success_tables import score_table

        scores = score_table(self.to_frame())
        table = pd.DataFrame({shown: scores[name].to_numpy() for name, shown in _COLUMNS.items()})
        return table.assign(task=table["task"].map(short_name)).round(3)

    def films(self, num_films: int = 2) -> list[Path]:
        """Make films of each agent and return their files (animated WebP).

        Args:
            num_films: Films per agent, task and seed: in turn the farthest success and the nearest
                failure.
        """
        from jepabench.evaluation.records import frame_records, read_records
        from jepabench.results.media.episode_media import choose_episodes, show_episode

        paths = []
        for folder in self.directories:
            records = frame_records(read_records(folder / "episodes.parquet"))
            strata = get_task(records[0].task_id).strata
            for record in choose_episodes(records, strata=strata, num_episodes=num_films):
                shown = show_episode(folder, record, folder / "media")
                if shown.film is not None:
                    paths.append(folder / "media" / shown.film.path)
        return paths

    def _repr_html_(self) -> str:
        """Return the table and one film, for notebooks."""
        html = self.table().to_html(index=False, float_format=lambda value: f"{value:.2f}")
        for film in self.films(1)[:1]:
            data = base64.b64encode(film.read_bytes()).decode()
            html += f'<p><img alt="{film.name}" src="data:image/webp;base64,{data}"></p>'
        return html


def make(task: str, *, pixels: int | None = None, **settings: Any) -> GoalEnv:
    """Make the environment of a task.

    Args:
        task: Id or short name, such as "TwoRoom" or "jepabench/TwoRoom-v1".
        pixels: Side of the frames in the observation, or None for the state alone.
        settings: Other arguments of the task's class, such as ``render_mode="rgb_array"``.

    Raises:
        UnknownNameError: There is no such task; the message suggests the nearest.
    """
    from jepabench.pipeline.tasks import resolve_task

    return make_env(resolve_task(task), pixels=pixels, **settings)


def make_vec(
    task: str,
    num_envs: int = 4,
    *,
    pixels: int | None = None,
    blocks: bool = False,
    vectorization_mode: Literal["sync", "async"] = "sync",
    **settings: Any,
) -> VectorEnv:
    """Make a Gymnasium vector environment of a task, to train elsewhere.

    Episodes without options are drawn from the training split.

    Args:
        task: Id or short name.
        num_envs: Number of environments.
        pixels: Side of the frames, or None for the state alone.
        blocks: Whether an action is a block, the step of world models and of the suite's own
            policies, instead of a control step.
        vectorization_mode: "sync" in this process, or "async" with one process per environment.
        settings: Other arguments of the task's class.

    Raises:
        UnknownNameError: There is no such task or mode.
        ValueError: ``num_envs`` is below 1.
    """
    from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

    from jepabench.pipeline.tasks import resolve_task

    kinds = {"sync": SyncVectorEnv, "async": AsyncVectorEnv}
    if vectorization_mode not in kinds:
        raise unknown_name("vectorization mode", vectorization_mode, kinds)
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}.")
    one = partial(_make_one, resolve_task(task), blocks, {"pixels": pixels, **settings})
    return kinds[vectorization_mode]([one] * num_envs)


def _make_one(task_id: str, blocks: bool, settings: dict[str, Any]) -> Env:
    env = make_env(task_id, **settings)
    return ActionBlock(env) if blocks else env


def load_world_model(name: str | Path) -> LoadedWorldModel:
    """Load a world model.

    Args:
        name: Name of a reference checkpoint, such as "two-room", or a folder that
            ``jepabench train`` wrote.

    Raises:
        UnknownNameError: There is no such checkpoint; the message suggests the nearest name.
        CheckpointError: The checkpoint is damaged.
    """
    from jepabench.pipeline.checkpoints import find_checkpoint
    from jepabench.world_models.checkpoint import load_world_model as load

    return load(find_checkpoint(str(name)))


def make_agent(
    name: str | None = None,
    task: str | None = None,
    *,
    world_model: str | Path | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
) -> Agent:
    """Make an agent from a preset.

    Args:
        name: Preset (``jepabench list agents``), ``sb3:model.zip`` or ``package.module:Class``. By
            default the preset for the observations of the world model.
        task: Id or short name of the task; by default the task of the world model.
        world_model: Name of a reference checkpoint, or a folder that ``jepabench train`` wrote. By
            default the reference checkpoint of the task.
        overrides: Changes of the preset, such as ``"agent.planner.num_samples=64"``.
        trust: Whether ``sb3:model.zip`` may be loaded. It is a pickle, which can run any code.

    Raises:
        ConfigError: The preset needs a training, or there is no world model for the task.
        UnknownNameError: There is no such preset, task, setting or checkpoint.
        UntrustedFileError: The agent is a pickle and ``trust`` is False.
    """
    from jepabench.pipeline.saved_model import make_agent_of_task
    from jepabench.pipeline.tasks import resolve_task

    with _trusting(trust):
        return make_agent_of_task(
            name, resolve_task(task) if task else None, world_model, overrides
        )


def evaluate(
    agent: str | Agent | Callable[..., Any],
    *,
    suite: str | None = None,
    task: str | None = None,
    name: str | None = None,
    strata: Sequence[str] | None = None,
    episodes: int | None = None,
    pixels: int = 64,
    output: str | Path = "outputs",
    overrides: Sequence[str] = (),
    trust: bool = False,
    tracker: str = "none",
    progress: bool = True,
) -> Results:
    """Evaluate an agent on the test episodes of a suite or of one task.

    Args:
        agent: Name of a preset, or several separated by commas: missing data, models and policies
            are made below ``output``. Or an agent object, or a function or PyTorch module from
            observations to actions (``ModuleAgent``), which acts on one task.
        suite: Suite of a named agent, by default "quick". For an agent object, the suite whose
            strata and numbers of episodes are used for its task.
        task: Id or short name of the task of an agent object; by default the agent's own. With a
            named agent, only this task is evaluated, by ``make_agent(agent, task)``.
        name: Name of an agent object in the table; its class by default.
        strata: Distances of an agent object's goals; all of the task's by default.
        episodes: Episodes per stratum of an agent object; 20 by default.
        pixels: Side of the frames.
        output: Folder for everything that a named agent's suite makes.
        overrides: Further settings of the suite's run, such as ``"seed=0,1"`` or
            ``"agent.planner.num_samples=64,128"``.
        trust: Whether ``sb3:model.zip`` may be loaded. It is a pickle, which can run any code.
        tracker: Where trainings of a named agent's suite report their curves: "none",
            "tensorboard", "wandb", "mlflow" or "trackio".
        progress: Whether to show a progress bar.

    Raises:
        UnknownNameError: There is no such preset, suite, task, stratum or tracker.
        ModuleNotFoundError: The package of the tracker is not installed.
        ConfigError: The agent cannot be made, or the suite does not contain its task.
        ValueError: A function or module without a task.
        UntrustedFileError: The agent is a pickle and ``trust`` is False.
    """
    with _trusting(trust):
        if isinstance(agent, str) and task is None:
            settings = [f"suite={suite or 'quick'}", f"agent={agent}", f"pixels={pixels}"]
            settings.append(f"tracker={tracker}")
            return _evaluate_suite([*settings, *overrides], Path(output), progress)
    if isinstance(agent, str):
        name = name or agent
        agent = make_agent(agent, task, overrides=overrides, trust=trust)
    return _evaluate_object(agent, suite, task, name, strata, episodes, pixels, progress)


def _evaluate_object(
    agent: Any,
    suite: str | None,
    task: str | None,
    name: str | None,
    strata: Sequence[str] | None,
    episodes: int | None,
    pixels: int,
    progress: bool,
) -> Results:
    from tqdm import tqdm

    from jepabench.evaluation.rollout import evaluate_episodes
    from jepabench.evaluation.traces import save_evaluation
    from jepabench.pipeline.tasks import resolve_task

    name = name or type(agent).__name__
    task = task or getattr(getattr(agent, "task", None), "id", None)
    if task is None:
        raise ValueError(f"Name the task of {name}, for instance task='TwoRoom'.")
    task_id = resolve_task(task)
    if not hasattr(agent, "act"):
        from jepabench.agents.model_free.external.module_agent import ModuleAgent

        agent = ModuleAgent(agent, task_id=task_id, pixels=pixels)
    if suite:
        entry = _find_suite_task(suite, task_id)
        strata, episodes = strata or entry.strata, episodes or entry.num_episodes
    specs = episode_specs(task_id, "test", episodes or 20, strata=tuple(strata) if strata else None)
    with tqdm(
        total=len(specs), desc=name, unit="episode", leave=False, disable=not progress
    ) as bar:
        found = evaluate_episodes(agent, specs, agent_name=name, pixels=pixels, progress=bar.update)
    folder = Path(tempfile.mkdtemp(prefix="jepabench-"))
    save_evaluation(folder, found)
    results = Results((folder,))
    weakref.finalize(results, shutil.rmtree, folder, ignore_errors=True)
    return results


def _find_suite_task(suite: str, task_id: str) -> SuiteTask:
    from jepabench.pipeline.config import ConfigError
    from jepabench.pipeline.suites import find_suite

    tasks = {task.task_id: task for task in find_suite(suite).tasks}
    if task_id not in tasks:
        raise ConfigError(f"Suite {suite!r} does not contain {task_id}; it has {', '.join(tasks)}.")
    return tasks[task_id]


@contextmanager
def _trusting(trust: bool) -> Iterator[None]:
    """Allow pickles within a call."""
    from jepabench.agents.model_free.external.trust import is_trusted, set_trust

    before = is_trusted()
    set_trust(trust or before)
    try:
        yield
    finally:
        set_trust(before)


def _evaluate_suite(overrides: list[str], output: Path, progress: bool) -> Results:
    from rich.console import Console

    from jepabench.execution.run_plan import run_plan
    from jepabench.pipeline.run_config import compose_run
    from jepabench.pipeline.stages import SuitePlan

    config = replace(compose_run(overrides), output=output)
    run_plan(config, Console(stderr=True, quiet=not progress))
    return Results(tuple(stage.directory for stage in SuitePlan(config).evaluations))

"""The Python interface: make environments, models and agents, and evaluate them in one line.

Everything here is also an attribute of ``jepabench``::

    import jepabench

    env = jepabench.make("jepabench/TwoRoom-v1", pixels=64)
    agent = jepabench.make_agent("jepa-cem", world_model="two-room")
    results = jepabench.evaluate(agent, task="jepabench/TwoRoom-v1", episodes=5)
    print(results.table())
"""

from __future__ import annotations

import base64
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jepabench.envs import episode_specs, get_task, make
from jepabench.envs.task import short_name

if TYPE_CHECKING:
    import pandas as pd

    from jepabench.agents.base import Agent
    from jepabench.world_models.checkpoint import LoadedWorldModel

__all__ = ["Results", "evaluate", "load_world_model", "make", "make_agent"]

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
        from jepabench.results.media.gallery import choose_episodes, show_episode

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
    name: str | None = None, *, world_model: str | Path, overrides: Sequence[str] = ()
) -> Agent:
    """Make an agent that plans with a trained world model.

    Args:
        name: Preset, see ``jepabench list agents``; by default CEM.
        world_model: As for ``load_world_model``. It determines the task.
        overrides: Changes of the preset, such as ``"agent.planner.num_samples=64"``.

    Raises:
        ConfigError: The preset does not plan with a world model, or has no such setting.
        UnknownNameError: There is no such preset or checkpoint.
    """
    from jepabench.pipeline.checkpoints import find_checkpoint
    from jepabench.pipeline.saved_model import agent_preset, build_agent, read_task_id

    folder = find_checkpoint(str(world_model))
    return build_agent(agent_preset(folder, name, overrides), folder, read_task_id(folder))


def evaluate(
    agent: str | Agent,
    *,
    suite: str = "quick",
    task: str | None = None,
    name: str | None = None,
    strata: Sequence[str] | None = None,
    episodes: int = 20,
    pixels: int = 64,
    output: str | Path = "outputs",
    progress: bool = True,
) -> Results:
    """Evaluate an agent on the test episodes of a suite or of one task.

    Args:
        agent: Name of a preset, or several separated by commas: the suite's data, models and
            policies are made where they are missing, below ``output``. Or an agent object, which
            acts on one task.
        suite: Suite of a named agent.
        task: Task of an agent object.
        name: Name of an agent object in the table; its class by default.
        strata: Distances of an agent object's goals; all of the task's by default.
        episodes: Episodes per stratum of an agent object.
        pixels: Side of the frames of an agent object.
        output: Folder for everything that a named agent's suite makes.
        progress: Whether to show a progress bar.

    Raises:
        UnknownNameError: There is no such preset, suite, task or stratum.
        ValueError: An agent object without a task.
    """
    if isinstance(agent, str):
        return _evaluate_suite(agent, suite, Path(output), progress)
    if task is None:
        raise ValueError("Name the task of the agent, for instance task='jepabench/TwoRoom-v1'.")
    from tqdm import tqdm

    from jepabench.evaluation.rollout import evaluate_episodes
    from jepabench.evaluation.traces import save_evaluation

    chosen = tuple(strata) if strata else None
    specs = episode_specs(get_task(task).id, "test", episodes, strata=chosen)
    name = name or type(agent).__name__
    with tqdm(
        total=len(specs), desc=name, unit="episode", leave=False, disable=not progress
    ) as bar:
        found = evaluate_episodes(agent, specs, agent_name=name, pixels=pixels, progress=bar.update)
    folder = Path(tempfile.mkdtemp(prefix="jepabench-"))
    save_evaluation(folder, found)
    results = Results((folder,))
    weakref.finalize(results, shutil.rmtree, folder, ignore_errors=True)
    return results


def _evaluate_suite(names: str, suite: str, output: Path, progress: bool) -> Results:
    from rich.console import Console

    from jepabench.execution.run_plan import run_plan
    from jepabench.pipeline.run_config import compose_run
    from jepabench.pipeline.stages import SuitePlan

    root = compose_run([f"suite={suite}", f"agent={names}"])
    root["output"] = str(output)
    run_plan(root, Console(stderr=True, quiet=not progress))
    return Results(tuple(stage.directory for stage in SuitePlan(root).evaluations))

"""The stages of a suite and their dependencies. ``jepabench.execution`` runs them.

A stage is idempotent (``jepabench.evaluation.stages.stage``). Every process can build it from the
configuration of the run and its key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jepabench.envs.registry import get_task
from jepabench.envs.task import short_name
from jepabench.evaluation.protocol import PROTOCOL_VERSION, SuiteTask
from jepabench.evaluation.references import check_reserved_name, find_track
from jepabench.evaluation.stages.stage import stage_id
from jepabench.pipeline import stage_work as work
from jepabench.pipeline.checkpoints import find_checkpoint
from jepabench.pipeline.config import ConfigError, load_agent, load_preset
from jepabench.pipeline.presets.variants import Changes, Variant
from jepabench.pipeline.schema import AgentPreset, RunConfig, merge

if TYPE_CHECKING:
    from jepabench.evaluation.model_checks.generalization import Change

# First parts of the keys of stages.
KINDS = ("data", "model", "policy", "evaluation", "change", "surprise")


@dataclass(frozen=True, slots=True)
class Stage:
    """A unit of work with its own folder.

    Attributes:
        key: Unique name, to which other stages refer.
        title: Description in one line.
        directory: Folder of the result.
        config: Everything that determines the result. The stage is identified by its hash.
        needs: Keys of the stages that must be done first.
        work: Function that writes the result into a folder.
    """

    key: str
    title: str
    directory: Path
    config: Mapping[str, Any]
    needs: tuple[str, ...]
    work: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Cell:
    """One agent on one task with one training seed.

    Attributes:
        task: Task with its episodes.
        agent: Preset with the changes of the suite for the task.
        variant: Variant that the suite names.
        changes: Changes of the variant.
        seed: Training seed.
    """

    task: SuiteTask
    agent: AgentPreset
    variant: Variant
    changes: Changes
    seed: int

    @property
    def task_name(self) -> str:
        """Name of the task without its namespace."""
        return short_name(self.task.task_id)


class SuitePlan:
    """The stages of a suite. Each stage comes after those that it needs.

    Args:
        config: Configuration of the run, from ``compose_run``.

    Raises:
        ConfigError: The suite, an agent or a world model has an invalid value.
        UnknownNameError: A name does not exist.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config, self.output, self.measure = config, config.output, config.suite.measure
        # This imports the packages of tasks. Below, all tasks have plain ids.
        tasks = tuple(
            replace(task, task_id=get_task(task.task_id).id) for task in config.suite.tasks
        )
        self.suite = replace(config.suite, tasks=tasks)
        self.stages: dict[str, Stage] = {}
        self.agents = {name: self._agent(name) for name in self.suite.agents}
        self._check_agents()
        for task in tasks:
            for name, agent in self.agents.items():
                variant = Variant.parse(name)
                here, changes = self._agent(name, task), variant.changes
                for seed in self.suite.training_seeds if agent.is_seeded else (0,):
                    self._add_measured(Cell(task, here, variant, changes, seed))

    @property
    def suite_directory(self) -> Path:
        """Folder of the suite's evaluations and report."""
        return self.output / self.suite.name

    @property
    def evaluations(self) -> list[Stage]:
        """The evaluations, which provide the rows of the success table."""
        return [stage for key, stage in self.stages.items() if key.startswith("evaluation/")]

    def _check_agents(self) -> None:
        """Check the names of all agents and the training seeds of agents of other packages.

        Raises:
            ConfigError: Two agents have the same name, or an agent has one set of weights for
                several training seeds.
            ReservedNameError: An agent has the name of a reference agent but another track.
        """
        names: dict[str, str] = {}
        for asked, agent in self.agents.items():
            other = names.setdefault(agent.name, asked)
            if other != asked:
                raise ConfigError(f"Agents {other!r} and {asked!r} are both named {agent.name!r}.")
            if track := find_track(agent.track):
                check_reserved_name(agent.name, track)
            seeds = self.suite.training_seeds
            if agent.learns and agent.per_seed is False and len(seeds) > 1:
                raise ConfigError(
                    f"Agent {asked!r} learns, and the suite has {len(seeds)} training seeds. Its "
                    "class must accept training_seed=... and load the weights of that seed; the "
                    "path of sb3:PATH must contain {seed}."
                )

    def _agent(self, name: str, task: SuiteTask | None = None) -> AgentPreset:
        """Return a preset with the changes of the suite, for all tasks or for one."""
        task_name = short_name(task.task_id) if task else None
        overrides = self.suite.overrides.find("agent", name, task_name)
        if (base := Variant.parse(name).base) != name:
            overrides = merge(overrides, self.suite.overrides.find("agent", base, task_name))
        return load_agent(name, overrides)

    def _add_dataset(self, cell: Cell, split: str) -> Stage:
        name = cell.task_name
        data = {**self.suite.data, **self.suite.overrides.find("data", name), **cell.changes.data}
        num_validation = data.pop("num_validation")
        if split == "validation":
            data["num_episodes"] = num_validation
        pixels = cell.changes.pixels or self.config.pixels
        config = {"task_id": cell.task.task_id, "split": split, "pixels": pixels, **data}
        return self._add_hashed(
            key=f"data/{name}/{split}",
            title=f"collect {split} data on {name}",
            folder=f"data/{name}-{split}",
            config=config,
            work=partial(work.collect_dataset, config),
        )

    def _add_world_model(self, cell: Cell, name: str) -> Stage:
        """Add the training of the world model ``name``, or of its replacement on this task."""
        overrides, task_name, changes = self.suite.overrides, cell.task_name, cell.changes
        if given := overrides.checkpoint.get(task_name, {}).get(name):
            if changes.world_model or changes.data or changes.pixels:
                raise ConfigError(
                    f"On {task_name}, the suite uses the trained world model {given!r}, so its "
                    "settings and its data cannot be changed."
                )
            return self._add_checkpoint(cell.task.task_id, given)
        name = overrides.instead.get(task_name, {}).get(name, name)
        preset = load_preset(
            "world_model",
            name,
            merge(changes.world_model, overrides.find("world_model", name, task_name)),
        )
        data, held_out = self._add_dataset(cell, "train"), self._add_dataset(cell, "validation")
        config = {**preset, "seed": cell.seed, "data": data.config, "validation": held_out.config}
        datasets = (data.directory / "dataset", held_out.directory / "dataset")
        return self._add_hashed(
            key=f"model/{task_name}/{name}/{cell.seed}",
            title=f"train world model {name} on {task_name} (seed {cell.seed})",
            folder=f"models/{task_name}/{name}-seed{cell.seed}",
            config=config,
            needs=(data.key, held_out.key),
            work=partial(work.fit_world_model, preset, *datasets, cell.seed),
        )

    def _add_checkpoint(self, task_id: str, checkpoint: str) -> Stage:
        """Add a stage that copies an existing world model, which all training seeds share."""
        folder, task_name = find_checkpoint(checkpoint).resolve(), short_name(task_id)
        description = (folder / "model.json").read_bytes()
        trained_on = json.loads(description)["task_id"]
        if trained_on != task_id:
            raise ConfigError(
                f"Checkpoint {checkpoint!r} was trained on {trained_on}, not on {task_id}."
            )
        config = {"checkpoint": hashlib.sha256(description).hexdigest()}
        return self._add_hashed(
            key=f"model/{task_name}/{folder.name}/given",
            title=f"copy world model {folder.name} for {task_name}",
            folder=f"models/{task_name}/{folder.name}",
            config=config,
            work=partial(work.copy_checkpoint, folder),
        )

    def _add_policy(self, cell: Cell, train: Mapping[str, Any]) -> Stage:
        """Add the training of an agent, with the arguments ``train``."""
        agent, task_id, task_name = cell.agent, cell.task.task_id, cell.task_name
        needs: dict[str, Stage] = {}
        for key, split in (("dataset", "train"), ("validation", "validation")):
            if key in (agent.inputs or ()):
                needs[key] = self._add_dataset(cell, split)
        if agent.world_model:
            needs["world_model"] = self._add_world_model(cell, agent.world_model)
        config = {
            "task_id": task_id,
            "train": train,
            "seed": cell.seed,
            **{key: stage.config for key, stage in needs.items()},
        }
        paths = {
            key: stage.directory / ("" if key == "world_model" else "dataset")
            for key, stage in needs.items()
        }
        # Variants that do not change the training share one policy.
        base = agent.name.removesuffix(cell.variant.suffix)
        arguments = {"task_id": task_id, "seed": cell.seed, **paths}
        return self._add_hashed(
            key=f"policy/{task_name}/{base}/{cell.seed}",
            title=f"train {base} on {task_name} (seed {cell.seed})",
            folder=f"policies/{task_name}/{base}-seed{cell.seed}",
            config=config,
            needs=tuple(stage.key for stage in needs.values()),
            work=partial(work.train_policy, train, arguments),
        )

    def _add_measured(self, cell: Cell) -> None:
        """Add the stages that measure an agent on a task."""
        if self.measure == "success":
            self._add_evaluation(cell)
        elif self.measure == "surprise":
            self._add_surprise(cell)
        else:
            from jepabench.evaluation.model_checks.generalization import list_changes

            for change in list_changes(cell.task.task_id):
                self._add_evaluation(cell, change)

    def _add_evaluation(self, cell: Cell, change: Change | None = None) -> Stage:
        task, agent, seed = cell.task, cell.agent, cell.seed
        needs: dict[str, Stage] = {}
        if agent.world_model:
            needs["world_model"] = self._add_world_model(cell, agent.world_model)
        if agent.train:
            needs["policy"] = self._add_policy(cell, agent.train)
        config = {
            "protocol_version": PROTOCOL_VERSION,
            "task_id": task.task_id,
            "strata": list(task.strata),
            "num_episodes": agent.limit_episodes(task.num_episodes),
            "split": self.suite.split,
            "pixels": cell.changes.pixels or self.config.pixels,
            "agent": agent.as_config(),
            "seed": seed,
            **{key: stage.config for key, stage in needs.items()},
        }
        paths = {key: stage.directory for key, stage in needs.items()}
        if "policy" in needs:
            paths["policy"] = self._policy_directory(needs["policy"])
        place = f"{cell.task_name}/{agent.name}/"
        title = f"evaluate {agent.name} on {cell.task_name} (seed {seed})"
        if change is None:
            key, directory = (
                f"evaluation/{place}{seed}",
                self.suite_directory / "evaluations" / place / f"seed{seed}",
            )
        else:
            config["change"] = {"factor": change.factor, "level": change.level}
            key, title = (
                f"change/{place}{change.factor}-{change.level}/{seed}",
                f"{title} with {change.factor} {change.level}",
            )
            directory = (
                self.suite_directory
                / "changes"
                / place
                / f"{change.factor}-{change.level}"
                / f"seed{seed}"
            )
        needed = tuple(stage.key for stage in needs.values())
        folders = {name: self.stages[name].directory for name in self._dependencies(needed)}
        if "policy" in needs:
            folders[needs["policy"].key] = paths["policy"]
        do = partial(work.evaluate_agent, config, paths, tuple(folders.items()))
        return self._add(Stage(key, title, directory, config, needed, do))

    def _dependencies(self, keys: Iterable[str]) -> list[str]:
        """Return stages and everything that they depend on, dependencies first."""
        found: dict[str, None] = {}
        for key in keys:
            found |= dict.fromkeys([*self._dependencies(self.stages[key].needs), key])
        return list(found)

    def _add_surprise(self, cell: Cell) -> None:
        """Add the measurement of surprise for the world model of an agent.

        Raises:
            ConfigError: The agent has no world model.
        """
        task, agent, seed = cell.task, cell.agent, cell.seed
        if not agent.world_model:
            raise ConfigError(
                f"Suite {self.suite.name} measures surprise, but agent {str(cell.variant)!r} has "
                "no world model."
            )
        model = self._add_world_model(cell, agent.world_model)
        config = {
            "task_id": task.task_id,
            "num_episodes": task.num_episodes,
            "split": self.suite.split,
            "pixels": cell.changes.pixels or self.config.pixels,
            "seed": seed,
            "world_model": model.config,
            "agent": {"name": agent.name},
        }
        place = f"{cell.task_name}/{agent.name}"
        self._add(
            Stage(
                f"surprise/{place}/{seed}",
                f"surprise of {agent.name} on {cell.task_name} (seed {seed})",
                self.suite_directory / "surprise" / place / f"seed{seed}",
                config,
                (model.key,),
                partial(work.measure_surprise, config, model.directory),
            )
        )

    def _policy_directory(self, policy: Stage) -> Path:
        """Return the folder of the policy to evaluate, by default the final one."""
        return policy.directory

    def _add_hashed(
        self, *, config: Mapping[str, Any], folder: str, needs: tuple[str, ...] = (), **stage: Any
    ) -> Stage:
        """Add a stage whose folder ends with the start of its hash."""
        directory = self.output / f"{folder}-{stage_id(config)[:8]}"
        return self._add(Stage(directory=directory, config=config, needs=needs, **stage))

    def _add(self, stage: Stage) -> Stage:
        """Add a stage, or return the existing one with the same key and configuration."""
        known = self.stages.get(stage.key)
        if known is not None and known.config != stage.config:  # the stage of another variant
            stage = replace(stage, key=f"{stage.key}-{stage_id(stage.config)[:8]}")
        return self.stages.setdefault(stage.key, self._track(stage))

    def _track(self, stage: Stage) -> Stage:
        """Return a training stage that reports to the tracker of the run; others unchanged."""
        tracker = self.config.tracker
        if tracker == "none" or stage.key.partition("/")[0] not in ("model", "policy"):
            return stage
        arguments = (tracker, self.output, stage.key, stage.config, stage.work)
        return replace(stage, work=partial(work.train_tracked, *arguments))

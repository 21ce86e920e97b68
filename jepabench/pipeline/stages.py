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

from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import get_task
from jepabench.envs.task import short_name
from jepabench.evaluation.protocol import PROTOCOL_VERSION, Suite
from jepabench.evaluation.references import check_reserved_name, find_track
from jepabench.evaluation.stages.stage import stage_id
from jepabench.pipeline import stage_work as work
from jepabench.pipeline.checkpoints import find_checkpoint
from jepabench.pipeline.config import ConfigError, load_preset
from jepabench.pipeline.limits import KEYS_OF_THE_PLAN
from jepabench.pipeline.presets.variants import UNCHANGED, Changes, Variant

if TYPE_CHECKING:
    from jepabench.evaluation.model_checks.generalization import Change

KINDS = (
    "data",
    "model",
    "policy",
    "evaluation",
    "change",
    "surprise",
)  # first part of a stage's key
MEASURES = ("success", "generalization", "surprise")  # what a suite measures
_AGENT_KEYS = frozenset("name track learns world_model inputs train artifact agent tuning".split())
_AGENT_KEYS |= {"code", "cost", "files", "per_seed", "weights"}  # of agents of other packages


@dataclass(frozen=True, slots=True)
class Stage:
    """A unit of work with its own folder.

    Attributes:
        key: unique name, to which other stages refer.
        title: description in one line.
        directory: folder of the result.
        config: everything that determines the result. ``jepabench.evaluation.stages.stage`` hashes
            it.
        needs: keys of the stages that must be done first.
        work: function that writes the result into a folder.
    """

    key: str
    title: str
    directory: Path
    config: Mapping[str, Any]
    needs: tuple[str, ...]
    work: Callable[[Path], None]


def merge(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings. Where both have a value, that of ``first`` is used."""
    both = {**then, **first}
    for key in first.keys() & then.keys():
        if isinstance(first[key], Mapping) and isinstance(then[key], Mapping):
            both[key] = merge(first[key], then[key])
    return both


class SuitePlan:
    """The stages of a suite, in an order in which each stage follows those that it needs.

    Args:
        root: configuration of the run, from ``compose_run``.

    Raises:
        ConfigError: the suite, an agent or a world model has a wrong value.
        UnknownNameError: a name does not exist.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.suite = root["suite"]
        Suite.from_config(
            {key: value for key, value in self.suite.items() if key not in KEYS_OF_THE_PLAN}
        )
        self.measure = self.suite.get("measure", "success")
        if self.measure not in MEASURES:
            raise unknown_name(f"measure of suite {self.suite['name']}", self.measure, MEASURES)
        # Import tasks of other packages. From here on, all tasks have plain ids.
        specs = [get_task(task["task_id"]) for task in self.suite["tasks"]]
        named = [
            {"strata": list(spec.strata), **task, "task_id": spec.id}
            for spec, task in zip(specs, self.suite["tasks"], strict=True)
        ]
        self.suite = {**self.suite, "tasks": named}
        self.output = Path(root["output"])
        self.stages: dict[str, Stage] = {}
        self.agents = {name: self._agent(name) for name in self.suite["agents"]}
        self._check_agents()
        for task in self.suite["tasks"]:
            for name in self.suite["agents"]:
                for seed in (
                    self.suite["training_seeds"] if self.agents[name].get("learns", True) else [0]
                ):
                    self._add_measured(task, name, seed)

    @property
    def suite_directory(self) -> Path:
        """Folder of the suite's evaluations and report."""
        return self.output / self.suite["name"]

    @property
    def evaluations(self) -> list[Stage]:
        """The evaluations, which provide the rows of the success table."""
        return [stage for key, stage in self.stages.items() if key.startswith("evaluation/")]

    def _check_agents(self) -> None:
        """Check the names of all agents and the training seeds of agents of other packages.

        Raises:
            ConfigError: two agents have the same name, or an agent has one set of weights for
                several training seeds.
            ReservedNameError: an agent has the name of a reference agent but another track.
        """
        names: dict[str, str] = {}
        for asked, agent in self.agents.items():
            other = names.setdefault(agent["name"], asked)
            if other != asked:
                raise ConfigError(
                    f"Agents {other!r} and {asked!r} are both named {agent['name']!r}."
                )
            if track := find_track(agent["track"]):
                check_reserved_name(agent["name"], track)
            seeds = self.suite["training_seeds"]
            if agent.get("learns") and not agent.get("per_seed", True) and len(seeds) > 1:
                raise ConfigError(
                    f"Agent {asked!r} learns, and the suite has {len(seeds)} training seeds. Its "
                    "class must accept training_seed=... and load the weights of that seed; the "
                    "path of sb3:PATH must contain {seed}."
                )

    def _agent(self, name: str, task: Mapping[str, Any] | None = None) -> dict[str, Any]:
        overrides = self._overrides("agent", name, task)
        if (base := Variant.parse(name).base) != name:
            overrides = merge(overrides, self._overrides("agent", base, task))
        agent = load_preset("agent", name, overrides)
        unknown = set(agent) - _AGENT_KEYS
        if unknown:
            raise ConfigError(f"Agent preset {name!r} has unknown keys {sorted(unknown)}.")
        return agent

    def _overrides(
        self, group: str, name: str, task: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the overrides of the suite for a preset or for ``data``.

        Those for the task, if it is given, take precedence.
        """
        overrides = self.suite.get("overrides", {})
        here = overrides.get("task", {}).get(short_name(task["task_id"]), {}) if task else {}
        return merge(here.get(group, {}).get(name, {}), overrides.get(group, {}).get(name, {}))

    def _add_dataset(
        self, task: Mapping[str, Any], split: str, changes: Changes = UNCHANGED
    ) -> Stage:
        data = {**self.suite["data"], **self._overrides("data", short_name(task["task_id"]))}
        data |= changes.data
        num_validation = data.pop("num_validation")
        if split == "validation":
            data["num_episodes"] = num_validation
        spec = get_task(task["task_id"])
        pixels = changes.pixels or self.root["pixels"]
        config = {"task_id": spec.id, "split": split, "pixels": pixels, **data}
        name = short_name(spec.id)
        return self._add_hashed(
            key=f"data/{name}/{split}",
            title=f"collect {split} data on {name}",
            folder=f"data/{name}-{split}",
            config=config,
            work=partial(work.collect_dataset, config),
        )

    def _add_world_model(
        self, task: Mapping[str, Any], name: str, seed: int, changes: Changes = UNCHANGED
    ) -> Stage:
        overrides = self.suite.get("overrides", {})
        task_name = short_name(task["task_id"])
        if given := overrides.get("checkpoint", {}).get(task_name, {}).get(name):
            if changes.world_model or changes.data or changes.pixels:
                raise ConfigError(
                    f"On {task_name} the suite gives the trained world model {given!r}, so its "
                    "settings and its data cannot be changed."
                )
            return self._add_checkpoint(task["task_id"], given)
        name = overrides.get("instead", {}).get(task_name, {}).get(name, name)
        preset = load_preset(
            "world_model",
            name,
            merge(changes.world_model, self._overrides("world_model", name, task)),
        )
        data = self._add_dataset(task, "train", changes)
        held_out = self._add_dataset(task, "validation", changes)
        config = {**preset, "seed": seed, "data": data.config, "validation": held_out.config}
        datasets = (data.directory / "dataset", held_out.directory / "dataset")
        return self._add_hashed(
            key=f"model/{task_name}/{name}/{seed}",
            title=f"train world model {name} on {task_name} (seed {seed})",
            folder=f"models/{task_name}/{name}-seed{seed}",
            config=config,
            needs=(data.key, held_out.key),
            work=partial(work.fit_world_model, preset, *datasets, seed),
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
            title=f"take world model {folder.name} for {task_name}",
            folder=f"models/{task_name}/{folder.name}",
            config=config,
            work=partial(work.copy_checkpoint, folder),
        )

    def _add_policy(self, task: Mapping[str, Any], name: str, seed: int) -> Stage:
        agent, changes = self._agent(name, task), Variant.parse(name).changes
        task_name = short_name(task["task_id"])
        needs: dict[str, Stage] = {}
        for key, split in (("dataset", "train"), ("validation", "validation")):
            if key in agent.get("inputs", ()):
                needs[key] = self._add_dataset(task, split, changes)
        if agent.get("world_model"):
            needs["world_model"] = self._add_world_model(task, agent["world_model"], seed, changes)
        config = {
            "task_id": task["task_id"],
            "train": agent["train"],
            "seed": seed,
            **{key: stage.config for key, stage in needs.items()},
        }
        paths = {
            key: stage.directory / ("" if key == "world_model" else "dataset")
            for key, stage in needs.items()
        }
        # Variants that change only how the agent acts share one policy.
        base = agent["name"].removesuffix(Variant.parse(name).suffix)
        arguments = {"task_id": task["task_id"], "seed": seed, **paths}
        return self._add_hashed(
            key=f"policy/{task_name}/{base}/{seed}",
            title=f"train {base} on {task_name} (seed {seed})",
            folder=f"policies/{task_name}/{base}-seed{seed}",
            config=config,
            needs=tuple(stage.key for stage in needs.values()),
            work=partial(work.train_policy, agent["train"], arguments),
        )

    def _add_measured(self, task: Mapping[str, Any], name: str, seed: int) -> None:
        """Add the stages that measure an agent on a task."""
        if self.measure == "success":
            self._add_evaluation(task, name, seed)
        elif self.measure == "surprise":
            self._add_surprise(task, name, seed)
        else:
            from jepabench.evaluation.model_checks.generalization import list_changes

            for change in list_changes(task["task_id"]):
                self._add_evaluation(task, name, seed, change)

    def _add_evaluation(
        self, task: Mapping[str, Any], name: str, seed: int, change: Change | None = None
    ) -> Stage:
        agent, changes = self._agent(name, task), Variant.parse(name).changes
        needs: dict[str, Stage] = {}
        if agent.get("world_model"):
            needs["world_model"] = self._add_world_model(task, agent["world_model"], seed, changes)
        if agent.get("train"):
            needs["policy"] = self._add_policy(task, name, seed)
        config = {
            "protocol_version": PROTOCOL_VERSION,
            "task_id": task["task_id"],
            "strata": list(task["strata"]),
            "num_episodes": task["num_episodes"],
            "split": self.suite["split"],
            "pixels": changes.pixels or self.root["pixels"],
            "agent": agent,
            "seed": seed,
            **{key: stage.config for key, stage in needs.items()},
        }
        paths = {key: stage.directory for key, stage in needs.items()}
        if "policy" in needs:
            paths["policy"] = self._policy_directory(needs["policy"])
        place = f"{short_name(task['task_id'])}/{agent['name']}/"
        title = f"evaluate {agent['name']} on {short_name(task['task_id'])} (seed {seed})"
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

    def _add_surprise(self, task: Mapping[str, Any], name: str, seed: int) -> None:
        """Add the measurement of surprise for the world model of an agent.

        Raises:
            ConfigError: the agent has no world model.
        """
        agent, changes = self._agent(name, task), Variant.parse(name).changes
        if not agent.get("world_model"):
            raise ConfigError(
                f"Suite {self.suite['name']} measures surprise, but agent {name!r} has no world "
                "model."
            )
        model = self._add_world_model(task, agent["world_model"], seed, changes)
        config = {
            "task_id": task["task_id"],
            "num_episodes": task["num_episodes"],
            "split": self.suite["split"],
            "pixels": changes.pixels or self.root["pixels"],
            "seed": seed,
            "world_model": model.config,
            "agent": {"name": agent["name"]},
        }
        place = f"{short_name(task['task_id'])}/{agent['name']}"
        self._add(
            Stage(
                f"surprise/{place}/{seed}",
                f"surprise of {agent['name']} on {short_name(task['task_id'])} (seed {seed})",
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
        if known is not None and known.config != stage.config:  # of another variant
            stage = replace(stage, key=f"{stage.key}-{stage_id(stage.config)[:8]}")
        return self.stages.setdefault(stage.key, self._track(stage))

    def _track(self, stage: Stage) -> Stage:
        """Return a training stage that reports to the tracker of the run; others unchanged."""
        tracker = self.root.get("tracker", "none")  # older saved sweeps have none
        if tracker == "none" or stage.key.partition("/")[0] not in ("model", "policy"):
            return stage
        arguments = (tracker, self.output, stage.key, stage.config, stage.work)
        return replace(stage, work=partial(work.train_tracked, *arguments))

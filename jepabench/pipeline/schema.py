"""The configuration of a run as frozen objects, which are built from Hydra's result.

Arguments of classes that Hydra instantiates, such as planners, remain mappings. Mappings must not
be modified. Use ``dataclasses.replace`` to change a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from jepabench.envs.errors import unknown_name
from jepabench.evaluation.protocol import MAX_SEED, Suite
from jepabench.evaluation.stages.config import plain
from jepabench.pipeline.presets.search_path import ConfigError
from jepabench.world_models.training.tracking import check_tracker_name

MEASURES = ("success", "generalization", "surprise")  # what a suite measures
Settings = Mapping[str, Any]


def merge(first: Settings, then: Settings) -> dict[str, Any]:
    """Merge two nested mappings. Where both have a value, that of ``first`` is used."""
    both = {**then, **first}
    for key in first.keys() & then.keys():
        if isinstance(first[key], Mapping) and isinstance(then[key], Mapping):
            both[key] = merge(first[key], then[key])
    return both


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPreset:
    """How an agent is trained and built, and what it may use. None means that it is not stated.

    Attributes:
        name: Name of the agent in results.
        track: Values of ``observation``, ``data`` and ``privilege``.
        agent: ``_target_`` of the agent's class, and its arguments.
        learns: Whether the agent depends on the training seed.
        world_model: Preset of the agent's world model.
        inputs: Inputs of the training, among ``dataset`` and ``validation``.
        train: ``_target_`` of the training function, and its arguments.
        artifact: Roles of the trained parts (``jepabench.agents.artifacts``).
        tuning: Cost of the search for the agent's settings.
        code, files, weights: Digests of the code and the files of another package's agent.
        cost: Cost of another package's agent before its first episode.
        per_seed: Whether another package's agent has its own weights for each seed.
        num_episodes: Largest number of episodes per task and stratum, for slow references such as
            the planner in the simulator. A row with fewer episodes than its suite cannot be
            submitted.
    """

    name: str
    track: Mapping[str, str]
    agent: Settings
    learns: bool | None = None
    world_model: str | None = None
    inputs: Sequence[str] | None = None
    train: Settings | None = None
    artifact: str | Mapping[str, str] | None = None
    tuning: Settings | None = None
    code: str | Sequence[str] | None = None
    files: str | None = None
    weights: str | None = None
    cost: Mapping[str, float | None] | None = None
    per_seed: bool | None = None
    num_episodes: int | None = None

    @classmethod
    def from_config(cls, config: Settings) -> Self:
        """Return the preset that a mapping describes.

        Raises:
            ConfigError: There is an unknown key, or the number of episodes is wrong.
        """
        unknown = sorted(config.keys() - {item.name for item in fields(cls)})
        if unknown:
            raise ConfigError(f"Agent preset {config['name']!r} has unknown keys {unknown}.")
        count = config.get("num_episodes")
        if count is not None and (type(count) is not int or count < 2):
            raise ConfigError(
                f"num_episodes of agent {config['name']!r} must be a whole number of at least 2, "
                f"got {count!r}."
            )
        return cls(**config)

    @property
    def is_seeded(self) -> bool:
        """Whether the agent is evaluated once per training seed, which is the default."""
        return self.learns is not False

    def limit_episodes(self, num_episodes: int) -> int:
        """Return the number of episodes to run of a suite's ``num_episodes``."""
        return min(num_episodes, self.num_episodes or num_episodes)

    def as_config(self) -> dict[str, Any]:
        """Return all stated values as a mapping."""
        return {key: value for key, value in _values(self).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Changes that a suite makes to presets and to its data.

    Attributes:
        agent, world_model: Changed settings by preset.
        data: Changed settings of the data by task. Tasks are named without their namespace.
        checkpoint: Trained world models to use instead of a training, by task and preset.
        instead: Presets of world models to use instead of others, by task and preset.
        task: Changes of ``agent`` and ``world_model`` that apply to one task, by task.
    """

    agent: Mapping[str, Settings] = field(default_factory=dict)
    world_model: Mapping[str, Settings] = field(default_factory=dict)
    data: Mapping[str, Settings] = field(default_factory=dict)
    checkpoint: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    instead: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    task: Mapping[str, Mapping[str, Mapping[str, Settings]]] = field(default_factory=dict)

    @classmethod
    def from_config(cls, config: Settings) -> Self:
        """Return the overrides that a mapping describes.

        Raises:
            ConfigError: The overrides or one of their entries are not a mapping.
            UnknownNameError: There is an unknown key.
        """
        _check_mapping("suite.overrides", config)
        known = [item.name for item in fields(cls)]
        for key, value in config.items():
            if key not in known:
                raise unknown_name("key of the suite's overrides", key, known)
            _check_mapping(f"suite.overrides.{key}", value)
        return cls(**config)

    def find(self, group: str, name: str, task: str | None = None) -> dict[str, Any]:
        """Return the changes of a preset or of the data. Changes for a task take precedence."""
        here = self.task.get(task, {}).get(group, {}) if task else {}
        return merge(here.get(name, {}), getattr(self, group).get(name, {}))

    def with_changes(self, group: str, name: str, changes: Settings) -> Overrides:
        """Return overrides with additional changes, which take precedence."""
        before: Mapping[str, Settings] = getattr(self, group)
        changed = {**before, name: merge(changes, before.get(name, {}))}
        return replace(self, **{group: changed})


@dataclass(frozen=True, kw_only=True)
class SuiteConfig(Suite):
    """A suite, the training data of its agents and its changes to presets.

    Attributes:
        measure: Quantity that the suite measures, one of ``MEASURES``.
        data: Arguments of ``jepabench.envs.data.collect``, and the number of validation episodes,
            ``num_validation``.
        overrides: Changes of presets.

    Raises:
        ConfigError: A number of episodes or steps, or a seed, is not a whole number in its range.
        UnknownNameError: There is no such measure.
    """

    measure: str = "success"
    data: Mapping[str, Any] = field(default_factory=dict)
    overrides: Overrides = Overrides()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.measure not in MEASURES:
            raise unknown_name(f"measure of suite {self.name}", self.measure, MEASURES)
        for key in ("num_episodes", "num_validation", "num_steps"):
            if key in self.data:
                _check_whole(f"suite.data.{key}", self.data[key], 1, 10**9)
        for seed in self.training_seeds:
            _check_whole("a training seed", seed, 0, MAX_SEED)

    @classmethod
    def from_config(cls, config: Settings) -> Self:
        """Return the suite that a mapping (from YAML) describes."""
        values = dict(config)
        measure, data = values.pop("measure", "success"), values.pop("data", {})
        overrides = Overrides.from_config(values.pop("overrides", {}))
        _check_mapping("suite.data", data)
        rules = _values(Suite.from_config(values))
        return cls(**rules, measure=measure, data=data, overrides=overrides)

    @property
    def rules(self) -> Suite:
        """Rules of the suite, against which a submission is checked."""
        return Suite(**{item.name: getattr(self, item.name) for item in fields(Suite)})


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The configuration of a run, from the arguments of a command.

    Attributes:
        suite: Suite to run.
        launcher: ``_target_`` of the launcher, and its arguments.
        output: Folder of data, models and reports.
        num_workers: Number of parallel processes or cluster jobs.
        tracker: Experiment tracker for training curves.
        pixels: Side length of the frames in pixels, or None for runs without frames.

    Raises:
        ConfigError: A number is not a whole number in its range.
        UnknownNameError: There is no such tracker.
    """

    suite: SuiteConfig
    launcher: Settings
    output: Path
    num_workers: int
    tracker: str = "none"
    pixels: int | None

    def __post_init__(self) -> None:
        check_tracker_name(self.tracker)
        _check_whole("num_workers", self.num_workers, 1, 4096)
        if self.pixels is not None:
            _check_whole("pixels", self.pixels, 16, 1024)

    @classmethod
    def from_config(cls, config: Settings) -> Self:
        """Return the configuration that a mapping describes.

        Raises:
            UnknownNameError: There is an unknown key.
        """
        known = [item.name for item in fields(cls)]
        for key in config:
            if key not in known:
                raise unknown_name("configuration key", key, known)
        suite, output = SuiteConfig.from_config(config["suite"]), Path(config["output"])
        return cls(**{**config, "suite": suite, "output": output})

    def as_config(self) -> dict[str, Any]:
        """Return the configuration as JSON types, without unused overrides."""
        used = {key: value for key, value in _values(self.suite.overrides).items() if value}
        tasks = [_values(task) for task in self.suite.tasks]
        suite = {**_values(self.suite), "tasks": tasks, "overrides": used}
        return plain({**_values(self), "suite": suite})

    def with_suite(self, **changes: Any) -> Self:
        """Return a configuration with other values of the suite."""
        return replace(self, suite=replace(self.suite, **changes))


def _values(item: Any) -> dict[str, Any]:
    """Return the fields of a dataclass without converting nested objects."""
    return {each.name: getattr(item, each.name) for each in fields(item)}


def _check_mapping(key: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a mapping, got {value!r}.")


def _check_whole(key: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"{key} must be a whole number from {low} to {high}, got {value!r}.")

"""Plan a search for good settings of one agent on one task.

Every agent gets the same number of trials. A trial is a plan of stages like that of a suite, but
uses validation episodes and another training seed. The settings of a trial depend only on the
search seed and the trials before it, so an interrupted search can be resumed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml
from hydra.utils import get_method

from jepabench.envs.task import short_name
from jepabench.pipeline.config import ConfigError, load_agent, load_preset
from jepabench.pipeline.presets.search_path import CONF
from jepabench.pipeline.scaling import ScalingConfig, compose_scaling, merge_stages
from jepabench.pipeline.stages import SuitePlan
from jepabench.world_models.training.config import TrainConfig

if TYPE_CHECKING:
    import optuna

TRAINING_SEED = 100  # differs from the seeds of evaluations
STARTUP = 4  # random trials before the sampler uses results
ROUND = 2  # number of parallel trials, fixed so that the search does not depend on the machine
_MODEL_FREE = "jepabench.agents.model_free."
OWN_WORDS = {"trials": 8, "search_seed": 0, "num_steps": 0}


@dataclass(frozen=True, kw_only=True)
class TuningConfig(ScalingConfig):
    """The configuration of a search.

    Attributes:
        trials: Number of trials.
        search_seed: Seed of the sampler.
        num_steps: Number of training steps per trial; 0 for that of the preset.
        first: Index of the first trial of a round.
        asked: Changed settings of each trial of a round.
    """

    trials: int
    search_seed: int
    num_steps: int
    first: int = 0
    asked: Sequence[Mapping[str, Any]] = ()

    @property
    def agent(self) -> str:
        """Name of the agent whose settings are searched."""
        return self.suite.agents[0]

    @property
    def directory(self) -> Path:
        """Folder of the search."""
        return self.output / "tuning" / short_name(self.suite.tasks[0].task_id) / self.agent


def compose_tuning(overrides: Sequence[str]) -> TuningConfig:
    """Compose the configuration of a search.

    Raises:
        ConfigError: There is not exactly one task and one agent, or a number is invalid.
        UnknownNameError: There is no such task, agent or key.
    """
    own, rest = dict(OWN_WORDS), []
    for item in overrides:
        key, _, value = item.partition("=")
        if key in own:
            if not value.isdecimal():
                raise ConfigError(f"{key} must be a whole number, got {value!r}.")
            own[key] = int(value)
        else:
            rest.append(item)
    config = compose_scaling(rest)
    if len(config.suite.agents) != 1 or len(config.suite.tasks) != 1:
        raise ConfigError(
            "A search needs one agent and one task, such as task=TwoRoom agent=sac-her; "
            f"got {list(config.suite.agents)}."
        )
    if own["trials"] < 1:
        raise ConfigError("trials must be at least 1, got 0.")
    config = config.with_suite(split="validation", training_seeds=(TRAINING_SEED,))
    return TuningConfig(
        **vars(config),
        trials=own["trials"],
        search_seed=own["search_seed"],
        num_steps=own["num_steps"],
    )


def search_space(name: str) -> dict[str, list[Any]]:
    """Return the values to try for each setting of an agent preset, starting with its own value.

    Raises:
        ConfigError: There are no settings to search, for instance because the agent does not learn.
    """
    preset = load_preset("agent", name)
    spaces = yaml.safe_load((CONF / "search.yaml").read_text(encoding="utf-8"))
    presets = {"agent": preset}
    target = preset.get("train", {}).get("_target_", "")
    if preset.get("world_model"):
        presets["world_model"] = load_preset("world_model", preset["world_model"])
    if target.startswith(_MODEL_FREE):
        method = target.split(".")[-2]
        space = spaces.get(method, spaces["offline"])
    elif "world_model" in presets:
        space = spaces["world_model"]
    else:
        raise ConfigError(
            f"search.yaml has no settings for agent {name!r}: it learns nothing, or its training "
            "is neither that of a world model nor a model-free method."
        )
    defaults = _list_defaults(target) | _prefix("world_model.training.", TrainConfig)
    tried = {
        path: _own_first(presets, path, [*defaults.get(path, ()), *values])
        for path, values in space.items()
    }
    return {path: values for path, values in tried.items() if values}


def _list_defaults(target: str) -> dict[str, list[Any]]:
    """Return the default of each setting of a model-free training, by its path."""
    if not target.startswith(_MODEL_FREE):
        return {}
    # The training function is a partial of a loop, and its first argument is the method or its
    # settings.
    method, *_ = cast("partial[None]", get_method(target)).args
    return _prefix("agent.train.", getattr(method, "config_type", method))


def _prefix(prefix: str, config_type: type) -> dict[str, list[Any]]:
    """Return the default of each field of a dataclass, if it has one, in a list."""
    known = {item.name: item.default for item in fields(config_type)}
    return {
        f"{prefix}{name}": [list(value) if isinstance(value, tuple) else value]
        for name, value in known.items()
        if value is not MISSING
    }


def _own_first(presets: Mapping[str, Any], path: str, values: list[Any]) -> list[Any]:
    """Return the values, starting with that of the preset.

    The result is empty if the agent has no planner or energy with this key.
    """
    found: Any = presets
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            values = [] if path.startswith("agent.agent.") else values
            break
        found = found[part]
    else:
        values = [found, *values]
    return [value for place, value in enumerate(values) if value not in values[:place]]


def suggest(
    space: Mapping[str, list[Any]],
    rows: Sequence[Mapping[str, Any]],
    tried: Sequence[str],
    *,
    seed: int,
    number: int,
) -> dict[str, Any] | None:
    """Return the settings of a new trial, or None if all combinations were tried.

    The first trial uses the settings of the preset.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        message = (
            "A search needs Optuna, which is not installed. Run: pip install 'jepabench[tune]'"
        )
        raise ModuleNotFoundError(message) from error
    if number == 0:
        return {path: values[0] for path, values in space.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Values are JSON texts, because Optuna does not support lists as choices.
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        path: optuna.distributions.CategoricalDistribution([json.dumps(value) for value in values])
        for path, values in space.items()
    }
    for attempt in range(20):
        sampler = optuna.samplers.TPESampler(
            seed=10_000 * seed + 100 * number + attempt, n_startup_trials=STARTUP
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for row in rows:
            params = {path: json.dumps(value) for path, value in json.loads(row["changes"]).items()}
            study.add_trial(
                optuna.create_trial(params=params, distributions=distributions, value=row["score"])
            )
        changes = {
            path: json.loads(value) for path, value in study.ask(distributions).params.items()
        }
        if json.dumps(changes) not in tried:
            return changes
    every = (dict(zip(space, values, strict=True)) for values in itertools.product(*space.values()))
    return next((changes for changes in every if json.dumps(changes) not in tried), None)


def nest(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"agent.train.gamma": 0.9}`` as ``{"agent": {"train": {"gamma": 0.9}}}``."""
    tree: dict[str, Any] = {}
    for path, value in changes.items():
        *branches, leaf = path.split(".")
        place = tree
        for branch in branches:
            place = place.setdefault(branch, {})
        place[leaf] = value
    return tree


class TrialPlan(SuitePlan):
    """The plan of a trial: one agent with changed settings on one task."""

    def __init__(self, config: TuningConfig, number: int, changes: Mapping[str, Any]) -> None:
        self._folder = config.directory / f"trial-{number:03d}"
        tree, overrides = nest(changes), config.suite.overrides
        if config.num_steps:
            tree["agent"].setdefault("train", {})["num_steps"] = config.num_steps
        model = load_agent(config.agent).world_model
        for group, key in (("agent", config.agent), ("world_model", model)):
            if key and group in tree:
                overrides = overrides.with_changes(group, key, tree[group])
        super().__init__(config.with_suite(overrides=overrides))

    @property
    def suite_directory(self) -> Path:
        """Folder of the trial."""
        return self._folder


class TuningRound(SuitePlan):
    """The plan of the trials that run in parallel."""

    def __init__(self, config: TuningConfig) -> None:
        self.config, self.suite, self.output = config, config.suite, config.output
        self.trials = [
            (number, changes, TrialPlan(config, number, changes))
            for number, changes in enumerate(config.asked, config.first)
        ]
        self.stages = merge_stages([plan for _, _, plan in self.trials], self.output)

    @property
    def trained_stages(self) -> dict[Path, str]:
        """Keys of the stages that collect data or train, by folder."""
        return {
            stage.directory: key
            for key, stage in self.stages.items()
            if not key.startswith("evaluation/")
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per finished trial, with its settings, success rate and cost."""
        from jepabench.evaluation.records import read_records

        rows = []
        for number, changes, plan in self.trials:
            stage = plan.evaluations[0]
            records = read_records(stage.directory / "episodes.parquet")
            cost = json.loads((stage.directory / "cost.json").read_text(encoding="utf-8"))
            held, ever = (
                float(records[f"success_{kind}"].to_numpy().mean()) for kind in ("held", "ever")
            )
            rows.append(
                {
                    "trial": number,
                    "score": (held + ever) / 2,
                    "held": held,
                    "ever": ever,
                    "episodes": len(records),
                    "evaluation_steps": int(records["steps"].to_numpy().sum()),
                    "transitions": cost["transitions"],
                    "train_seconds": cost["train_seconds"],
                    **{path.rpartition(".")[2]: str(value) for path, value in changes.items()},
                    "changes": json.dumps(changes),
                }
            )
        return rows

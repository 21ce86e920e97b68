"""Execution of a plan with the launcher that its configuration names."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from hydra.utils import instantiate
from rich.console import Console

from jepabench.agents.model_free.external.trust import is_trusted, require_trust, set_trust
from jepabench.execution.executor import run_stages
from jepabench.execution.speeds import SPEEDS_FILE, load_speeds
from jepabench.execution.workers import Plan
from jepabench.pipeline.presets.sb3_file import PREFIX
from jepabench.pipeline.presets.search_path import SearchPath, get_search_path, set_search_path
from jepabench.pipeline.schema import RunConfig
from jepabench.pipeline.stages import Stage, SuitePlan
from jepabench.world_models.training.tracking import check_tracker

_LOCAL = "jepabench.execution.launchers.JoblibLauncher"  # runs stages on this machine
Config = TypeVar("Config", bound=RunConfig)


def run_plan(
    config: Config, console: Console, *, kind: Callable[[Config], Plan] = SuitePlan
) -> None:
    """Run the missing stages of a suite, or of another ``kind`` of plan, with the launcher."""
    # Workers may be started in another folder.
    config = replace(config, output=config.output.resolve())
    make = partial(make_plan, kind, config, get_search_path(), is_trusted())
    check_run(config, make())
    own = {}
    if "folder" in config.launcher and not config.launcher["folder"]:
        own["folder"] = config.output / "submitit"
    run_stages(
        make,
        launcher=instantiate(config.launcher, **own),
        console=console,
        speeds=load_speeds(config.output / SPEEDS_FILE),
    )


def check_run(config: RunConfig, plan: Plan) -> None:
    """Check the requirements of a run before anything is written.

    Raises:
        UnknownNameError: There is no such tracker or device.
        ModuleNotFoundError: An extra is not installed.
        UntrustedFileError: An agent is a pickle that the user did not allow.
        ValueError: This machine lacks a GPU, or a tracker has no account.
    """
    check_tracker(config.tracker)
    for name in config.suite.agents:
        if name.startswith(PREFIX):
            require_trust(name.removeprefix(PREFIX))
            if importlib.util.find_spec("stable_baselines3") is None:
                raise ModuleNotFoundError(
                    f"{name} needs Stable-Baselines3. Install it with: "
                    "pip install 'jepabench[models]'"
                )
    if config.launcher["_target_"] == _LOCAL:
        _check_devices(plan.stages.values())


def _check_devices(stages: Iterable[Stage]) -> None:
    """Check that this machine has the devices on which stages train and plan."""
    training: set[str] = set()
    others: set[str] = set()
    for stage in stages:
        kind = stage.key.partition("/")[0]
        config = stage.config
        if kind == "model":
            training.add(config.get("training", {}).get("device", "cpu"))
        elif kind == "policy":
            others.add(config["train"].get("device", "cpu"))
        elif kind in ("evaluation", "change"):
            others.add(config["agent"]["agent"].get("device", "cpu"))
    if training | others <= {"cpu"}:
        return
    from jepabench.world_models.training.devices import check_training_device, find_device

    for name in sorted(training):
        check_training_device(name)
    for name in sorted(others):
        find_device(name)


def make_plan(
    kind: Callable[[Config], Plan], config: Config, path: SearchPath, trusted: bool = False
) -> Plan:
    """Make a plan in a worker, with the search path and the trust of the command."""
    if path != get_search_path():
        set_search_path(path)
    set_trust(trusted)
    return kind(config)

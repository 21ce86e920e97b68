"""The suites of this release, for submissions and the board."""

from __future__ import annotations

from typing import Any

from jepabench.envs.errors import UnknownNameError
from jepabench.evaluation.protocol import Suite
from jepabench.pipeline.config import load_preset, options
from jepabench.pipeline.schema import SuiteConfig


def find_suite(name: str) -> Suite:
    """Return a suite of this release.

    Raises:
        UnknownNameError: There is no suite of this name, or it does not measure success.
    """
    suite = SuiteConfig.from_config(load_preset("suite", name))
    if suite.measure != "success":
        raise UnknownNameError(
            f"Suite {name!r} measures {suite.measure}. "
            "A submission needs a suite that measures success."
        )
    return suite.rules


def describe_suites() -> dict[str, dict[str, Any]]:
    """Return version, description and tasks with strata and episodes of each suite, by name."""
    suites = {}
    for name in options("suite"):
        suite = SuiteConfig.from_config(load_preset("suite", name)).rules
        suites[name] = {
            "suite": suite,
            "version": suite.version,
            "description": suite.description,
            "tasks": [
                {
                    "task_id": task.task_id,
                    "strata": task.strata,
                    "num_episodes": task.num_episodes,
                }
                for task in suite.tasks
            ],
        }
    return suites

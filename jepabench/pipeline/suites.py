"""The suites of this release, for submissions and the board."""

from __future__ import annotations

from typing import Any

from jepabench.envs.errors import UnknownNameError
from jepabench.evaluation.protocol import Suite
from jepabench.pipeline.config import load_preset, options
from jepabench.pipeline.limits import KEYS_OF_THE_PLAN


def find_suite(name: str) -> Suite:
    """Return a suite of this release.

    Raises:
        UnknownNameError: there is no suite of this name, or it does not measure success.
    """
    from jepabench import envs  # noqa: F401  (registers the tasks)

    preset = load_preset("suite", name)
    if preset.get("measure", "success") != "success":
        raise UnknownNameError(
            f"Suite {name!r} measures {preset['measure']}. "
            "A submission needs a suite that measures success."
        )
    return Suite.from_config(
        {key: value for key, value in preset.items() if key not in KEYS_OF_THE_PLAN}
    )


def known_suites() -> dict[str, dict[str, Any]]:
    """Return version, description and tasks with all their strata for each suite, by name."""
    suites = {}
    for name in options("suite"):
        preset = load_preset("suite", name)
        suite = Suite.from_config(
            {key: preset[key] for key in Suite.__dataclass_fields__ if key in preset}
        )
        suites[name] = {
            "suite": suite,
            "version": suite.version,
            "description": suite.description,
            "tasks": [{"task_id": task.task_id, "strata": task.strata} for task in suite.tasks],
        }
    return suites

"""Why a submission is archived instead of compared: other rules, another suite, other physics."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from jepabench.envs.registry import get_task
from jepabench.evaluation.protocol import PROTOCOL_VERSION, Suite
from jepabench.evaluation.submissions.manifest import Manifest

SIMULATORS = ("mujoco", "pymunk")


def describe_archived(manifest: Manifest, suites: Mapping[str, Suite]) -> str:
    """Return why a submission cannot be compared with present ones; empty if it can.

    Args:
        manifest: Manifest of the submission.
        suites: Suites of this release, by name.
    """
    if manifest.protocol_version != PROTOCOL_VERSION:
        return f"It follows protocol {manifest.protocol_version}, now {PROTOCOL_VERSION}."
    suite = suites.get(manifest.suite.name)
    if suite is None:
        return f"This release has no suite {manifest.suite.name}."
    if suite.version != manifest.suite.version:
        return (
            f"It is for version {manifest.suite.version} of suite {suite.name}, "
            f"now {suite.version}."
        )
    return describe_other_physics(manifest.versions, suite)


def describe_other_physics(versions: Mapping[str, str], suite: Suite) -> str:
    """Return which simulator of a suite has another version than installed; empty if none."""
    for name in sorted(suite_simulators(suite)):
        made = versions.get(name)
        if made != version(name):
            return (
                f"It was made with {name} {made or '(not stated)'}, "
                f"this release uses {version(name)}."
            )
    return ""


def suite_simulators(suite: Suite) -> set[str]:
    """Return the names of the simulators that decide a suite's traces."""
    found = {
        get_task(task.task_id).physics.partition(" ")[0].partition("=")[0] for task in suite.tasks
    }
    return found & set(SIMULATORS)

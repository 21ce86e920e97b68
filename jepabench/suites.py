"""The suites of this release that submissions are made for, by name."""

from __future__ import annotations

from envs.registry import UnknownNameError
from evaluation.protocol import Suite
from jepabench.config import load_preset
from jepabench.stages import OF_THE_PLAN


def find_suite(name: str) -> Suite:
    """Returns a suite as this release has it.

    Raises:
        UnknownNameError: there is none of this name, or it measures something that a submission does not hold.
    """
    import envs  # noqa: F401  (registers the tasks)

    preset = load_preset("suite", name)
    if preset.get("measure", "success") != "success":
        raise UnknownNameError(
            f"Suite {name!r} measures {preset['measure']}; submissions are of suites that measure success."
        )
    return Suite.from_config({key: value for key, value in preset.items() if key not in OF_THE_PLAN})

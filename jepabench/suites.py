"""The suites of this release, by name."""

from __future__ import annotations

from evaluation.protocol import Suite
from jepabench.config import load_preset


def find_suite(name: str) -> Suite:
    """Returns a suite as this release has it.

    Raises:
        UnknownNameError: there is none of this name.
    """
    import envs  # noqa: F401  (registers the tasks)

    preset = load_preset("suite", name)
    return Suite.from_config({key: value for key, value in preset.items() if key not in ("data", "overrides")})

"""JEPA Bench: joint-embedding world models that plan, measured beside model-free reinforcement learning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jepabench.results.store import load_results

__all__ = ["envs", "load_results"]

_HERE = Path(__file__).resolve().parent
if not (_HERE / "envs").is_dir():
    # A checkout without symbolic links (Windows without developer mode): the folders are found where they really are.
    __path__.append(str(_HERE.parent))

from jepabench import envs as envs  # noqa: E402, PLC0414  (registers the tasks with Gymnasium; needs __path__)


def __getattr__(name: str) -> Any:
    if name == "load_results":  # keeps pandas out of `import jepabench`
        from jepabench.results.store import load_results

        return load_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

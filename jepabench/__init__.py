"""JEPA Bench: planning with world models, compared with model-free reinforcement learning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jepabench.api import Results, evaluate, load_world_model, make, make_agent, make_vec
    from jepabench.results.store import load_results

__all__ = [
    "Results",
    "envs",
    "evaluate",
    "load_results",
    "load_world_model",
    "make",
    "make_agent",
    "make_vec",
]

_HERE = Path(__file__).resolve().parent
if not (_HERE / "envs").is_dir():
    # A checkout without symbolic links, as on Windows: the folders are at the repository root.
    __path__.append(str(_HERE.parent))

from jepabench import envs as envs  # noqa: E402  (registers the tasks; needs __path__)


def __getattr__(name: str) -> Any:
    # Imported on first use: `import jepabench` loads neither torch nor pandas.
    if name == "load_results":
        from jepabench.results.store import load_results

        return load_results
    if name in __all__:
        from jepabench import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The command line: one short file a verb, and the configuration it composes. ``load_results`` is for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.store import load_results

__all__ = ["load_results"]


def __getattr__(name: str) -> Any:
    if name == "load_results":  # pandas is imported by whoever asks for it, not by `jepabench --help`
        from results.store import load_results

        return load_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

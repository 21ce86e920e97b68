"""Configuration of the documentation site: ``make docs`` builds it without network access."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Any

project = "JEPA Bench"
author = "The JEPA Bench developers"
release = metadata.version("jepabench")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "environments/generate.py"]
html_theme = "furo"
html_title = f"JEPA Bench {release}"
html_static_path: list[str] = []
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Names such as `horizon` are attributes of several planners, and "Attributes:" links them.
suppress_warnings = ["ref.python"]

_REPOSITORY = "https://github.com/jepabench/jepabench/blob/main/"
_ROOT = Path(__file__).resolve().parents[1]


def _link_to_repository(app: Any, docname: str, source: list[str]) -> None:
    """Point links that leave ``docs/`` to the repository."""
    folder = (Path(app.srcdir) / docname).parent

    def replace(match: re.Match[str]) -> str:
        target, anchor = match["target"], match["anchor"] or ""
        path = (folder / target).resolve()
        inside = path.is_relative_to(app.srcdir) and path.suffix in {".md", ".png", ".svg", ".gif"}
        if inside or not path.is_relative_to(_ROOT):
            return match[0]
        return f"]({_REPOSITORY}{path.relative_to(_ROOT).as_posix()}{anchor})"

    source[0] = re.sub(
        r"\]\((?P<target>(?!\w+:|#)[^)#\s]+)(?P<anchor>#[^)\s]*)?\)", replace, source[0]
    )


def _escape_shapes(
    app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    """Escape the asterisk of shapes such as ``[B, T, *latent]``, which is no emphasis."""
    lines[:] = [re.sub(r"(?<![\w*`\\])\*(?=[a-z]\w*\])", r"\\*", line) for line in lines]


def setup(app: Any) -> None:
    """Register the hooks above with Sphinx."""
    app.connect("source-read", _link_to_repository)
    app.connect("autodoc-process-docstring", _escape_shapes)

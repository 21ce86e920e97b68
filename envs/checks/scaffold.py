"""Writes the draft of a new world: a package that can be imported, checked, evaluated and changed, one step at a time.

The draft is a small world that works. Nothing is generated from then on: the files belong to whoever asked for them.
"""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from string import Template

import gymnasium

from jepabench.envs.registry import unknown_name

TEMPLATES = Path(__file__).with_name("templates")
_SUFFIX = ".template"
_PAGE = "README.md"
_NAME = re.compile(r"[A-Z][A-Za-z0-9]{1,39}")
_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TIMEOUT = 120  # [s]


class ScaffoldError(ValueError):
    """A draft that cannot be written: a bad name, or something is there already. Nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A world that was written.

    Attributes:
        folder: of its package.
        task_id: by which ``envs.make`` finds it, ``module:Name-v0``.
        files: in its folder, by name.
    """

    folder: Path
    task_id: str
    files: tuple[str, ...]


def families() -> list[str]:
    """Returns the families that there is a draft for."""
    return sorted(folder.name for folder in TEMPLATES.iterdir() if folder.is_dir())


def write_draft(name: str, *, family: str, path: str | Path = ".") -> Draft:
    """Writes the package of a new world into a folder that exists; it appears there whole, or not at all.

    Args:
        name: of the world and its class, as in ``StackCubes``; the package is then ``stack_cubes``.
        family: which draft to start from.
        path: folder that the package is made in. Inside another package it becomes a part of that.

    Raises:
        ScaffoldError: a name that cannot be used, no such folder, or something is there already.
        UnknownNameError: no such family.
    """
    if family not in families():
        raise unknown_name("family", family, families())
    path = Path(path)
    if not path.is_dir():
        raise ScaffoldError(f"{path} is not a folder. Make it first, or choose another --path.")
    package = _checked_package(name, path)
    module = ".".join([*_packages_around(path), package])
    words = {"name": name, "package": package, "family": family}
    with tempfile.TemporaryDirectory(prefix=f".{package}-", dir=path) as partial:
        folder = Path(partial) / package
        folder.mkdir()
        for template in sorted((TEMPLATES / family).glob(f"*{_SUFFIX}")):
            text = Template(template.read_text(encoding="utf-8")).substitute(words)
            (folder / template.name.removesuffix(_SUFFIX)).write_text(text, encoding="utf-8")
        (folder / _PAGE).write_text(_page(Path(partial), f"{package}:{name}-v0"), encoding="utf-8")
        files = tuple(sorted(file.name for file in folder.iterdir() if file.is_file()))
        for leftover in folder.glob("__pycache__/*"):
            leftover.unlink()
        folder.rename(path / package)
    return Draft(folder=path / package, task_id=f"{module}:{name}-v0", files=files)


def _checked_package(name: str, path: Path) -> str:
    """Returns the name of the package of a world that is to be made in ``path``."""
    if not _NAME.fullmatch(name):
        near = "".join(word[:1].upper() + word[1:] for word in re.findall("[A-Za-z0-9]+", name))
        hint = f" Perhaps {near!r}?" if _NAME.fullmatch(near) else ""
        raise ScaffoldError(
            f"{name!r} is no name for a world: 2 to 40 letters and digits, the first a capital, as in 'StackCubes'.{hint}"
        )
    package = _WORD_ENDS.sub("_", name).lower()
    if (path / package).exists():
        raise ScaffoldError(
            f"{path / package} is there already, and nothing is overwritten. Choose another name."
        )
    if keyword.iskeyword(package):
        raise ScaffoldError(
            f"{name!r}: Python has the word {package!r} for itself. Choose another name."
        )
    if not _packages_around(path) and importlib.util.find_spec(package) is not None:
        raise ScaffoldError(
            f"{name!r}: there is another package {package!r}, which it would hide. Choose another name."
        )
    if f"{name}-v0" in gymnasium.registry:
        raise ScaffoldError(f"A task {name}-v0 is registered already. Choose another name.")
    return package


def _packages_around(path: Path) -> list[str]:
    """Returns the packages that a folder is, from the outermost to the folder itself; none if it is no package."""
    names, folder = [], path.resolve()
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    return names


def _page(folder: Path, task_id: str) -> str:
    """Returns the page of a task in ``folder``, as another process writes it: this one's registry stays as it is."""
    paths = [str(folder), *(item or os.curdir for item in sys.path)]
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; from jepabench.envs.checks.task_pages import page; sys.stdout.write(page({task_id!r}))",
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONIOENCODING": "utf-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        check=False,
        timeout=_TIMEOUT,
    )
    if child.returncode:
        reason = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        raise ScaffoldError(f"The draft cannot be imported: {reason[-1]}")
    return child.stdout

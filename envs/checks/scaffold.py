"""Draft a new environment: a small package that works and passes ``check-env``.

The files belong to the user from then on; nothing is generated later.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from string import Template

import gymnasium

from jepabench.envs.checks.new_process import NewProcessError, call_in_new_process
from jepabench.envs.errors import unknown_name

TEMPLATES = Path(__file__).with_name("templates")
_SUFFIX = ".template"
_PAGE = "README.md"
_NAME = re.compile(r"[A-Z][A-Za-z0-9]{1,39}")
_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TIMEOUT = 120.0  # [s]


class ScaffoldError(ValueError):
    """A draft that cannot be written, for example because of its name. Nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An environment that was drafted.

    Attributes:
        folder: Folder of its package.
        task_id: Id for ``envs.make``, ``module:Name-v0``.
        files: Names of the files in the folder.
    """

    folder: Path
    task_id: str
    files: tuple[str, ...]


def families() -> list[str]:
    """Return the families for which a draft exists."""
    return sorted(folder.name for folder in TEMPLATES.iterdir() if folder.is_dir())


def write_draft(name: str, *, family: str, path: str | Path = ".") -> Draft:
    """Write the package of a new environment. The package appears complete or not at all.

    Args:
        name: Name of the environment and its class, such as ``StackCubes``. The package is
            then called ``stack_cubes``.
        family: The draft to start from, see ``families``.
        path: Existing folder in which the package is created. If that folder is a package, the
            new one becomes a subpackage.

    Raises:
        ScaffoldError: The name cannot be used, the folder does not exist, or the package exists.
        UnknownNameError: There is no such family.
    """
    if family not in families():
        raise unknown_name("family", family, families())
    path = Path(path)
    if not path.is_dir():
        raise ScaffoldError(f"{path} is not a folder. Create it first, or choose another --path.")
    package = _checked_package(name, path)
    module = ".".join([*_packages_around(path), package])
    words = {"name": name, "package": package, "family": family}
    with tempfile.TemporaryDirectory(prefix=f".{package}-", dir=path) as partial:
        folder = Path(partial) / package
        folder.mkdir()
        for template in sorted((TEMPLATES / family).glob(f"*{_SUFFIX}")):
            text = Template(template.read_text(encoding="utf-8")).substitute(words)
            (folder / template.name.removesuffix(_SUFFIX)).write_text(text, encoding="utf-8")
        (folder / _PAGE).write_text(
            _write_page(Path(partial), f"{package}:{name}-v0"), encoding="utf-8"
        )
        files = tuple(sorted(file.name for file in folder.iterdir() if file.is_file()))
        for leftover in folder.glob("__pycache__/*"):
            leftover.unlink()
        folder.rename(path / package)
    return Draft(folder=path / package, task_id=f"{module}:{name}-v0", files=files)


def _checked_package(name: str, path: Path) -> str:
    """Return the name of the package of an environment that is to be created in ``path``."""
    if not _NAME.fullmatch(name):
        near = "".join(word[:1].upper() + word[1:] for word in re.findall("[A-Za-z0-9]+", name))
        hint = f" Perhaps {near!r}?" if _NAME.fullmatch(near) else ""
        raise ScaffoldError(
            f"{name!r} is not a valid name. A name has 2 to 40 letters and digits and starts with "
            f"a capital letter, such as 'StackCubes'.{hint}"
        )
    package = _WORD_ENDS.sub("_", name).lower()
    if (path / package).exists():
        raise ScaffoldError(
            f"{path / package} exists already and is not overwritten. Choose another name."
        )
    if keyword.iskeyword(package):
        raise ScaffoldError(f"{name!r}: {package!r} is a keyword of Python. Choose another name.")
    if not _packages_around(path) and importlib.util.find_spec(package) is not None:
        raise ScaffoldError(
            f"{name!r}: it would hide the installed package {package!r}. Choose another name."
        )
    if f"{name}-v0" in gymnasium.registry:
        raise ScaffoldError(f"The task {name}-v0 is registered already. Choose another name.")
    return package


def _packages_around(path: Path) -> list[str]:
    """Return the names of the packages that contain ``path``, outermost first, itself included."""
    names, folder = [], path.resolve()
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    return names


def _write_page(folder: Path, task_id: str) -> str:
    """Return the documentation page of a task in ``folder``.

    Another process imports the draft, so that the registry of this one does not change.
    """
    try:
        return call_in_new_process(
            "jepabench.envs.checks.task_pages:page",
            task_id,
            paths=[str(folder.resolve()), *sys.path],
            timeout=_TIMEOUT,
        )
    except NewProcessError as error:
        raise ScaffoldError(f"The draft cannot be imported: {error}") from error

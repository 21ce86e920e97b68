"""Folders with presets: those of this package, of installed packages, and the user's own.

Presets are looked up in this order:

1. the presets of JEPA Bench,
2. folders of installed packages (entry point group ``jepabench.presets``, whose value is a package
   that contains ``agent/``, ``world_model/``, ``suite/`` or ``launcher/``),
3. ``./conf`` of the working directory,
4. every ``--config-dir``.

A name exists once: a preset that repeats the name of another one is an error.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from jepabench.envs.registry import find_entry_point, list_entry_points

CONF = Path(__file__).parents[2] / "conf"
BUILT_IN = "jepabench"
PACKAGE_GROUP = "jepabench.presets"
GROUPS = ("agent", "launcher", "suite", "world_model")


class ConfigError(ValueError):
    """A configuration key, group or value is wrong. The message states what is allowed."""


@dataclass(frozen=True)
class SearchPath:
    """Folders in which a process looks for presets, besides installed packages.

    Attributes:
        folders: Folders given by ``--config-dir``, absolute.
        working_directory: Folder whose ``conf`` is searched, or None to search none.
    """

    folders: tuple[Path, ...] = ()
    working_directory: Path | None = field(default_factory=Path.cwd)


_search_path: SearchPath | None = None


def get_search_path() -> SearchPath:
    """Return the search path of this process; by default ``./conf`` of the working directory."""
    return SearchPath() if _search_path is None else _search_path


def set_search_path(path: SearchPath | None) -> None:
    """Set the search path of this process, for instance in a worker.

    Raises:
        ConfigError: A folder does not exist or has no group of presets.
    """
    global _search_path
    if path is not None:
        for folder in path.folders:
            _check_folder(folder)
    _search_path = path


def make_search_path(
    folders: Iterable[str | Path], *, working_directory: bool = True
) -> SearchPath:
    """Return the search path of a command that was started in the working directory."""
    here = Path.cwd()
    absolute = tuple(dict.fromkeys((here / folder).resolve() for folder in folders))
    return SearchPath(absolute, here if working_directory else None)


def list_presets(group: str) -> dict[str, Path]:
    """Return the file of each preset of a group ("suite", "agent", "world_model") by name.

    Raises:
        ConfigError: Two presets have the same name.
    """
    found: dict[str, Path] = {}
    for folder in (CONF, *list_folders()):
        for path in sorted((folder / group).glob("*.yaml")):
            if path.stem in found:
                raise ConfigError(
                    f"{path} has the name of the preset {found[path.stem]}. "
                    "Give the file (and its key `name`) another name."
                )
            found[path.stem] = path
    return dict(sorted(found.items()))


def list_folders() -> list[Path]:
    """Return the folders with presets of others, in the order of the search.

    Raises:
        ConfigError: An installed package declares a folder that does not exist.
    """
    path = get_search_path()
    folders = list(_find_package_folders())
    if path.working_directory is not None and (own := path.working_directory / "conf").is_dir():
        folders.append(own.resolve())
    every = dict.fromkeys([*folders, *path.folders])
    return [folder for folder in every if folder != CONF.resolve()]


def describe_origin(path: Path) -> str:
    """Return the origin of a preset: a package and its version, or the user's file."""
    if path.parents[1] == CONF:
        return BUILT_IN
    if package := _find_package_folders().get(path.parents[1]):
        return package
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigError(f"--config-dir {folder}: there is no such folder.")
    if not any((folder / group).is_dir() for group in GROUPS):
        raise ConfigError(
            f"--config-dir {folder} contains none of the folders {', '.join(GROUPS)}, "
            "in which presets are looked up."
        )


@cache
def _find_package_folders() -> dict[Path, str]:
    """Return the folders that installed packages declare, with the package and its version."""
    folders = {}
    for name in list_entry_points(PACKAGE_GROUP):
        point = find_entry_point(PACKAGE_GROUP, name)
        if point is None:  # uninstalled in the meantime
            continue
        try:
            spec = importlib.util.find_spec(point.value)
        except ImportError:
            spec = None
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not places:
            raise ConfigError(
                f"An installed package declares presets in {point.value!r} (entry point {name!r} "
                f"of {PACKAGE_GROUP}), which is not a package. Correct or uninstall it."
            )
        distribution = point.dist
        folders[Path(places[0]).resolve()] = (
            f"{distribution.name} {distribution.version}" if distribution else name
        )
    return folders


class _OwnPresets(SearchPathPlugin):
    """Adds the folders of others to Hydra's search path, so that defaults lists find presets."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in list_folders():
            search_path.append(BUILT_IN, f"file://{folder}")


Plugins.instance().register(_OwnPresets)

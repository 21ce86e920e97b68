"""Compute digests of the code and the files of an agent, which are part of its stages' hashes."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


def digest_sources(module: ModuleType) -> str:
    """Return a digest of the Python sources of a module.

    For a module in a package, these are all Python files of its top-level package. For a single
    file, they are the file and the modules beside it that it imports, directly or indirectly.
    """
    if not getattr(module, "__file__", None):
        return ""
    file = Path(str(module.__file__)).resolve()
    depth = module.__name__.count(".") + (file.name == "__init__.py")
    if depth:
        root = file.parents[depth - 1]
        return _digest(root, root.rglob("*.py"))
    return _digest(file.parent, _find_local_imports(file))


def digest_files(folder: Path, names: Sequence[str]) -> str:
    """Return a digest of data files, such as weights. Names are relative to ``folder``.

    Raises:
        FileNotFoundError: A file is missing.
    """
    files: list[Path] = []
    for name in names:
        path = folder / name
        if not path.exists():
            raise FileNotFoundError(f"There is no file {path}.")
        files += [item for item in path.rglob("*") if item.is_file()] if path.is_dir() else [path]
    return _digest(folder, files) if files else ""


def find_paths(settings: Any) -> list[str]:
    """Return the values of nested settings that name an existing file or folder."""
    if isinstance(settings, Mapping):
        return [path for key in sorted(settings) for path in find_paths(settings[key])]
    if isinstance(settings, list | tuple):
        return [path for value in settings for path in find_paths(value)]
    if isinstance(settings, str) and settings:
        try:
            return [settings] if Path(settings).is_file() or _is_model_folder(settings) else []
        except (OSError, ValueError):  # too long for a path, or with a null character
            return []
    return []


def _is_model_folder(text: str) -> bool:
    # A word such as "data" may also be the name of a folder. Require a path separator.
    return ("/" in text or "\\" in text) and Path(text).is_dir()


def _find_local_imports(file: Path) -> set[Path]:
    """Return a file and all files beside it that it imports."""
    found, waiting = {file}, [file]
    while waiting:
        for name in _list_imports(waiting.pop()):
            for path in _locate_module(file.parent, name):
                if path not in found:
                    found.add(path)
                    waiting.append(path)
    return found


def _locate_module(folder: Path, name: str) -> list[Path]:
    first = name.partition(".")[0]
    if (folder / first / "__init__.py").is_file():
        return sorted((folder / first).rglob("*.py"))
    return [path] if (path := folder / f"{first}.py").is_file() else []


def _list_imports(file: Path) -> list[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return []
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module] if node.module else [alias.name for alias in node.names]
    return names


def _digest(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(set(files)):
        name = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
        content = path.read_bytes()
        digest.update(f"{name.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()

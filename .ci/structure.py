"""Check the size of folders, files and functions, and that no files import each other in a circle.

Usage: ``python .ci/structure.py``. It reads every Python file that git tracks. The exit code is 1
if a limit is exceeded. The direction of imports between folders is checked by import-linter.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

MAX_ENTRIES, MAX_FILE_LINES, MAX_FUNCTION_LINES = 16, 400, 60
PACKAGES = ("envs", "world_models", "agents", "evaluation", "results", "jepabench")
CODE = (*PACKAGES, "tests", "benchmarks", "examples")
# Folders of data inside the packages: presets that Hydra finds by name, and results.
DATA = (
    "jepabench/conf",
    *(f"results/{name}" for name in ("checkpoints", "submissions", "tables", "tuning", "verified")),
)


def find_large_folders(names: list[str]) -> Iterator[str]:
    """Yield a sentence for each folder of code with too many entries."""
    entries: dict[Path, set[str]] = defaultdict(set)
    for path in map(Path, names):
        for below in (path, *path.parents):
            entries[below.parent].add(below.name)
    for folder, found in entries.items():
        name = folder.as_posix()
        is_code = name.split("/")[0] in CODE and not f"{name}/".startswith(
            tuple(f"{data}/" for data in DATA)
        )
        if is_code and len(found) > MAX_ENTRIES:
            yield f"{name} has {len(found)} entries, at most {MAX_ENTRIES} are allowed"


def find_long_code(name: str, text: str, tree: ast.Module) -> Iterator[str]:
    """Yield a sentence for a file, and for each of its functions, that is too long."""
    if (count := len(text.splitlines())) > MAX_FILE_LINES:
        yield f"{name} has {count} lines, at most {MAX_FILE_LINES} are allowed"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > MAX_FUNCTION_LINES:
                yield (
                    f"{name}:{node.lineno}: {node.name} has {count} lines, at most "
                    f"{MAX_FUNCTION_LINES} are allowed"
                )


def list_imports(tree: ast.Module, module: str, modules: set[str]) -> set[str]:
    """Return the modules of the project that are imported when ``module`` is, except packages.

    A package imports its modules to offer their names, which is not a circle.
    """
    found = set()
    for node in tree.body:  # not those in functions and below TYPE_CHECKING
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return (found & modules) - {module}


def find_cycles(imports: dict[str, set[str]]) -> Iterator[str]:
    """Yield a sentence if modules import each other in a circle."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        yield f"These modules import each other: {' <- '.join(error.args[1])}"


def main() -> int:
    """Print every problem and return the exit code."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.splitlines() if Path(name).exists()]
    files = [name for name in names if name.endswith(".py") and not Path(name).is_symlink()]
    problems, trees = list(find_large_folders(names)), {}
    for name in files:
        text = Path(name).read_text(encoding="utf-8")
        tree = ast.parse(text)
        problems += find_long_code(name, text, tree)
        if name.split("/")[0] in PACKAGES and not name.endswith("__init__.py"):
            path = Path(name).with_suffix("").as_posix().replace("/", ".")
            trees[f"jepabench.{path.removeprefix('jepabench.')}"] = tree
    modules = set(trees)
    problems += find_cycles(
        {name: list_imports(tree, name, modules) for name, tree in trees.items()}
    )
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

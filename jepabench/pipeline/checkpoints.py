"""Find world models by name or folder, and write the tables of model checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from jepabench.envs.errors import unknown_name
from jepabench.pipeline.hub import PREFIX, pull

if TYPE_CHECKING:
    import pandas as pd

_FILES = (".safetensors", ".json", ".npz")
_OF_A_STAGE = {"stage.json", "done.json", "failed.json"}
REFERENCES = Path(__file__).parents[1] / "results" / "checkpoints"


def reference_names() -> list[str]:
    """Return the names of the reference checkpoints that come with the project."""
    return sorted(path.parent.name for path in REFERENCES.glob("*/model.json"))


def reference_tasks() -> dict[str, str]:
    """Return the id of the task of each reference checkpoint, by its name."""
    return {
        name: json.loads((REFERENCES / name / "model.json").read_text(encoding="utf-8"))["task_id"]
        for name in reference_names()
    }


def find_checkpoint(name: str) -> Path:
    """Return the folder of a world model.

    Args:
        name: A folder, the name of a reference checkpoint, or ``hf://user/name``.

    Raises:
        UnknownNameError: There is no such folder or checkpoint. The message suggests the nearest
            reference checkpoint.
    """
    if name.startswith(PREFIX):
        return pull(name, kind="checkpoint")
    folder = Path(name)
    if (folder / "model.json").exists() or folder.is_dir():
        return folder  # loading reports what is wrong with an unfinished one
    if (REFERENCES / name / "model.json").exists():
        return REFERENCES / name
    raise unknown_name(
        "checkpoint (neither a folder nor a reference checkpoint)", name, reference_names()
    )


def write_table(table: pd.DataFrame, output: Path | None, name: str) -> None:
    """Write ``name.csv`` and ``name.json`` into the folder ``output``, unless it is None."""
    if output is None:
        return
    from jepabench.envs.data.files import write_atomically

    write_atomically(
        output / f"{name}.csv", table.to_csv(index=False, float_format="%.6g").encode()
    )
    rows = json.loads(str(table.to_json(orient="records", double_precision=6)))
    write_atomically(output / f"{name}.json", (json.dumps(rows, indent=1) + "\n").encode())


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the files of a finished training that a re-run needs, without earlier budgets."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in _FILES
        and path.name not in _OF_A_STAGE
        and "budgets" not in path.relative_to(folder).parts
    ]

"""The folder of a training run. ``training.json`` is written last and marks it as finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.files import write_atomically
from jepabench.envs.registry import get_task
from jepabench.world_models.checkpoint import fingerprint
from jepabench.world_models.training.devices import find_device

SCHEMA = 1

# By algorithm: settings that had another name when committed runs were trained, and the values that
# settings had before they could be set.
_RENAMED = {"learned_distance": {"discount": "gamma"}}
_ADDED = {"learned_distance": {"radius": 0.5, "ridge": 0.1}}


def open_run(directory: Path, run: Mapping[str, Any]) -> bool:
    """Claim ``directory`` for a run; return whether the run is finished already.

    Raises:
        ValueError: The folder holds another run.
    """
    directory.mkdir(parents=True, exist_ok=True)
    wanted = json.loads(json.dumps({"schema": SCHEMA, **run}))
    path = directory / "run.json"
    if path.exists():
        found = _read(path)
        for key in wanted.keys() | found.keys():
            if found.get(key) != wanted.get(key):
                raise ValueError(
                    f"{directory} holds a run with {key}={found.get(key)!r}, "
                    f"not {wanted.get(key)!r}. Choose another folder, or delete it first."
                )
    else:
        _write(path, wanted)
    return (directory / "training.json").exists()


def record_inputs(
    task_id: str, data: EpisodeDataset, world_model: Path | None = None
) -> dict[str, str | None]:
    """Return the entries of a run that identify its task, its dataset and its frozen model."""
    return {
        "task_id": get_task(task_id).id,
        "world_model": fingerprint(world_model) if world_model else None,
        "dataset_fingerprint": data.manifest.fingerprint,
    }


def record_device(device: str) -> dict[str, str]:
    """Return the entry of a device in the record of a run. The CPU has none, as in older records.

    Raises:
        UnknownNameError: There is no such device.
        ValueError: PyTorch sees no such GPU.
    """
    find_device(device)
    return {} if device == "cpu" else {"device": device}


def close_run(directory: Path, run: Mapping[str, Any], cost: Mapping[str, Any]) -> None:
    """Mark a run as finished: write its settings and its cost."""
    _write(directory / "training.json", {"schema": SCHEMA, **run, **cost})


def read_run(directory: Path, **wanted: Any) -> dict[str, Any]:
    """Return the settings and the cost of a finished run.

    Raises:
        ValueError: The run is not finished, or has other values than ``wanted``.
    """
    path = Path(directory) / "training.json"
    if not path.exists():
        raise ValueError(
            f"No policy in {directory}: training.json is missing, so training did not finish. "
            "Run it again to resume."
        )
    content = _read(path)
    wanted = {"schema": SCHEMA, **wanted}
    found = {key: content.get(key) for key in wanted}
    if found != wanted:
        raise ValueError(
            f"The policy in {directory} has {found}, expected {wanted}. Train one for this use."
        )
    return content


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a file, with the present names of settings and all of them."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content.get("config"), dict):
        algorithm = str(content.get("algorithm"))
        renamed = _RENAMED.get(algorithm, {})
        content["config"] = _ADDED.get(algorithm, {}) | {
            renamed.get(name, name): value for name, value in content["config"].items()
        }
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(dict(content), indent=2))

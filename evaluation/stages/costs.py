"""What an agent cost before its first test episode, read from the folders of finished stages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COSTS = ("transitions", "train_seconds", "parameters")
NOT_STATED: Mapping[str, float | None] = dict.fromkeys(COSTS)


@dataclass(slots=True)
class Spent:
    """What training spent.

    Attributes:
        transitions: Control steps that belong to no dataset: of online training, and of tuning.
        seconds: Seconds of training and of collecting data, simulation included [s].
        parameters: Parameters of all trained parts.
        datasets: Control steps of each dataset, by its fingerprint, so that each counts once.
    """

    transitions: int = 0
    seconds: float = 0.0
    parameters: int = 0
    datasets: dict[str, int] = field(default_factory=dict)

    def as_costs(self) -> dict[str, float | None]:
        """Return the content of ``cost.json``."""
        return {
            "transitions": self.transitions + sum(self.datasets.values()),
            "train_seconds": self.seconds,
            "parameters": self.parameters,
        }

    def as_tuning(self) -> dict[str, Any]:
        """Return what a search spent, as the key ``tuning`` of an agent's preset states it."""
        return {
            "transitions": self.transitions,
            "train_seconds": round(self.seconds, 1),
            "datasets": dict(self.datasets),
        }


def sum_spent(stages: Iterable[tuple[str, Path]], tuning: Mapping[str, Any] | None = None) -> Spent:
    """Return what stages spent.

    Every dataset counts, for training and for validation or calibration, each once. Seconds include
    the simulation for both kinds of agent: online training contains it, and collecting a dataset is
    added. A stored checkpoint counts what its description states.

    Args:
        stages: Key and folder of each stage on which an evaluation depends.
        tuning: What the search for the agent's settings spent: key ``tuning`` of its preset.
    """
    spent = Spent()
    for key, folder in stages:
        kind = key.partition("/")[0]
        if kind == "data":
            _add_dataset(spent, folder)
        elif kind in ("model", "policy"):
            _add_training(spent, folder, "model.json" if kind == "model" else "training.json")
    if tuning:
        spent.transitions += tuning["transitions"]
        spent.seconds += tuning["train_seconds"]
        spent.datasets = {**tuning.get("datasets", {}), **spent.datasets}
    return spent


def _add_dataset(spent: Spent, folder: Path) -> None:
    manifest = _read(folder / "dataset" / "manifest.json")
    transitions = manifest["num_frames"] - manifest["num_episodes"]
    spent.datasets[manifest["fingerprint"]] = transitions * manifest["action_block"]
    spent.seconds += _read(folder / "done.json")["seconds"]


def _add_training(spent: Spent, folder: Path, name: str) -> None:
    content = _read(folder / name)
    content = content.get("metadata", content)
    fingerprint = content.get("dataset_fingerprint")
    if not fingerprint:  # trained online, on transitions of its own
        spent.transitions += content["transitions"]
    elif fingerprint not in spent.datasets:  # a stored checkpoint, or budgets of one dataset
        spent.datasets[fingerprint] = content["transitions"]
    spent.seconds += content["train_seconds"]
    spent.parameters += content["parameters"]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))

"""A true submission of a tiny suite, and what it takes to forge one."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from jepabench import envs  # noqa: F401  (registers the tasks)
from jepabench.envs.errors import unknown_name
from jepabench.evaluation.model_checks.quantities import observation_names
from jepabench.evaluation.protocol import Suite, SuiteTask
from jepabench.evaluation.records import SCHEMA
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.submissions.checks import aggregates
from jepabench.evaluation.submissions.diagnostics import diagnostics_files, frames_name
from jepabench.evaluation.submissions.rows import read_rows
from jepabench.evaluation.submissions.submission import write_submission

ROOM, MAZE = "jepabench/TwoRoom-v1", "jepabench/PointMaze-UMaze-v1"
SUITE = Suite(
    name="tiny",
    version=3,
    tasks=(
        SuiteTask(task_id=ROOM, strata=("near",), num_episodes=3),
        SuiteTask(task_id=MAZE, strata=("near",), num_episodes=2),
    ),
    agents=("seeker",),
    training_seeds=(0, 1),
)
ABOUT = {
    "name": "seeker",
    "pixels": 64,
    "agent": {
        "name": "seeker",
        "learns": True,
        "package": "",
        "track": {"observation": "state", "data": "none", "privilege": "none"},
        "config": {"agent": {"_target_": "tiny_submission.Seeker"}},
        "per_task": {},
    },
    "training_seeds": [0, 1],
    "authors": ["A. Nobody"],
    "description": "",
    "link": "https://example.org/seeker",
    "created": "2026-01-02T03:04:05+00:00",
    "command": "jepabench submit seeker suite=tiny",
    "code": {"commit": "", "dirty": None},
    "versions": {name: version(name) for name in ("mujoco", "pymunk", "numpy")},
    "machine": {"cores": "2"},
    "costs": [
        {
            "task_id": task,
            "training_seed": seed,
            "transitions": 100,
            "train_seconds": 1.5,
            "parameters": 10,
            "data_fingerprint": "",
        }
        for task in (ROOM, MAZE)
        for seed in (0, 1)
    ],
}


class Seeker:
    """Goes straight to the goal, with more or less force: good when near, and never perfect."""

    observation_keys = ("achieved_goal", "desired_goal")

    def __init__(self, *, gain: float = 4.0) -> None:
        self.gain = gain

    def reset(self, specs):
        self.steps = np.zeros(len(specs), np.int64)

    def act(self, observations, active):
        way = observations["desired_goal"] - observations["achieved_goal"]
        return np.clip(self.gain * way, -1, 1).astype(np.float32)

    @property
    def model_steps(self):
        return self.steps


def find_suite(name: str) -> Suite:
    if name != SUITE.name:
        raise unknown_name("suite", name, [SUITE.name])
    return SUITE


def write_true(folder: Path) -> None:
    records, actions = [], {}
    for task in SUITE.tasks:
        for seed in SUITE.training_seeds:
            found = evaluate_episodes(
                Seeker(gain=4.0 + seed),
                SUITE.specs(task),
                agent_name="seeker",
                training_seed=seed,
                batch_size=3,
            )
            records += found.records
            actions[task.task_id, seed] = np.concatenate(
                [found.actions[name] for name in found.actions]
            )
    write_submission(folder, ABOUT, suite=SUITE, records=records, actions=actions)


def add_diagnostics(folder: Path) -> None:
    """Lets its makers say what the world model of the first task knows; nobody looks into the
    checkpoint for that.
    """
    home = folder / "checkpoints/TwoRoom-v1/seed0/world_model"
    home.mkdir(parents=True)
    (home / "model.json").write_text(json.dumps({"task_id": ROOM}), encoding="utf-8")
    quantities = [{"quantity": name, "r2": 0.75, "r": 0.9} for name in observation_names(ROOM)]
    quantities[2].update(r2=None, r=None)
    rates = {"auroc": 0.9, "low": 0.8, "high": 1.0, "untrained": 0.5, "pairs": 20}
    report = {
        "task_id": ROOM,
        "training_seed": 0,
        "frames": 100,
        "probe": quantities,
        "surprise": [
            {"event": "teleport", "kind": "impossible", **rates},
            {"event": "recolour", "kind": "harmless", **rates},
        ],
        "imagined": [{"stratum": "near", "index": 0, "known": 2, "steps": 3}],
    }
    frames = {frames_name(ROOM, "near", 0): np.full((4, 64, 64, 3), 128, np.uint8)}
    for name, content in diagnostics_files([report], frames).items():
        (folder / name).write_bytes(content)
    sign(folder)


# -- forging: each changes one thing, and makes everything else agree with it ----------------------


def change_manifest(folder: Path, change) -> None:
    path = folder / "submission.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def sign(folder: Path, *, with_aggregates: bool = False) -> None:
    """Makes the manifest's checksums, and if wanted its aggregates, those of the files."""

    def change(manifest):
        names = [
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        ]
        names.remove("submission.json")
        manifest["files"] = {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names
        }
        if with_aggregates:
            content = (folder / "episodes.parquet").read_bytes()
            rows = read_rows(content, parquet.read_metadata(folder / "episodes.parquet").num_rows)
            manifest["aggregates"] = [item.model_dump() for item in aggregates(rows)]

    change_manifest(folder, change)


def write_table(folder: Path, table: pa.Table, **options) -> None:
    parquet.write_table(table, folder / "episodes.parquet", **options)
    sign(folder)


def read_table(folder: Path) -> pa.Table:
    return parquet.ParquetFile(folder / "episodes.parquet").read()


def change_rows(folder: Path, change) -> None:
    """Changes the rows, a pandas table, and forges what follows from them."""
    rows = read_table(folder).to_pandas()
    changed = change(rows)
    rows = rows if changed is None else changed
    columns = [pa.array(rows[item.name].tolist(), item.type) for item in SCHEMA]  # NaN stays NaN
    parquet.write_table(pa.table(columns, schema=SCHEMA), folder / "episodes.parquet")
    try:
        sign(folder, with_aggregates=True)
    except ValueError:
        sign(folder)  # nothing that aggregates could be made of


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "actions.npz") as file:
        return dict(file)


def write_arrays(folder: Path, arrays: dict) -> None:
    np.savez_compressed(folder / "actions.npz", **arrays)
    sign(folder)

"""Synthetic submissions for the board: valid manifests and rows with random outcomes."""

import json

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from jepabench.envs.task import short_name
from jepabench.evaluation.model_checks.quantities import observation_names
from jepabench.evaluation.protocol import PROTOCOL_VERSION
from jepabench.evaluation.records import SCHEMA
from jepabench.evaluation.submissions.diagnostics import diagnostics_files
from jepabench.evaluation.submissions.files import folder_digest
from jepabench.evaluation.submissions.tracks import RESERVED_NAMES
from jepabench.evaluation.verification.environment import simulator_versions
from jepabench.evaluation.verification.levels import BADGES
from jepabench.evaluation.verification.records import RECORD_SCHEMA

TRACKS = {
    "random": ("none", "none", "none"),
    "hold-still": ("none", "none", "none"),
    "expert": ("state", "none", "simulator"),
    "oracle-cem": ("state", "none", "simulator"),
    "gcbc": ("state", "offline reward-free", "none"),
    "sac-her": ("state", "online", "none"),
}
SKILLS = {
    "random": 0.08,
    "hold-still": 0.0,
    "expert": 0.99,
    "oracle-cem": 0.93,
    "jepa-cem": 0.8,
    "gcbc": 0.5,
    "sac-her": 0.65,
}


def suite_of(*tasks, version=1, description="made up", episodes=20):
    """A suite for ``Sources``; tasks are pairs of an id and its strata."""
    return {
        "version": version,
        "description": description,
        "tasks": [
            {"task_id": task, "strata": list(strata), "num_episodes": episodes}
            for task, strata in tasks
        ],
    }


def write(
    root,
    name,
    suite_name,
    suite,
    *,
    agent,
    seeds=(0, 1, 2),
    skill=None,
    badges=0,
    number=0,
    **changes,
):
    """Write a submission below ``root/submissions`` and its badges below ``root/verified``."""
    rng = np.random.default_rng([number, len(name)])
    learns = agent not in ("random", "hold-still", "expert", "oracle-cem")
    seeds = tuple(seeds) if learns else (0,)
    folder = root / "submissions" / name
    folder.mkdir(parents=True)
    rows = rows_of(suite, agent, seeds, SKILLS.get(agent, 0.7) if skill is None else skill, rng)
    parquet.write_table(rows, folder / "episodes.parquet")
    (folder / "actions.npz").write_bytes(b"PK\x05\x06" + bytes(18))
    observation, data, privilege = TRACKS.get(agent, ("pixels", "offline reward-free", "none"))
    manifest = {
        "schema_version": 1,
        "protocol_version": PROTOCOL_VERSION,
        "name": name,
        "suite": {"name": suite_name, "version": suite["version"]},
        "pixels": 64,
        "agent": {
            "name": agent,
            "learns": learns,
            "package": "",
            "track": {"observation": observation, "data": data, "privilege": privilege},
            "config": {"agent": {"_target_": RESERVED_NAMES.get(agent, "x.Y")}},
            "per_task": {},
        },
        "training_seeds": list(seeds),
        "authors": ["A. Nobody"],
        "description": f"{agent}, made up",
        "link": "https://example.org/",
        "created": "2026-01-02T03:04:05+00:00",
        "command": f"jepabench submit {agent} suite={suite_name}",
        "code": {"commit": "0123456789abcdef", "dirty": False},
        "versions": {"mujoco": "3.17.0"},
        "machine": {"processor": "abacus", "cores": "2"},
        "costs": [
            list_costs(task["task_id"], seed, learns) for task in suite["tasks"] for seed in seeds
        ],
        "specs": {"num_episodes": rows.num_rows // len(seeds), "sha256": "0" * 64},
        "aggregates": [],
        "files": {},
        **changes,
    }
    (folder / "submission.json").write_text(json.dumps(manifest), encoding="utf-8")
    if badges:
        write_badges(root, folder, badges)
    return folder


def list_costs(task_id, seed, learns):
    """Return what an agent cost on a task."""
    return {
        "task_id": task_id,
        "training_seed": seed,
        "transitions": 45000 if learns else 0,
        "train_seconds": 90.5 * learns,
        "parameters": 250_000 * learns,
        "data_fingerprint": "",
    }


def write_badges(root, folder, count):
    """Write the record of a verification that gave a submission its first ``count`` badges."""
    (root / "verified").mkdir(exist_ok=True)
    record = {
        "schema_version": RECORD_SCHEMA,
        "name": folder.name,
        "digest": folder_digest(folder),
        "protocol_version": PROTOCOL_VERSION,
        "physics": simulator_versions(),
        "badges": list(BADGES[:count]),
    }
    (root / "verified" / f"{folder.name}.json").write_text(json.dumps(record), encoding="utf-8")


def tell_of_world_model(folder, task, **more):
    """Add diagnostics of the world model of ``task``, seed 0, to a submission without badges."""
    home = folder / "checkpoints" / short_name(task) / "seed0" / "world_model"
    home.mkdir(parents=True)
    (home / "model.json").write_text("{}", encoding="utf-8")
    probe = [{"quantity": name, "r2": None, "r": None} for name in observation_names(task)]
    probe[0] |= {"r2": 0.87654, "r": 0.94}
    rates = {"auroc": 0.9, "low": 0.8, "high": 1.0, "untrained": 0.5, "pairs": 20}
    surprise = [{"event": "teleport", "kind": "impossible", **rates}]
    surprise += [{"event": "recolour", "kind": "harmless", **dict.fromkeys(rates), "pairs": 0}]
    report = {
        "task_id": task,
        "training_seed": 0,
        "frames": 1234,
        "probe": probe,
        "surprise": surprise,
        "imagined": [],
        **more,
    }
    for name, content in diagnostics_files([report], {}).items():
        (folder / name).write_bytes(content)


def rows_of(suite, agent, seeds, skill, rng):
    """Return rows of all episodes; success depends on skill and is lower in later strata."""
    parts = []
    for task in suite["tasks"]:
        for seed in seeds:
            for place, stratum in enumerate(task["strata"]):
                count = task["num_episodes"]
                held = rng.random(count) < skill * 0.85**place
                ever = held | (rng.random(count) < 0.05)
                parts.append(columns(task["task_id"], stratum, agent, seed, held, ever, rng))
    names = SCHEMA.names
    return pa.table(
        {name: np.concatenate([part[name] for part in parts]) for name in names}, schema=SCHEMA
    )


def columns(task, stratum, agent, seed, held, ever, rng):
    count = len(held)
    fast = agent in ("gcbc", "sac-her", "random", "hold-still")
    seconds = (0.0001 if fast else 0.002) * 60 * rng.uniform(0.8, 1.2, count)
    words = {"agent": agent, "task_id": task, "split": "test", "stratum": stratum}
    flags = {
        "success_ever": ever,
        "success_final": held,
        "success_held": held,
        "joint_ever": ever,
        "strict_held": held,
    }
    whole = {
        "training_seed": seed,
        "steps": 60,
        "reference_steps": 30,
        "model_steps": 0 if fast else 40000,
    }
    reals = {"distance_start": 1.0, "distance_final": 0.1, "distance_min": 0.05, "return_": -30.0}
    return (
        {name: np.full(count, value, object) for name, value in words.items()}
        | flags
        | {name: np.full(count, value, np.int64) for name, value in whole.items()}
        | {name: np.full(count, value) for name, value in reals.items()}
        | {
            "index": np.arange(count),
            "first_success_step": np.where(ever, 20, -1),
            "violations": rng.integers(0, 3, count),
            "planning_seconds": seconds,
            "planning_ms_median": seconds * 10,
            "planning_ms_p95": seconds * 25,
        }
    )

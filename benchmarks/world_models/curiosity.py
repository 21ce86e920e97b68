"""Compare random, scripted and curious data collection with equal transitions (claim C16).

``python benchmarks/world_models/curiosity.py`` collects a few long episodes of PointMaze-Medium
from the same starts in three ways: with the random behaviour, with the scripted behaviour that
wanders from place to place, and in rounds. The first round is random; each later round follows the
disagreement of an ensemble trained on the earlier rounds. The same model (the state twin) is then
trained on each dataset and used with the same planner. Writes ``results/tables/curiosity.csv``.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from hydra.utils import instantiate

from jepabench.agents.collection.curiosity import CuriousBehaviour
from jepabench.envs.data.collect import collect
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.writing import write_dataset
from jepabench.envs.splits import episode_specs
from jepabench.evaluation.records import records_frame
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.statistics.success_tables import score_table
from jepabench.pipeline.config import load_preset
from jepabench.world_models.training.fit import fit

TABLE = Path(__file__).parents[2] / "results" / "tables" / "curiosity.csv"
CELL, SPEED = (
    0.25,
    1.0,
)  # size of a cell: floor [m]; position and velocity together [m, m/s]
ENSEMBLE = {
    "encoder": "state",
    "predictor": "mlp",
    "history": 2,
    "rollout_steps": 3,
    "num_members": 5,
}


def main() -> None:
    """Run all arms and seeds and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("outputs/curiosity"))
    parser.add_argument("--task", default="jepabench/PointMaze-Medium-v1")
    parser.add_argument(
        "--episodes", type=int, default=30, help="episodes per arm; a multiple of the rounds"
    )
    parser.add_argument("--steps", type=int, default=40, help="action blocks per episode")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--training-steps", type=int, default=1500)
    parser.add_argument(
        "--test-episodes", type=int, default=40, help="test episodes per stratum (near and medium)"
    )
    options = parser.parse_args()
    rows = []
    for seed, arm in itertools.product(range(options.seeds), ("random", "wander", "curiosity")):
        rows.append({"arm": arm, "seed": seed, **measure(options, arm, seed)})
        print(rows[-1], flush=True)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(TABLE, index=False, float_format="%.4f")


def measure(options: argparse.Namespace, arm: str, seed: int) -> dict[str, float]:
    """Return the coverage of an arm's data, its model's error and its planning success."""
    folder = options.output / f"{arm}-seed{seed}"
    held_out = load_or_collect(
        options, options.output / "validation", 10**6, 40, "wander", split="validation"
    )
    data = (
        collect_in_rounds(options, folder, held_out, seed)
        if arm == "curiosity"
        else collect_arm(options, folder, arm, seed)
    )
    model = train_model(
        folder / "model",
        data,
        held_out,
        {"kind": "jepa", "model": load_preset("world_model", "state-twin")["model"]},
        seed,
        options,
    )
    agent_preset = load_preset("agent", "state-cem")["agent"]
    agent = instantiate(agent_preset, task_id=options.task, world_model=model, _convert_="all")
    specs = episode_specs(options.task, "test", options.test_episodes, strata=("near", "medium"))
    evaluation = evaluate_episodes(agent, specs, agent_name=arm, training_seed=seed)
    scores = score_table(records_frame(evaluation.records)).set_index("stratum")
    state = np.asarray(data.field("observation"))
    return {
        "transitions": int(data.lengths.sum()),
        "cells": count_cells(state[:, :2] / CELL),
        "cells_with_velocity": count_cells(
            np.concatenate([state[:, :2] / (2 * CELL), state[:, 2:4] / SPEED], axis=1)
        ),
        **{f"held_{name}": float(scores.loc[name, "success_held"]) for name in ("near", "medium")},
        **{f"ever_{name}": float(scores.loc[name, "success_ever"]) for name in ("near", "medium")},
    }


def count_cells(places: np.ndarray) -> int:
    """Count the distinct cells that contain places [N, Q], given in units of cells."""
    return len(np.unique(np.floor(places), axis=0))


def collect_arm(
    options: argparse.Namespace, folder: Path, behaviour: str, seed: int
) -> EpisodeDataset:
    """Collect a dataset with one behaviour of the task."""
    return load_or_collect(options, folder / "data", seed * 10**4, options.episodes, behaviour)


def collect_in_rounds(
    options: argparse.Namespace, folder: Path, held_out: EpisodeDataset, seed: int
) -> EpisodeDataset:
    """Return a dataset of alternating collection and training, with the starts of the others."""
    share = options.episodes // options.rounds
    parts: list[EpisodeDataset] = []
    for number in range(options.rounds):
        behaviour = "random"
        if parts:
            so_far = merge(folder / f"data-{number}", parts)
            behaviour = CuriousBehaviour(
                train_model(
                    folder / f"ensemble-{number}",
                    so_far,
                    held_out,
                    {"kind": "ensemble", "model": ENSEMBLE},
                    seed,
                    options,
                )
            )
        parts.append(
            load_or_collect(
                options, folder / f"round-{number}", seed * 10**4 + number * share, share, behaviour
            )
        )
    return merge(folder / "data", parts)


def load_or_collect(
    options, path: Path, first_index: int, episodes: int, behaviour, split: str = "train"
) -> EpisodeDataset:
    """Collect a dataset, or open it if it exists."""
    return collect(
        options.task,
        path,
        num_episodes=episodes,
        num_steps=options.steps,
        behaviour=behaviour,
        split=split,
        pixels=None,
        num_workers=1,
        first_index=first_index,
        progress=False,
    )


def merge(path: Path, parts: list[EpisodeDataset]) -> EpisodeDataset:
    """Merge several datasets into one."""
    if not path.exists():
        write_dataset(path, (part[index] for part in parts for index in range(len(part))))
    return EpisodeDataset.open(path)


def train_model(directory: Path, data, held_out, preset: dict, seed: int, options) -> Path:
    """Train a model unless it exists, and return its folder."""
    if not (directory / "model.json").exists():
        training = {"num_steps": options.training_steps, "batch_size": 256, "diagnose_every": 10**6}
        fit(
            dataset=data.path,
            validation=held_out.path,
            directory=directory,
            seed=seed,
            training=training,
            progress=False,
            **preset,
        )
    return directory


if __name__ == "__main__":
    main()

"""Compare ways of training a world model with the same training budget and the same planner.

``python benchmarks/world_models/anti_collapse.py search TRAIN VALIDATION`` tries four weights of
each anti-collapse term and appends one row per weight to ``results/tuning/anti-collapse.csv``.
``... table TRAIN VALIDATION`` trains each term and target longer, with its best weight and the same
encoder and predictor, and appends to ``results/tables/anti-collapse.csv``. ``... encoders TRAIN
VALIDATION`` trains with other encoders (pretrained, frozen or learned) and appends to
``results/tables/encoders.csv``.

Existing rows are skipped, so an interrupted run can be started again. Models are written to
``outputs/anti-collapse``. TRAIN and VALIDATION are folders written by ``jepabench collect`` for the
same task.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch

from jepabench.agents.build import build_mpc
from jepabench.agents.costs.energy import Energy, GoalDistance
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.splits import episode_specs
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.statistics.intervals import cell_interval
from jepabench.pipeline.config import load_preset
from jepabench.world_models.analysis.diagnostics import Diagnosis
from jepabench.world_models.training.fit import fit

HOME = Path(__file__).parents[2]
# Four values of one setting per preset, about a factor of three apart, including the default.
SEARCH = {
    "jepa-sigreg": ("terms.sigreg.weight", (0.01, 0.03, 0.09, 0.3)),
    "jepa-vicreg": ("terms.variance.weight", (0.1, 0.3, 1.0, 3.0)),
    "jepa-pldm": ("terms.variance.weight", (1.1, 3.5, 11.0, 35.0)),
    "jepa-mcr2": ("terms.mcr2.weight", (0.01, 0.03, 0.1, 0.3)),
    "jepa-mmcr": ("terms.mmcr.weight", (0.007, 0.02, 0.07, 0.2)),
    "jepa-barlow": ("terms.barlow.weight", (0.007, 0.02, 0.07, 0.2)),
    "jepa-infonce": ("terms.infonce.weight", (0.1, 0.3, 1.0, 3.0)),
    "jepa-inverse": ("terms.inverse_dynamics.weight", (0.1, 0.3, 1.0, 3.0)),
    "jepa-ema": ("momentum", (0.9, 0.97, 0.99, 0.997)),
    "jepa-straight": ("terms.curvature.weight", (0.01, 0.03, 0.1, 0.3)),
}
TABLE = [*SEARCH, "jepa-stopgrad", "autoencoder"]
ENCODERS = [
    "jepa",
    "jepa-conv",
    "jepa-spatial",
    "jepa-vit",
    "jepa-slots",
    "masked-autoencoder",
    "masked-ijepa",
    "masked-vjepa",
    "dino-wm",
    "dino-wm-own",
]
POSE = {
    "jepabench/PushT-v1": ("block x", "block y", "sin", "cos", "pusher x", "pusher y"),
    "jepabench/TwoRoom-v1": ("x", "y"),
}
STRATUM = {"jepabench/PushT-v1": "steps25", "jepabench/TwoRoom-v1": "medium"}


def main() -> None:
    """Measure every setting that has no row yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("search", "table", "encoders"))
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--presets", nargs="*", help="presets to measure; default: all")
    parser.add_argument(
        "--terms",
        help="for `encoders`: preset whose term weights every JEPA uses",
    )
    parser.add_argument(
        "--steps", type=int, help="gradient steps; default: 200 for `search`, otherwise 600"
    )
    parser.add_argument("--episodes", type=int, help="default: 20 for `search`, otherwise 50")
    parser.add_argument(
        "--minutes", type=float, default=1e9, help="start no new run after this time"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * options.minutes
    search = options.what == "search"
    paths = {
        "search": "tuning/anti-collapse.csv",
        "table": "tables/anti-collapse.csv",
        "encoders": "tables/encoders.csv",
    }
    path = HOME / "results" / paths[options.what]
    presets = (
        options.presets
        or {"search": list(SEARCH), "table": TABLE, "encoders": ENCODERS}[options.what]
    )
    steps, episodes = (
        options.steps or (200 if search else 600),
        options.episodes or (20 if search else 50),
    )
    for preset in presets:
        setting, values = SEARCH.get(preset, ("", ("",)))
        values = values if search else (find_best(preset),)
        if options.terms and load_preset("world_model", preset)["kind"] == "jepa":
            setting, values = "terms", (options.terms,)
        for value in values:
            if time.monotonic() > until:
                return
            row = measure(
                options.train,
                options.validation,
                path,
                preset,
                setting,
                value,
                steps,
                episodes,
                search,
            )
            if row:
                print(row, flush=True)


def find_best(preset: str) -> str | float:
    """Return the value with the highest score in the search, or "" if there was no search."""
    rows = [
        row for row in read(HOME / "results/tuning/anti-collapse.csv") if row["preset"] == preset
    ]
    return float(max(rows, key=lambda row: float(row["score"]))["value"]) if rows else ""


def measure(
    train: Path,
    validation: Path,
    path: Path,
    preset: str,
    setting: str,
    value: str | float,
    steps: int,
    episodes: int,
    search: bool,
) -> dict | None:
    """Train and evaluate one setting; return its row, or None if the row exists."""
    task = EpisodeDataset.open(train).manifest.task_id
    key = {
        "task": task.split("/")[1],
        "preset": preset,
        "setting": setting,
        "value": str(value),
        "steps": str(steps),
    }
    if any(all(row[name] == part for name, part in key.items()) for row in read(path)):
        return None
    config = load_preset("world_model", preset, overrides(preset, setting, value))
    training = config["training"] | {
        "num_steps": steps,
        "batch_size": 64,
        "on_collapse": "warn",
        "decoder_steps": 0,
        "diagnose_every": 10**6,
    }
    directory = HOME / "outputs/anti-collapse" / "-".join(key.values())
    began = time.process_time()
    diagnosis = fit(
        dataset=train,
        validation=validation,
        directory=directory,
        seed=0,
        kind=config["kind"],
        model=config["model"],
        training=training,
        progress=False,
    )
    seconds = time.process_time() - began
    split = "validation" if search else "test"
    row = (
        key
        | evaluate_model(task, directory, diagnosis, episodes, split, shrinking=not search)
        | {"cpu_seconds": round(seconds)}
    )
    append(path, row)
    return row


def overrides(preset: str, setting: str, value: str | float) -> list[str]:
    """Return the command-line overrides of a setting.

    Terms that are published together keep their relative weights.
    """
    if value == "":
        return []
    if setting == "terms":
        terms = load_preset("world_model", str(value))["model"]["terms"]
        return [
            f"model.terms.{name}.{option}={number}"
            for name, term in terms.items()
            for option, number in term.items()
        ]
    changed = [f"model.{setting}={value}"]
    if preset in ("jepa-vicreg", "jepa-pldm"):
        terms = load_preset("world_model", preset)["model"]["terms"]
        factor = float(value) / terms["variance"]["weight"]
        changed += [
            f"model.terms.{n}.weight={factor * o['weight']}"
            for n, o in terms.items()
            if n != "variance"
        ]
    return changed


def evaluate_model(
    task: str, directory: Path, diagnosis: Diagnosis, episodes: int, split: str, *, shrinking: bool
) -> dict[str, object]:
    """Return probes of the pose, k-step prediction errors and the success of planning."""
    pose = POSE[task]
    r2 = diagnosis.probe_r2[: len(pose)]
    planner = CEMPlanner(horizon=5, num_samples=128, num_elites=16, num_iterations=6)
    energy = Energy(terms=[GoalDistance()])
    agent = build_mpc(
        task_id=task, world_model=directory, planner=planner, energy=energy, shrinking=shrinking
    )
    specs = episode_specs(task, split, episodes, strata=(STRATUM[task],))
    records = evaluate_episodes(agent, specs, agent_name="mpc").records
    ever = float(np.mean([record.success_ever for record in records]))
    held = [record.success_held for record in records]
    interval = cell_interval([held])
    nearer = 1 - float(
        np.median([record.distance_final / record.distance_start for record in records])
    )
    return {
        "collapsed": diagnosis.collapsed,
        "std": round(diagnosis.std_mean, 3),
        "rank": round(diagnosis.effective_rank, 1),
        "r2": round(float(np.mean(r2)), 3),
        **{f"r2 {i}": round(v, 2) for i, v in enumerate(r2)},
        "error_1": round(diagnosis.error_ratio[0], 3),
        "error_4": round(diagnosis.error_ratio[3], 3),
        "straightness": round(diagnosis.straightness, 2),
        "ever": round(ever, 3),
        "held": round(float(np.mean(held)), 3),
        "held_low": round(interval.low, 3),
        "held_high": round(interval.high, 3),
        "nearer": round(nearer, 3),
        "episodes": len(records),
        "score": round(float(np.mean(r2)) + ever, 3),
    }


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, or an empty list if the file does not exist."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(path: Path, row: dict[str, object]) -> None:
    """Append a row to a table.

    A table keeps the columns that it was created with. Values that a task lacks are left empty.
    """
    columns = [
        "task",
        "preset",
        "setting",
        "value",
        "steps",
        "collapsed",
        "std",
        "rank",
        "r2",
        *[f"r2 {i}" for i in range(6)],
        "error_1",
        "error_4",
        "straightness",
        "ever",
        "held",
        "held_low",
        "held_high",
        "nearer",
        "episodes",
        "score",
        "cpu_seconds",
    ]
    rows = read(path)
    new = not rows
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns if new else list(rows[0]), extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()

"""``jepabench diagnose``: measure whether a world model is suitable for planning."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from jepabench.cli.arguments import HubFolder, Whole, add_common_arguments
from jepabench.pipeline.checkpoints import find_checkpoint, write_table
from jepabench.pipeline.terminal import make_console, rich_table

if TYPE_CHECKING:
    from jepabench.envs.data.episodes import EpisodeDataset
    from jepabench.evaluation.model_checks.diagnosis import PlanOutcomes
    from jepabench.evaluation.model_checks.gate import GateReport
    from jepabench.world_models.checkpoint import LoadedWorldModel


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common_arguments(parser, dataset=True)
    parser.add_argument("--steps", type=Whole(1), default=8, help="number of model steps ahead")
    parser.add_argument(
        "--starts", type=Whole(1), default=30, help="number of episodes in which plans start"
    )
    parser.add_argument(
        "--plans", type=Whole(2), default=64, help="number of random plans from each start"
    )
    parser.add_argument(
        "--train",
        type=HubFolder("dataset"),
        metavar="DATASET",
        help="training data with frames, on which a supervised network is trained as a ceiling",
    )
    parser.add_argument(
        "--ceiling-steps", type=Whole(1), default=1500, help="gradient steps of that network"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    folder = find_checkpoint(options.checkpoint)
    import pandas as pd
    from tqdm import tqdm

    from jepabench.envs.data.episodes import EpisodeDataset
    from jepabench.envs.data.files import write_atomically
    from jepabench.evaluation.model_checks.diagnosis import (
        foresight_table,
        geometry,
        plan_outcomes,
        plan_table,
    )
    from jepabench.results.report.diagnosis import diagnosis_figure
    from jepabench.world_models.checkpoint import load_world_model

    loaded, dataset = load_world_model(folder), EpisodeDataset.open(options.dataset)
    foresight = foresight_table(loaded, dataset, num_steps=options.steps, seed=options.seed)
    shape = pd.DataFrame([geometry(loaded, dataset, seed=options.seed)])
    with tqdm(total=options.starts, desc="plans", unit="start", leave=False) as bar:
        outcomes = plan_outcomes(
            loaded,
            num_starts=options.starts,
            num_plans=options.plans,
            seed=options.seed,
            realised=True,
            progress=bar.update,
            pixels=dataset.field("pixels").shape[1] if "pixels" in dataset.fields else 64,
        )
    gate = _run_gate(options, loaded, dataset, outcomes)
    plans = plan_table(outcomes, rng=np.random.default_rng(options.seed))
    console = make_console()
    shown = {
        "Squared error k steps ahead, relative to copying the last latent": foresight,
        "Shape of the latent space": shape,
        "Do plans of low cost succeed?": plans,
        "Error of the goal that a probe reads (in_place: share within the success rule)": (
            gate.goal_errors
        ),
    }
    for title, table in shown.items():
        console.print(rich_table(table, title))
    console.print(
        f"Action sensitivity {gate.sensitivity:.2f}; rank correlation of cost and distance "
        f"{gate.rank_imagined:.2f} imagined, {gate.rank_realised:.2f} realised."
    )
    console.print(f"Limit: {gate.limit}. {gate.reason}")
    tables = {"foresight": foresight, "geometry": shape, "plans": plans, "gate": gate.table()}
    for name, table in tables.items():
        write_table(table, options.output, name)
    if options.output:
        real = outcomes.distance if outcomes.path is None else outcomes.path
        picture = diagnosis_figure(
            foresight, outcomes.predicted, real, title=f"{options.checkpoint}, {loaded.task_id}"
        )
        print(write_atomically(options.output / "diagnosis.png", picture))
    return 0


def _run_gate(
    options: argparse.Namespace,
    loaded: LoadedWorldModel,
    dataset: EpisodeDataset,
    outcomes: PlanOutcomes,
) -> GateReport:
    from tqdm import tqdm

    from jepabench.envs.data.episodes import EpisodeDataset
    from jepabench.evaluation.model_checks.gate import ceiling_row, measure_gate

    ceiling = None
    if options.train is not None:
        with tqdm(total=options.ceiling_steps, desc="ceiling", unit="step", leave=False) as bar:
            ceiling = ceiling_row(
                loaded.task_id,
                EpisodeDataset.open(options.train),
                dataset,
                num_steps=options.ceiling_steps,
                seed=options.seed,
                progress=bar.update,
            )
    return measure_gate(loaded, dataset, ceiling=ceiling, outcomes=outcomes, seed=options.seed)

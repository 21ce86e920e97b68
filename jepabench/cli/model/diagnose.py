"""``jepabench diagnose``: can a world model be planned with, and if not, why?"""

from __future__ import annotations

import argparse

from jepabench.cli.arguments import Whole, add_common_arguments
from jepabench.pipeline.checkpoints import (
    find_checkpoint,
    write_table,
)
from jepabench.pipeline.terminal import make_console, rich_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common_arguments(parser, dataset=True)
    parser.add_argument("--steps", type=Whole(1), default=8, help="model steps to look ahead")
    parser.add_argument(
        "--starts", type=Whole(1), default=30, help="episodes that plans start from"
    )
    parser.add_argument(
        "--plans",
        type=Whole(2),
        default=64,
        help="random plans from each start, all executed in the simulator",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    folder = find_checkpoint(options.checkpoint)
    import numpy as np
    import pandas as pd
    from tqdm import tqdm

    from jepabench.envs.data.episodes import EpisodeDataset
    from jepabench.envs.files import write_atomically
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
            progress=bar.update,
            pixels=dataset.field("pixels").shape[1] if "pixels" in dataset.fields else 64,
        )
    plans = plan_table(outcomes, rng=np.random.default_rng(options.seed))
    console = make_console()
    console.print(
        rich_table(
            foresight, "Squared error k steps ahead, as a share of copying the last latent's"
        )
    )
    console.print(rich_table(shape, "Shape of the latent space"))
    console.print(rich_table(plans, "Are cheap plans good plans?"))
    for name, table in (("foresight", foresight), ("geometry", shape), ("plans", plans)):
        write_table(table, options.output, name)
    if options.output:
        real = outcomes.distance if outcomes.path is None else outcomes.path
        picture = diagnosis_figure(
            foresight, outcomes.predicted, real, title=f"{options.checkpoint}, {loaded.task_id}"
        )
        print(write_atomically(options.output / "diagnosis.png", picture))
    return 0

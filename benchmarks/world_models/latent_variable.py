"""Test whether unpredictable environments need a latent variable in the model (claim C9).

``python benchmarks/world_models/latent_variable.py`` runs the suite ``chance`` on the block of
hidden friction, and its agents on a room with wind (``windy_room.py``). It compares the predictions
of state twins with and without a latent variable and writes ``results/tables/latent_variable.csv``.

Any spread improves the best of k draws. The control is therefore the plain prediction with normal
noise of the size of its own errors.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.evaluation.protocol import SuiteTask
from jepabench.execution.run_plan import run_plan
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.schema import Overrides
from jepabench.pipeline.stages import SuitePlan
from jepabench.pipeline.suite_report import score_suite
from jepabench.world_models.base import Context, rollout
from jepabench.world_models.checkpoint import LoadedWorldModel, load_world_model
from jepabench.world_models.kinds.latent_variable import LatentVariableJEPA
from jepabench.world_models.training.batches import WindowSampler, step_generators

sys.path.append(str(Path(__file__).parent))
TABLE = Path(__file__).parents[2] / "results" / "tables" / "latent_variable.csv"
NUM_WINDOWS, NUM_FUTURES, HORIZON = 2000, 16, 5
WINDY = {
    "name": "chance-windy",
    "overrides": Overrides(),
    "data": {"num_episodes": 600, "num_validation": 60, "num_steps": 30},
    "tasks": (
        SuiteTask(
            task_id="windy_room:TwoRoom-Windy-v0", strata=("near", "medium"), num_episodes=50
        ),
    ),
}


def main() -> None:
    """Run both suites and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="outputs")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    rows, console = [], Console()
    for changes in ({}, WINDY):
        config = compose_run(
            [
                "suite=chance",
                "pixels=null",
                f"output={options.output}",
                f"num_workers={options.workers}",
            ]
        )
        config = config.with_suite(**changes)
        plan = SuitePlan(config)
        run_plan(config, console)
        table = score_suite(plan)
        for _, row in table.iterrows():
            for rule in ("held", "ever"):
                rows.append(
                    [row["task"], row["agent"], f"{rule} {row['stratum']}", row[f"success_{rule}"]]
                )
        rows += measure_predictions(plan)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows, columns=["task", "model", "measure", "value"])
    frame.to_csv(TABLE, index=False, float_format="%.4f")
    console.print(frame.to_string(index=False))


def measure_predictions(plan: SuitePlan) -> list[list]:
    """Return rows of squared errors of k-step predictions on validation windows.

    Errors are in units of the standardised state.
    """
    found = {
        key.split("/")[2]: load_world_model(stage.directory)
        for key, stage in plan.stages.items()
        if key.startswith("model/")
    }
    (held_out,) = [
        stage.directory
        for key, stage in plan.stages.items()
        if key.startswith("data/") and key.endswith("validation")
    ]
    data = EpisodeDataset.open(held_out / "dataset")
    plain, stochastic = found["state-twin"], found["state-variable"]
    task, rows = data.manifest.task_id, []
    context, actions, truth = load_windows(plain, data)
    error = rollout(plain.model, context, actions)[:, 0] - truth
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(error), NUM_FUTURES, *error.shape[1:], generator=generator) * error.std(
        0
    )
    rows += measure(task, "state-twin", error)
    rows += measure(task, "state-twin and normal noise", error[:, None] + noise)
    rows += measure(
        task,
        "state-variable, most likely",
        rollout(stochastic.model, context, actions)[:, 0] - truth,
    )
    assert isinstance(stochastic.model, LatentVariableJEPA)
    futures = stochastic.model.futures(
        context, actions, num_futures=NUM_FUTURES, generator=generator
    )
    futures = futures[:, 0]
    return rows + measure(task, "state-variable, drawn", futures - truth[:, None])


def load_windows(
    loaded: LoadedWorldModel, data: EpisodeDataset
) -> tuple[Context, torch.Tensor, torch.Tensor]:
    """Return contexts, actions [B, 1, H, A] and true latents [B, H, D] of validation windows."""
    known = loaded.model.history
    sampler = WindowSampler(
        data, observation_key="observation", num_frames=known + HORIZON, scale=loaded.scale
    )
    batch = sampler.sample(NUM_WINDOWS, step_generators(0, 0)[0])
    frames = batch.observations["observation"]
    latents = loaded.model.encode(frames.flatten(0, 1)).view(*frames.shape[:2], -1)
    context = Context(latents[:, :known], batch.actions[:, : known - 1])
    return context, batch.actions[:, None, known - 1 :], latents[:, known:]


def measure(task: str, model: str, error: torch.Tensor) -> list[list]:
    """Return rows for errors [B, H, D], or for those of M draws [B, M, H, D].

    The rows are the expected error, that of the mean of the draws, and that of the best draw.
    """
    if error.ndim == 3:
        return [
            [task, model, f"error of step {h + 1}", float(error[:, h].square().mean())]
            for h in (0, HORIZON - 1)
        ]
    rows = []
    for h in (0, HORIZON - 1):
        squared = error[:, :, h].square().mean(2)
        rows += [
            [task, model, f"error of step {h + 1}", float(squared.mean())],
            [
                task,
                model,
                f"error of step {h + 1}, mean of {NUM_FUTURES}",
                float(error[:, :, h].mean(1).square().mean()),
            ],
            [
                task,
                model,
                f"error of step {h + 1}, best of {NUM_FUTURES}",
                float(squared.amin(1).mean()),
            ],
        ]
    return rows


if __name__ == "__main__":
    main()

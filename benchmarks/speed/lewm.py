"""Time a plan of LeWM's size against the published rollout on one thread.

Run ``python benchmarks/speed/lewm.py``. It also compares the plans that the two find. Both use the
same random weights, since time does not depend on them. The reference follows the released
algorithm: at each step, the last three frames pass through the whole predictor and its output
projection, and only the result for the newest frame is kept.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from jepabench.agents.costs.energy import Energy, GoalDistance
from jepabench.agents.costs.latent_cost import LatentCost
from jepabench.agents.planners.base import ActionBounds, CostFunction, Plan
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.pipeline.config import load_preset
from jepabench.world_models.base import Context
from jepabench.world_models.networks.history_transformer import AdaLNPredictor
from jepabench.world_models.networks.precision import convert_precision
from jepabench.world_models.registry import build_model

ACTION_SIZE = 10  # five actions of two numbers per block


def main() -> None:
    """Print CPU seconds per plan, the agreement of the costs, and the reference's cost of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--samples", type=int, default=300)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build_model(
        "jepa", {**load_preset("world_model", "lewm")["model"], "action_size": ACTION_SIZE}
    ).eval()
    model.requires_grad_(False)
    for parameter in model.predictor.parameters():  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
        if parameter.ndim > 1:
            torch.nn.init.normal_(
                parameter, std=0.05
            )  # an untrained AdaLN block ignores its actions
    print(f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.2f} M parameters")
    context, goal = (
        Context(torch.randn(1, 1, 192), torch.zeros(1, 0, ACTION_SIZE)),
        torch.randn(1, 192),
    )
    energy = Energy(terms=[GoalDistance(when="terminal")])

    def score_published(actions: Tensor) -> Tensor:
        imagined = reference_rollout(model.predictor, context.latents, actions)  # pyright: ignore[reportArgumentType]
        return energy(imagined, goal, actions)

    exact = LatentCost(model, context, goal, energy)  # pyright: ignore[reportArgumentType]
    narrow = LatentCost(convert_precision(model, "bfloat16"), context, goal, energy)  # pyright: ignore[reportArgumentType]
    probes = torch.randn(1, 200, 5, ACTION_SIZE)
    costs = torch.cat([cost(probes) for cost in (score_published, exact, narrow)])
    ranks = costs.argsort(1).argsort(1).float()
    print(
        f"costs: spread {costs[0].std():.3g}, "
        f"float32 differs by {(costs[1] - costs[0]).abs().max():.2g}, ",
        end="",
    )
    print(
        f"bfloat16 by {(costs[2] - costs[0]).abs().max():.2g}, "
        f"rank correlation {torch.corrcoef(ranks)[0, 2]:.4f}"
    )
    planner = CEMPlanner(
        num_samples=arguments.samples,
        num_elites=max(1, arguments.samples // 10),
        num_iterations=arguments.iterations,
    )
    for name, cost in {"published": score_published, "float32": exact, "bfloat16": narrow}.items():
        seconds, plan = time_plan(planner, cost)
        true = score_published(plan.actions[:, None]).item()
        print(
            f"{name:10s} {seconds:7.2f} CPU s per plan, "
            f"cost of the plan {true:.5f} (unplanned: {costs[0].mean():.5f})"
        )


def time_plan(planner: CEMPlanner, cost: CostFunction) -> tuple[float, Plan]:
    """Return the processor seconds of one plan, and the plan."""
    bounds = ActionBounds(torch.full((ACTION_SIZE,), -2.0), torch.full((ACTION_SIZE,), 2.0))
    began = time.process_time()
    plan = planner.plan(cost, bounds=bounds, generators=[torch.Generator().manual_seed(1)])
    return time.process_time() - began, plan


def reference_rollout(predictor: AdaLNPredictor, start: Tensor, actions: Tensor) -> Tensor:
    """Return the latents [1, S, H, D] that follow ``start`` [1, 1, D] under actions [1, S, H, A].

    Every step recomputes all frames of the window.
    """
    latents = start.expand(actions.shape[1], -1, -1)
    for step in range(1, actions.shape[2] + 1):
        first = max(0, step - predictor.history)
        window = latents[:, first:step]
        tokens = predictor.embed(window) + predictor.positions[:, : window.shape[1]]
        condition = predictor.embed_action(actions[0, :, first:step])
        for block in predictor.blocks:
            tokens = block(tokens, condition)
        predicted = window + predictor.out(tokens)  # of all frames, as in the published code
        latents = torch.cat([latents, predicted[:, -1:]], dim=1)
    return latents[None, :, 1:]


if __name__ == "__main__":
    main()

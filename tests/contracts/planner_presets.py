"""The planners under test, random streams and a bumpy cost."""

import math

import torch

from jepabench.agents.planners.adaptive import AdaptivePlanner
from jepabench.agents.planners.base import ActionBounds
from jepabench.agents.planners.best_proposal import BestProposalPlanner
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.cma_es import CMAESPlanner
from jepabench.agents.planners.gradient import GradientPlanner
from jepabench.agents.planners.hybrid import HybridPlanner
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.agents.planners.mppi import MPPIPlanner
from jepabench.agents.planners.random_shooting import RandomShootingPlanner


def hybrid(**options):
    return HybridPlanner(
        sampler=CEMPlanner(num_iterations=3, **options),
        refiner=GradientPlanner(num_starts=6, num_iterations=15, learning_rate=0.1, **options),
    )


PRESETS = {
    "random_shooting": RandomShootingPlanner,
    "cem": CEMPlanner,
    "cem_mean": lambda **options: CEMPlanner(returns="mean", **options),
    "cem_coloured": lambda **options: CEMPlanner(colour=1.0, **options),
    "cem_stopping": lambda **options: CEMPlanner(
        num_iterations=20, patience=4, tolerance=0.02, **options
    ),
    "icem": lambda **options: ICEMPlanner(num_iterations=12, **options),
    "mppi": MPPIPlanner,
    "cma_es": CMAESPlanner,
    "cma_es_separable": lambda **options: CMAESPlanner(
        separable=True, num_iterations=40, **options
    ),
    "gradient": GradientPlanner,
    "gradient_tanh": lambda **options: GradientPlanner(bounds_by="tanh", **options),
    "gradient_noisy": lambda **options: GradientPlanner(noise_std=0.3, **options),
    "gradient_stopping": lambda **options: GradientPlanner(
        num_iterations=60, patience=10, **options
    ),
    "sgd": lambda **options: GradientPlanner(
        optimizer="sgd", learning_rate=0.6, num_iterations=60, **options
    ),
    "normalised": lambda **options: GradientPlanner(
        optimizer="normalised", learning_rate=0.4, num_iterations=40, **options
    ),
    "hybrid": hybrid,
    "adaptive": lambda **options: AdaptivePlanner(
        planner=ICEMPlanner(**options), max_rounds=4, patience=2
    ),
    "best_proposal": BestProposalPlanner,
}

SEARCHES = [name for name in PRESETS if name not in ("random_shooting", "best_proposal")]

WIDE = ActionBounds(torch.full((2,), -3.0), torch.full((2,), 3.0))


def streams(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def bumpy(actions):
    """Rastrigin's function: a minimum at every integer, the lowest at 0.7."""
    shifted = actions - 0.7
    return (shifted.square() + 1 - torch.cos(2 * math.pi * shifted)).mean((2, 3))

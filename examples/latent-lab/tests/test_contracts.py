"""The contract tests of JEPA Bench, on the parts of this package."""

from latent_lab.planner import EvolutionPlanner

from jepabench.testing import check_planner, check_world_model


def test_the_planner_keeps_its_contract():
    """Check shapes, bounds, batches and bad costs."""
    check_planner(EvolutionPlanner(horizon=3))


def test_the_world_model_keeps_its_contract():
    """Check shapes, losses, batches and saving."""
    check_world_model("blob", {"num_blobs": 4, "action_size": 2})

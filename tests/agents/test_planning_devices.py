"""Test planning on devices without one: shapes on PyTorch's meta device, and refusals."""

import pytest
import torch

from jepabench.agents.costs.energy import Energy, GoalDistance, LearnedDistance
from jepabench.agents.costs.latent_cost import LatentCost
from jepabench.agents.mpc.agent import MPCAgent
from jepabench.agents.planners.base import ActionBounds
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.agents.planners.mppi import MPPIPlanner
from jepabench.agents.planners.random_shooting import RandomShootingPlanner
from jepabench.envs.errors import UnknownNameError
from jepabench.world_models.base import Context
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.config import TrainConfig
from jepabench.world_models.training.devices import find_device

PLANNERS = (CEMPlanner, ICEMPlanner, MPPIPlanner, RandomShootingPlanner)
SMALL = {"encoder": "keypoint", "latent_dim": 8, "action_size": 2, "history": 2}


@pytest.mark.parametrize("predictor", ["mlp", "adaln"])
@pytest.mark.parametrize("make_planner", PLANNERS, ids=lambda kind: kind.__name__)
def test_a_search_stays_on_the_device_of_its_bounds(make_planner, predictor):
    """A tensor of the CPU in an operation on the meta device, or ``.numpy()``, is an error."""
    options = {"width": 16, "depth": 1} | ({"num_heads": 2} if predictor == "adaln" else {})
    model = build_model("jepa", SMALL | {"predictor": predictor, "predictor_options": options})
    model.eval().requires_grad_(False).to("meta")
    frames = torch.zeros(4, 64, 64, 3, dtype=torch.uint8, device="meta")
    latents = model.encode(frames).unflatten(0, (2, 2))
    context = Context(latents, torch.zeros(2, 1, 2, device="meta"))
    energy = Energy(terms=(GoalDistance(), LearnedDistance(head=_Head())))
    energy.to(torch.device("meta"))
    cost = LatentCost(model, context, latents[:, -1], energy)
    planner = make_planner(horizon=3, num_samples=64)
    bounds = ActionBounds.__new__(ActionBounds)  # its check needs values
    for name, value in (("low", -1.0), ("high", 1.0)):
        object.__setattr__(bounds, name, torch.full((2,), value, device="meta"))
    streams = [torch.Generator().manual_seed(seed) for seed in range(2)]
    plan = planner.plan(cost, bounds=bounds, initial=None, generators=streams)
    assert plan.actions.device.type == plan.cost.device.type == "meta"
    assert plan.actions.shape == (2, 3, 2)


class _Head(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(8))

    def forward(self, latents, goal):
        return ((latents - goal) * self.scale).square().sum(-1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="device='cuda', but PyTorch sees no such GPU here"):
        find_device("cuda")
    with pytest.raises(UnknownNameError, match="Did you mean 'cuda'"):
        find_device("cudaa")
    assert TrainConfig(device="mps").device == "mps"


def test_a_gpu_plans_many_problems_at_once(monkeypatch):
    """A GPU is faked: its device is the CPU, and what was moved to it is recorded."""
    from jepabench.agents.mpc import agent as module

    monkeypatch.setattr(module, "find_device", lambda name: torch.device("cpu"))
    moved = []
    model = build_model("jepa", SMALL | {"action_size": 2, "predictor_options": {"width": 16}})
    monkeypatch.setattr(type(model), "to", lambda self, device: moved.append(device) or self)
    settings = {
        "task_id": "jepabench/TwoRoom-v1",
        "model": model,
        "planner": CEMPlanner(horizon=3),
        "energy": Energy(),
        "action_mean": [0.0, 0.0],
        "action_std": [1.0, 1.0],
    }
    assert MPCAgent(**settings).problems_at_once == 1 and not moved
    agent = MPCAgent(**settings, device="cuda")
    assert agent.problems_at_once == 64 and moved == [torch.device("cpu")]
    assert MPCAgent(**settings, device="cuda", problems_at_once=2).problems_at_once == 2
    with pytest.raises(ValueError, match="A proposal plans on the CPU"):
        MPCAgent(**settings, device="cuda", proposal=object())

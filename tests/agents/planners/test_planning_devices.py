"""Test planning on devices without a GPU, with PyTorch's meta device."""

import numpy as np
import pytest
import torch

from jepabench.agents.costs.cost_tasks import GoTo
from jepabench.agents.costs.energy import Energy, GoalDistance, LearnedDistance
from jepabench.agents.costs.latent_cost import LatentCost
from jepabench.agents.encoding import FrameTable
from jepabench.agents.guardrails.guardrail import MODES, GuardedEnergy, Guardrail
from jepabench.agents.guardrails.hazards import LearnedHazard, ZoneHazard
from jepabench.agents.model_free.offline.gcbc import CloningPolicy
from jepabench.agents.model_free.offline.hindsight import (
    GoalBatch,
    GoalMixture,
    HindsightPairs,
    Tables,
    Windows,
)
from jepabench.agents.model_free.offline.networks import Sizes
from jepabench.agents.model_free.offline.tdmpc import TDMPCPolicy
from jepabench.agents.model_free.offline.timed import TimedPolicy
from jepabench.agents.mpc.agent import MPCAgent
from jepabench.agents.mpc.cost_agent import Directions
from jepabench.agents.planners.base import ActionBounds
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.agents.planners.mppi import MPPIPlanner
from jepabench.agents.planners.random_shooting import RandomShootingPlanner
from jepabench.agents.proposals import POLICIES, PolicyProposal
from jepabench.agents.subgoals.detours import Detours
from jepabench.agents.subgoals.graph import GraphSubgoals, StateGraph
from jepabench.agents.subgoals.hierarchy import LevelPlan, MacroSubgoals
from jepabench.envs import episode_specs
from jepabench.envs.data.episodes import Episode
from jepabench.envs.data.writing import write_dataset
from jepabench.envs.errors import UnknownNameError
from jepabench.world_models.analysis.probes import fit_linear
from jepabench.world_models.base import Context
from jepabench.world_models.distances import DistanceConfig, make_head
from jepabench.world_models.kinds.hierarchy import HierarchyConfig, MacroLevel
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale
from jepabench.world_models.training.config import TrainConfig
from jepabench.world_models.training.devices import find_device

TWO_ROOM = "jepabench/TwoRoom-v1"
META = torch.device("meta")
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
def test_an_unavailable_device_is_refused():
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
        "task_id": TWO_ROOM,
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
    for role in ("proposal", "subgoals"):
        part = _Part()
        MPCAgent(**settings, device="cuda", **{role: part})
        assert part.device == torch.device("cpu")
        with pytest.raises(ValueError, match=r"object cannot be moved to cpu: .* Use device=cpu\."):
            MPCAgent(**settings, device="cuda", **{role: object()})


class _Part:
    device = None

    def to(self, device):
        self.device = device
        return self

    def reset(self, specs):
        pass


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["zones", "learned"])
def test_a_search_under_a_guardrail_stays_on_the_device(kind, mode):
    latents = torch.rand(50, 4)
    hazard = LearnedHazard(4)
    if kind == "zones":
        hazard = ZoneHazard(fit_linear(latents, latents[:, :2]), torch.tensor([[0.0, 0.0, 1, 1]]))
    rule = Guardrail(hazard=hazard, thresholds=torch.zeros(2), spread=0.1, mode=mode)
    energy = GuardedEnergy(Energy(), rule)
    energy.to(META)
    assert energy.guardrail.thresholds.device == META
    context = Context(torch.zeros(2, 1, 4, device=META), torch.zeros(2, 0, 2, device=META))
    bound = energy.bind(None, context)
    imagined = torch.zeros(2, 8, 3, 4, device=META)
    cost = bound(imagined, context.latents[:, -1], torch.zeros(2, 8, 3, 2, device=META))
    assert cost.shape == (2, 8) and cost.device == META


@pytest.mark.parametrize("policy_type", [TimedPolicy, CloningPolicy], ids=lambda kind: kind.name)
def test_proposals_stay_on_the_device(policy_type):
    model = build_model("jepa", SMALL | {"predictor_options": {"width": 16, "depth": 1}})
    model.eval().requires_grad_(False).to(META)
    policy = policy_type(Sizes(16, 8, 2), policy_type.config_type(history=2, hidden_size=8))
    proposal = PolicyProposal(policy, ActionScale(torch.zeros(2), torch.ones(2))).to(META)
    context = Context(torch.zeros(3, 2, 8, device=META), torch.zeros(3, 1, 2, device=META))
    plans = proposal(model, context, torch.zeros(3, 8, device=META), horizon=4)
    assert plans.shape == (3, policy.num_arrivals, 4, 2) and plans.device == META


@pytest.mark.parametrize("policy_type", [*POLICIES, TDMPCPolicy], ids=lambda kind: kind.name)
def test_offline_policies_train_and_decide_on_the_device(policy_type, tmp_path):
    data = write_dataset(tmp_path / "data", [_make_episode()] * 2)
    pairs, rng = HindsightPairs(data, max_steps=4), np.random.default_rng(0)
    states, actions = torch.zeros(18, 4), torch.zeros(18, 2)
    tables = Tables(Windows(states, data, 2), states, actions).to(META)
    policy = policy_type(Sizes(8, 4, 2), policy_type.config_type(history=2, hidden_size=8)).to(META)
    rows = pairs.sample(5, rng)
    values = pairs.draw_value_goals(rows[0], GoalMixture(), gamma=0.9, rng=rng)
    batch = GoalBatch(tables, pairs, rows, values)
    losses = policy.losses(batch, torch.Generator())
    assert all(loss.device == META for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    policy.after_step()
    assert policy.decide(batch.now, batch.goal).device == META


def _make_episode():
    state = np.zeros((9, 4))
    return Episode(
        observations={name: state for name in ("observation", "achieved_goal", "desired_goal")},
        actions=np.zeros((8, 2), np.float32),
        rewards=np.zeros(8, np.float32),
        violations=np.zeros(8, bool),
        terminated=False,
        truncated=True,
        task_id=TWO_ROOM,
        seed=0,
    )


def test_frames_are_read_from_disk_onto_the_device():
    table = FrameTable(np.zeros((6, 4, 4, 3), np.uint8)).to(META)
    assert table[torch.tensor([1, 2])].device == META


@pytest.fixture
def numpy_of_the_cpu_only(monkeypatch):
    """Make ``numpy()`` fail as on a GPU, unless the tensor was moved with ``cpu()`` just before."""
    numpy, cpu, moved = torch.Tensor.numpy, torch.Tensor.cpu, []

    def move(tensor):
        moved.append(cpu(tensor).clone())
        return moved[-1]

    def convert(tensor, *arguments, **settings):
        if not any(tensor is other for other in moved):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return numpy(tensor, *arguments, **settings)

    monkeypatch.setattr(torch.Tensor, "cpu", move)
    monkeypatch.setattr(torch.Tensor, "numpy", convert)


def test_subgoals_move_and_leave_the_device_explicitly(numpy_of_the_cpu_only, monkeypatch):
    seen = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    probe = fit_linear(seen, seen[:, :2], regularisation=1e-9)
    hazard = ZoneHazard(probe, torch.tensor([[-0.5, -0.25, 0.5, 0.25]]))
    head = make_head(4, DistanceConfig(width=8))
    task = GoTo()
    levels = [MacroLevel(4, 1, 5, HierarchyConfig(macro_size=2, width=4))]
    plan = LevelPlan(planner=CEMPlanner(horizon=2), energy=Energy())
    with monkeypatch.context() as undone:  # they are built on the CPU
        undone.setattr(torch.Tensor, "numpy", lambda tensor: np.asarray(tensor.tolist()))
        parts = (
            Detours(hazard, seen, seen[:, :2], clearance=0.05),
            GraphSubgoals(StateGraph(seen[:20], head, max_edge=3.0), reach=0.0),
            Directions(task_id=TWO_ROOM, task=task, probe=probe, horizon=3),
            MacroSubgoals(levels, [plan]),
        )
    for part in parts[:3]:  # a search counts on the CPU, so the last one is not part of this check
        part.to(torch.device("cpu"))
        part.reset(episode_specs(TWO_ROOM, "test", 1, strata=("near",)))
        chosen = part.choose(0, torch.tensor([0.0, -0.6, 0, 0]), torch.tensor([0.0, 0.6, 0, 0]))
        assert isinstance(chosen, torch.Tensor)
    detours, graph, directions, macro = (part.to(META) for part in parts)
    assert detours.goals.device == detours.hazard.zones.device == META
    assert graph.graph.nodes.device == directions.probe.mean.device == META
    tensors = [*graph.graph.distance.parameters(), *macro.levels[0].parameters()]
    assert {tensor.device for tensor in tensors} == {META}

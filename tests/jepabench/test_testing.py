"""The contract tests for other packages: sound parts pass, and each broken clause is named."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from jepabench.agents.base import RandomAgent
from jepabench.agents.planners.base import Plan
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.gradient import GradientPlanner
from jepabench.testing import ContractError, check_agent, check_planner, check_world_model
from jepabench.world_models.registry import _KINDS, register_kind

PLANNER = CEMPlanner(horizon=3)
LAB = Path(__file__).parents[2] / "examples" / "latent-lab"


@pytest.fixture
def lab(monkeypatch):
    monkeypatch.syspath_prepend(LAB)
    from latent_lab.planner import EvolutionPlanner
    from latent_lab.world_model import BlobModel

    yield BlobModel, EvolutionPlanner
    for name in [name for name in sys.modules if name.partition(".")[0] == "latent_lab"]:
        del sys.modules[name]


@pytest.fixture
def kind(monkeypatch):
    """Return a function that registers a class as the kind `under-test`."""

    def register(model_class):
        monkeypatch.setattr("jepabench.world_models.registry._KINDS", dict(_KINDS))
        register_kind("under-test", model_class)
        return "under-test"

    return register


@pytest.mark.parametrize("planner", [CEMPlanner(horizon=3), GradientPlanner(horizon=2)])
def test_planners_of_the_project_pass(planner):
    check_planner(planner)


def test_the_example_package_passes(lab, kind):
    model, planner = lab
    check_planner(planner(horizon=3))
    check_world_model(kind(model), {"num_blobs": 4, "action_size": 2})


def test_a_world_model_of_the_project_passes():
    options = {"encoder": "conv", "encoder_options": {"width": 8}, "latent_dim": 12}
    check_world_model("jepa", {**options, "action_size": 2})
    state = {"encoder": "state", "encoder_options": {"mean": [0.0] * 4, "std": [1.0] * 4}}
    terms = {"observation_key": "observation", "latent_dim": 4, "terms": {}}
    check_world_model("jepa", {**state, **terms, "predictor": "mlp", "action_size": 2})


@dataclass(frozen=True)
class Wrapped:
    """A planner whose result or inputs are changed."""

    change: str
    planner: CEMPlanner = PLANNER

    horizon = 3
    num_kept = 0

    def plan(self, cost, *, bounds, initial, generators):
        if self.change == "batch":
            generators = [torch.Generator().manual_seed(len(generators)) for _ in generators]
        if self.change == "nan":
            inner = cost
            cost = lambda actions: inner(actions).nan_to_num(nan=-1.0)  # noqa: E731
        if self.change == "lazy":
            start = torch.zeros(len(generators), 3, len(bounds.low))
            return Plan(start, cost(start[:, None])[:, 0], 1, 1)
        plan = self.planner.plan(cost, bounds=bounds, initial=initial, generators=generators)
        changed = {
            "shape": lambda: Plan(plan.actions[:, :2], plan.cost, plan.num_evaluations, 1),
            "bounds": lambda: Plan(plan.actions + 1, plan.cost, plan.num_evaluations, 1),
            "cost": lambda: Plan(plan.actions, plan.cost - 1, plan.num_evaluations, 1),
            "count": lambda: Plan(plan.actions, plan.cost, 7, 1),
        }
        return changed.get(self.change, lambda: plan)()

    def with_horizon(self, horizon):
        return self


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("shape", "must have the shape"),
        ("bounds", "within the bounds"),
        ("cost", "must be the cost of"),
        ("count", "must count the candidates"),
        ("batch", "alone and in a batch"),
        ("nan", "NaN must never win"),
        ("lazy", "improve on the resting action"),
        ("horizon", r"with_horizon\(4\)"),
    ],
)
def test_a_broken_planner_is_named(change, message):
    with pytest.raises(ContractError, match=message):
        check_planner(Wrapped(change))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("encode", "must not depend on the other frames"),
        ("predict", r"predict\(\) must return finite latents"),
        ("losses", "the same batch and generator"),
        ("global", "not from the global one"),
        ("unused", "No loss depends on the parameters spare"),
        ("window", "more frames than the history"),
    ],
)
def test_a_broken_world_model_is_named(method, message, lab, kind):
    model, _ = lab

    class Broken(model):
        window = 1 if method == "window" else 3

        def __init__(self, config):
            super().__init__(config)
            if method == "unused":
                self.spare = torch.nn.Linear(1, 1, bias=False)

        def encode(self, observation):
            latents = super().encode(observation)
            return latents - latents.mean(0) if method == "encode" else latents

        def predict(self, latents, actions):
            following = super().predict(latents, actions)
            return following * torch.nan if method == "predict" else following

        def losses(self, batch, generator):
            terms = super().losses(batch, generator)
            if method == "losses":
                self.calls = getattr(self, "calls", 0) + 1
                terms["prediction"] = terms["prediction"] * self.calls
            if method == "global":
                terms["prediction"] = terms["prediction"] + torch.rand(())
            return terms

    with pytest.raises(ContractError, match=message):
        check_world_model(kind(Broken), {"num_blobs": 2, "action_size": 2})


def test_an_agent_of_the_project_passes():
    check_agent(RandomAgent)


class Forgetful(RandomAgent):
    def reset(self, specs):
        super().reset(specs)
        self._rngs = [np.random.default_rng() for _ in specs]


class TooFar(RandomAgent):
    def act(self, observations, active):
        return super().act(observations, active) + 5


class Careless(RandomAgent):
    def reset(self, specs):
        self._queue.reset(len(specs))
        self._rngs = [np.random.default_rng(spec.planner_seed) for spec in specs]


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        (Forgetful, "must be the same when the episodes run again"),
        (TooFar, "TooFar"),
        (Careless, "must refuse episodes"),
        (lambda task_id: object(), "lacks reset"),
    ],
)
def test_a_broken_agent_is_named(agent, message):
    with pytest.raises(ContractError, match=message):
        check_agent(agent)

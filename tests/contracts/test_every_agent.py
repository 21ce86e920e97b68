"""Test the contract of all agents: shapes, bounds, reproducibility, independence of the batch."""

import numpy as np
import pytest
import torch

from jepabench.agents.base import Agent, HoldStillAgent, RandomAgent
from jepabench.agents.build import build_mpc
from jepabench.agents.costs.energy import Energy, GoalDistance
from jepabench.agents.model_free.offline import (
    crl,
    gcbc,
    gciql,
    gcivl,
    hiql,
    inverse,
    td3bc,
    tdmpc,
)
from jepabench.agents.model_free.online import off_policy, ppo
from jepabench.agents.model_free.online.training import OnlineAgent
from jepabench.agents.oracle import OracleMPCAgent
from jepabench.agents.planners.adaptive import AdaptivePlanner
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.cma_es import CMAESPlanner
from jepabench.agents.planners.gradient import GradientPlanner
from jepabench.agents.planners.hybrid import HybridPlanner
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.agents.planners.random_shooting import RandomShootingPlanner
from jepabench.agents.planners.state_space import StateSpacePlanner
from jepabench.agents.scripted import ScriptedAgent
from jepabench.envs import episode_specs, get_task, make, reset_to
from jepabench.envs.data.collect import collect
from jepabench.world_models.checkpoint import save_world_model
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale

PIXELS = 64
TASKS = ["jepabench/TwoRoom-v1", "jepabench/PointMaze-UMaze-v1"]
CEM = CEMPlanner(horizon=2, num_samples=12, num_elites=3, num_iterations=2)
PLANNERS = {
    "cem": CEM,
    "gradient": GradientPlanner(horizon=2, num_starts=2, num_iterations=2),
    "random_shooting": RandomShootingPlanner(horizon=2, num_samples=12),
    "icem": ICEMPlanner(horizon=2, num_samples=8, num_elites=3, num_iterations=2, keep=0.7),
    "adaptive": AdaptivePlanner(planner=CEM, max_rounds=2),
    "cma_es": CMAESPlanner(horizon=2, num_samples=4, num_iterations=2),
    "hybrid": HybridPlanner(
        sampler=CEM, refiner=GradientPlanner(horizon=2, num_starts=2, num_iterations=2)
    ),
    "state_space": StateSpacePlanner(horizon=2, num_starts=2, num_iterations=2, sync_steps=1),
}
AGENTS = [
    "random",
    "hold_still",
    "expert",
    "oracle",
    "cem",
    "gradient",
    "random_shooting",
    "state_cem",
    "icem",
    "adaptive",
    "cma_es",
    "hybrid",
    "state_space",
    "proposal",
    "gcbc",
    "gcbc_latent",
    "gcbc_pixels",
    "inverse",
    "gciql",
    "gcivl",
    "hiql",
    "crl",
    "td3bc",
    "tdmpc",
    "tdmpc_latent",
    "tdmpc_pixels",
    "sac",
    "td3",
    "tqc",
    "sac_latent",
    "sac_pixels",
    "ppo",
    "ppo_latent",
    "ppo_pixels",
]
METHODS = {
    "gcbc": (gcbc.train, gcbc.GCBCAgent),
    "inverse": (inverse.train, inverse.InverseAgent),
    "gciql": (gciql.train, gciql.GCIQLAgent),
    "gcivl": (gcivl.train, gcivl.GCIVLAgent),
    "hiql": (hiql.train, hiql.HIQLAgent),
    "crl": (crl.train, crl.CRLAgent),
    "td3bc": (td3bc.train, td3bc.TD3BCAgent),
    "tdmpc": (tdmpc.train, tdmpc.TDMPCAgent),
}
OFFLINE = {"num_steps": 3, "batch_size": 16, "hidden_size": 16, "progress": False}


class Workshop:
    """Makes every agent for one task, from one small dataset and untrained models."""

    def __init__(self, task_id, folder):
        self.task_id, self.folder = task_id, folder
        self.data, self.pixel_model, self.state_model = (
            folder / "data",
            folder / "pixels",
            folder / "state",
        )
        collect(
            task_id,
            self.data,
            num_episodes=6,
            num_steps=6,
            pixels=PIXELS,
            num_workers=1,
            progress=False,
        )
        state = {
            "encoder": "state",
            "encoder_options": {"mean": [0.0] * 4, "std": [1.0] * 4},
            "latent_dim": 4,
        }
        self._save_model(self.state_model, state | {"observation_key": "observation"})
        self._save_model(self.pixel_model, {"latent_dim": 8, "history": 2})

    def _save_model(self, path, config):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build_model("jepa", config | {"action_size": 2})
        scale = ActionScale(torch.tensor([0.1, -0.2]), torch.tensor([0.5, 0.4]))
        save_world_model(
            path, kind="jepa", model=model, scale=scale, task_id=self.task_id, metadata={}
        )

    def make(self, name) -> Agent:
        common, policy = {"task_id": self.task_id}, self.folder / name
        training = common | {"directory": policy, "seed": 0}
        if name in PLANNERS:
            return build_mpc(
                **common, world_model=self.pixel_model, planner=PLANNERS[name], energy=Energy()
            )
        if name == "state_cem":
            energy = Energy(terms=[GoalDistance(dims=(0, 2))])
            return build_mpc(**common, world_model=self.state_model, planner=CEM, energy=energy)
        if name in ("random", "hold_still", "expert"):
            return {"random": RandomAgent, "hold_still": HoldStillAgent, "expert": ScriptedAgent}[
                name
            ](**common)
        if name == "oracle":
            return OracleMPCAgent(**common, planner=CEM)
        return self._trained(name, common, policy, training)

    def _trained(self, name, common, policy, training) -> Agent:
        if name == "proposal":
            if not policy.exists():
                inverse.train(
                    **training, dataset=self.data, world_model=self.pixel_model, **OFFLINE
                )
            return build_mpc(
                **common,
                world_model=self.pixel_model,
                planner=CEM,
                energy=Energy(),
                proposals=policy,
            )
        method = METHODS.get(name.partition("_")[0])
        if method is not None:
            inputs = (
                {"world_model": self.pixel_model}
                if name == "inverse" or name.endswith("latent")
                else {}
            )
            inputs |= {"pixels": True} if name.endswith("pixels") else {}
            if not policy.exists():
                method[0](**training, dataset=self.data, **inputs, **OFFLINE)
            return method[1](**common, policy=policy, **inputs)
        algorithm, _, inputs = name.partition("_")
        latents = {"world_model": self.pixel_model} if inputs == "latent" else {}
        seen = latents | {
            "pixels": inputs == "pixels",
            "net_arch": (8,),
            "image_size": PIXELS,
            "progress": False,
        }
        if policy.exists():
            pass
        elif algorithm == "ppo":
            ppo.train(**training, **seen, num_steps=32, num_envs=1, rollout_steps=32, batch_size=16)
        else:
            starts, goals = (20, 0) if inputs == "pixels" else (120, 4)
            seen |= {
                "num_steps": starts + 10,
                "learning_starts": starts,
                "num_goals": goals,
                "batch_size": 16,
            }
            off_policy.train(**training, **seen, algorithm=algorithm)
        return OnlineAgent(**common, policy=policy, **latents)


@pytest.fixture(scope="module", params=TASKS)
def workshop(request, tmp_path_factory):
    return Workshop(request.param, tmp_path_factory.mktemp("workshop"))


@pytest.fixture(params=AGENTS)
def agent(request, workshop) -> Agent:
    return workshop.make(request.param)


@pytest.fixture
def specs(workshop):
    return episode_specs(workshop.task_id, "test", 1)


def play(agent, specs, *, num_steps, stop_at=None):
    """Returns actions [B, T, A]; those of episodes that are over are NaN."""
    envs = [make(spec.task_id, pixels=PIXELS) for spec in specs]
    ends = np.array(stop_at or [num_steps] * len(specs))
    agent.reset(specs)
    seen = [reset_to(env, spec)[0] for env, spec in zip(envs, specs, strict=True)]
    actions = []
    for step in range(num_steps):
        active = step < ends
        chosen = agent.act(
            {key: np.stack([o[key] for o in seen]) for key in agent.observation_keys}, active
        )
        assert (
            chosen.shape == (len(specs), *envs[0].action_space.shape) and chosen.dtype == np.float32
        )
        for row in np.flatnonzero(active):
            assert envs[row].action_space.contains(chosen[row])
            seen[row] = envs[row].step(chosen[row])[0]
        actions.append(np.where(active[:, None], chosen, np.nan))
    return np.stack(actions, 1)


def test_agent_implements_protocol_and_respects_bounds(agent, workshop, specs):
    assert isinstance(agent, Agent)
    known = set(make(workshop.task_id, pixels=PIXELS).observation_space.spaces)
    assert set(agent.observation_keys) <= known
    play(agent, specs, num_steps=workshop_block(workshop) + 2)
    assert agent.model_steps.shape == (len(specs),) and agent.model_steps.dtype == np.int64
    assert (agent.model_steps >= 0).all()


def workshop_block(workshop):
    return get_task(workshop.task_id).action_block


def test_an_episode_is_fixed_by_its_spec_alone(agent, workshop, specs):
    """Neither the order, nor the company, nor what an agent did before, nor when others end changes
    an action.
    """
    length = workshop_block(workshop) + 2
    together = play(agent, specs, num_steps=length)
    other_order = play(agent, specs[::-1], num_steps=length, stop_at=[length, 3, length])[::-1]
    alone = play(agent, specs[2:], num_steps=length)
    assert np.array_equal(together[[0, 2]], other_order[[0, 2]])
    assert np.array_equal(together[1, :3], other_order[1, :3])
    assert np.array_equal(together[2], alone[0])


def test_two_agents_with_equal_settings_agree(workshop, specs):
    for name in ("random", "cem", "gradient"):
        first, second = (play(workshop.make(name), specs[:1], num_steps=3) for _ in range(2))
        assert np.array_equal(first, second)


def test_actions_change_at_block_boundaries_only(agent, workshop, specs):
    block = workshop_block(workshop)
    actions = play(agent, specs[:1], num_steps=2 * block)
    assert (actions[0, :block] == actions[0, 0]).all() and (
        actions[0, block:] == actions[0, block]
    ).all()


def test_refuses_episodes_of_another_task(agent, workshop):
    other = next(task for task in TASKS if task != workshop.task_id)
    with pytest.raises(ValueError, match="This agent was made for"):
        agent.reset(episode_specs(other, "test", 1))


def test_model_steps_start_again_with_new_episodes(agent, specs):
    play(agent, specs[:1], num_steps=1)
    agent.reset(specs)
    assert agent.model_steps.tolist() == [0] * len(specs)

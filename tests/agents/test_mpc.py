"""Test model predictive control with a model of the true dynamics."""

import numpy as np
import pytest
import torch

from jepabench.agents.build import build_mpc
from jepabench.agents.costs.energy import Energy, GoalDistance
from jepabench.agents.costs.latent_cost import LatentCost
from jepabench.agents.model_free.offline.networks import OfflineConfig, Sizes
from jepabench.agents.model_free.offline.policy import GoalPolicy
from jepabench.agents.mpc.agent import MPCAgent
from jepabench.agents.planners.base import BasePlanner, CostError
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.gradient import GradientPlanner
from jepabench.agents.planners.hybrid import HybridPlanner
from jepabench.agents.planners.random_shooting import RandomShootingPlanner
from jepabench.agents.proposals import PolicyProposal
from jepabench.envs import episode_specs
from jepabench.world_models.base import Context
from jepabench.world_models.checkpoint import CheckpointError, save_world_model
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale

TWO_ROOM = "jepabench/TwoRoom-v1"
SMALL = CEMPlanner(horizon=3, num_samples=48, num_elites=8, num_iterations=3)
POSITION = Energy(terms=[GoalDistance(dims=(0, 2))])


def agent_with(model, *, planner=SMALL, mean=(0.0, 0.0), std=(1.0, 1.0), **options):
    return MPCAgent(
        task_id=TWO_ROOM,
        model=model,
        planner=planner,
        energy=options.pop("energy", POSITION),
        action_mean=np.array(mean, np.float32),
        action_std=np.array(std, np.float32),
        **options,
    )


@pytest.mark.parametrize(
    "planner",
    [
        CEMPlanner(horizon=3),
        GradientPlanner(horizon=3, num_starts=4, num_iterations=15),
        RandomShootingPlanner(horizon=2),
    ],
    ids=["cem", "gradient", "random_shooting"],
)
def test_planning_with_true_dynamics_reaches_and_holds_near_goals(planner, walk_model, specs, play):
    _, distances = play(agent_with(walk_model(), planner=planner), specs, num_steps=40)
    assert (distances[:, 0] > 0.1).all()
    assert (distances[:, -3:] < 0.1).all()


def test_acts_in_the_units_of_the_environment(walk_model, specs, play):
    mean, std = (0.3, -0.2), (0.4, 2.0)
    actions, distances = play(
        agent_with(
            walk_model(mean=mean, std=std), mean=mean, std=std, planner=CEMPlanner(horizon=3)
        ),
        specs,
        num_steps=40,
    )
    assert (np.abs(actions) <= 1.0).all()
    assert (distances[:, -1] < 0.1).all()


def test_holds_an_action_for_its_block(walk_model, specs, play):
    actions, _ = play(agent_with(walk_model()), specs, num_steps=20)
    blocks = actions.reshape(len(specs), 4, 5, 2)
    assert (blocks == blocks[:, :, :1]).all()
    assert (blocks[:, 0, 0] != blocks[:, 1, 0]).any()


@pytest.mark.parametrize(
    "planner", [SMALL, GradientPlanner(horizon=2, num_starts=3, num_iterations=4)]
)
def test_an_episode_does_not_depend_on_its_batch(planner, walk_model, specs, play):
    together, _ = play(
        agent_with(walk_model(), planner=planner),
        specs,
        num_steps=25,
        stop_at=[25, 7, 25, 13, 25, 25],
    )
    backwards, _ = play(agent_with(walk_model(), planner=planner), specs[::-1], num_steps=25)
    alone, _ = play(agent_with(walk_model(), planner=planner), specs[4:5], num_steps=25)
    assert np.array_equal(together[[0, 2, 4, 5]], backwards[::-1][[0, 2, 4, 5]])
    assert np.array_equal(together[1, :7], backwards[::-1][1, :7])
    assert np.array_equal(together[4], alone[0])


def test_batched_planning_agrees_up_to_rounding(walk_model, specs, play):
    single, _ = play(agent_with(walk_model()), specs, num_steps=10)
    batched, _ = play(agent_with(walk_model(), problems_at_once=4), specs, num_steps=10)
    np.testing.assert_allclose(batched, single, atol=1e-4)


def test_an_agent_is_deterministic(walk_model, specs, play):
    agent = agent_with(walk_model())
    first, _ = play(agent, specs, num_steps=12)
    again, _ = play(agent, specs, num_steps=12)
    assert np.array_equal(first, again)


def test_the_context_repeats_the_first_latent_at_the_start(walk_model, specs, play):
    model = walk_model(history=3, mean=(0.5, 0.0), std=(0.5, 1.0))
    agent = agent_with(
        model,
        mean=(0.5, 0.0),
        std=(0.5, 1.0),
        planner=RandomShootingPlanner(horizon=1, num_samples=4),
    )
    actions, _ = play(agent, specs[:1], num_steps=15)
    (first, first_actions), (second, second_actions), (third, third_actions) = model.contexts
    still = torch.tensor([-1.0, 0.0])  # the control action 0 in normalised units
    executed = (torch.from_numpy(actions[0, [0, 5]]) - torch.tensor([0.5, 0.0])) / torch.tensor(
        [0.5, 1.0]
    )
    assert torch.equal(first, first[:1].expand(3, 4))
    assert torch.equal(first_actions[:2], still.expand(2, 2))
    assert torch.equal(second[:2], first[:2]) and not torch.equal(second[2], second[1])
    torch.testing.assert_close(second_actions[:2], torch.stack([still, executed[0]]))
    assert torch.equal(third[:2], second[1:])
    torch.testing.assert_close(third_actions[:2], executed)


@pytest.mark.parametrize(("execute_steps", "num_plans"), [(1, 6), (2, 3), (3, 2)])
def test_counts_its_model_steps(execute_steps, num_plans, walk_model, specs, play):
    agent = agent_with(walk_model(), execute_steps=execute_steps)
    play(agent, specs, num_steps=30, stop_at=[30] * 5 + [5])
    assert agent.model_steps[:5].tolist() == [num_plans * (48 * 3 + 1) * 3] * 5
    assert agent.model_steps[5] == (48 * 3 + 1) * 3


def test_a_shrinking_horizon_restarts_after_the_end_of_the_first_plan(walk_model, specs, play):
    agent = agent_with(walk_model(), shrinking=True)
    play(agent, specs, num_steps=20)
    assert agent.model_steps.tolist() == [(48 * 3 + 1) * (3 + 2 + 1 + 3)] * len(specs)
    by_twos = agent_with(walk_model(), shrinking=True, execute_steps=2)
    play(by_twos, specs, num_steps=20)  # two blocks of three, then the last one, then two of three
    assert by_twos.model_steps.tolist() == [(48 * 3 + 1) * (3 + 1 + 3)] * len(specs)


def test_a_shrinking_horizon_reaches_the_goal_at_its_end(walk_model, specs, play):
    """The cost is that of the end alone: without an end that stays where it is, arriving can be put
    off for ever.
    """
    end = Energy(terms=[GoalDistance(dims=(0, 2), when="terminal")])
    actions, distances = play(
        agent_with(walk_model(), energy=end, shrinking=True), specs, num_steps=15
    )
    assert (distances[:, -1] < 0.1).all()
    alone, _ = play(agent_with(walk_model(), energy=end, shrinking=True), specs[2:3], num_steps=15)
    assert np.array_equal(alone[0], actions[2])


def test_a_composite_search_shrinks_all_its_parts(walk_model, specs, play):
    sampler = CEMPlanner(horizon=3, num_samples=8, num_elites=2, num_iterations=2)
    hybrid = HybridPlanner(
        sampler=sampler, refiner=GradientPlanner(horizon=3, num_starts=2, num_iterations=2)
    )
    agent = agent_with(walk_model(), planner=hybrid, shrinking=True)
    play(agent, specs[:1], num_steps=15)
    assert agent.model_steps.tolist() == [(8 * 2 + 1 + 2 * 3) * (3 + 2 + 1)]


def test_a_shrinking_horizon_records_its_imagination(walk_model, specs, play):
    agent = agent_with(
        walk_model(),
        decoder=lambda latents: latents[:, :2].numpy(),
        record_imagination=1,
        shrinking=True,
    )
    play(agent, specs[:1], num_steps=15)
    imagined = agent.imagined(0)
    assert imagined is not None
    steps, places = imagined
    assert steps.tolist() == [0, 5, 10] and places.shape == (3, 3, 2)
    assert (places[1, 1] == places[1, 2]).all() and (places[2, 0] == places[2, 2]).all()
    assert (places[0, 1] != places[0, 2]).any()


def test_a_warm_start_begins_with_the_rest_of_the_last_plan(walk_model, specs, play):
    """A planner that only returns its warm start shows what it was given."""

    class Repeat(BasePlanner):
        horizon = 3

        def __init__(self):
            self.given = []

        def plan(self, cost, *, bounds, initial, generators):
            self.given.append(initial.clone())
            actions = torch.tensor([[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]])
            return CEMPlanner(
                horizon=3, num_samples=1, num_elites=1, num_iterations=1, initial_std=0.0
            ).plan(cost, bounds=bounds, initial=actions, generators=generators)

    warm, cold = Repeat(), Repeat()
    play(agent_with(walk_model(), planner=warm), specs[:1], num_steps=10)
    play(agent_with(walk_model(), planner=cold, warm_start=False), specs[:1], num_steps=10)
    assert not warm.given[0].any() and not cold.given[1].any()
    torch.testing.assert_close(warm.given[1], torch.tensor([[[0.3, 0.4], [0.5, 0.6], [0.5, 0.6]]]))


def test_records_its_imagination(walk_model, specs, play):
    def decoder(latents):
        frames = np.zeros((len(latents), 4, 4, 3), np.uint8)
        frames[:, 0, 0, :2] = np.round(100 + 100 * latents[:, :2].numpy())
        return frames

    agent = agent_with(walk_model(), decoder=decoder, record_imagination=2)
    play(agent, specs, num_steps=15, stop_at=[15, 5, 15, 15, 15, 15])
    imagined = agent.imagined(0)
    assert imagined is not None
    steps, frames = imagined
    assert steps.tolist() == [0, 5, 10]
    assert frames.shape == (3, 3, 4, 4, 3) and frames.dtype == np.uint8
    assert len(np.unique(frames[0, :, 0, 0], axis=0)) == 3
    short = agent.imagined(1)
    assert short is not None and short[0].tolist() == [0]
    assert agent.imagined(2) is None


def test_recording_does_not_change_a_plan(walk_model, specs, play):
    plain, _ = play(agent_with(walk_model()), specs, num_steps=10)
    recorded, _ = play(
        agent_with(walk_model(), decoder=lambda latents: latents.numpy(), record_imagination=6),
        specs,
        num_steps=10,
    )
    assert np.array_equal(plain, recorded)


def test_freezes_the_model(walk_model):
    model = walk_model().train()
    agent_with(model)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"execute_steps": 4}, "execute_steps must be at most the horizon, 3, got 4"),
        ({"execute_steps": 0}, "execute_steps must be at least 1"),
        ({"problems_at_once": 0}, "problems_at_once must be at least 1"),
        ({"record_imagination": 1}, "needs a decoder"),
        ({"mean": (0.0,)}, r"have shape \(2,\)"),
        ({"std": (1.0, 0.0)}, "action_std must be above 0"),
    ],
)
def test_refuses_invalid_settings(options, message, walk_model):
    with pytest.raises(ValueError, match=message):
        agent_with(walk_model(), **options)


def test_refuses_a_model_of_other_actions(walk_model):
    model = walk_model()
    model.action_size = 4
    with pytest.raises(ValueError, match="size 2, the world model takes 4"):
        agent_with(model)


def test_refuses_a_model_of_other_observations(walk_model):
    model = walk_model()
    model.observation_key = "pixel"
    with pytest.raises(KeyError, match="Did you mean 'pixels'"):
        agent_with(model)


def test_refuses_episodes_of_another_task(walk_model):
    others = episode_specs("jepabench/PointMaze-UMaze-v1", "test", 1)
    with pytest.raises(ValueError, match="made for 'jepabench/TwoRoom-v1'"):
        agent_with(walk_model()).reset(others)


def test_search_starts_from_proposal(walk_model, specs, play):
    """A policy that knows the way, and a planner that only scores what it is given."""

    class StraightThere(GoalPolicy):
        def __init__(self):
            super().__init__(Sizes(4, 4, 2), OfflineConfig())

        def decide(self, now, goal):
            return ((goal - now)[:, :2] / 0.25).clamp(-0.7, 0.7)

    scale = ActionScale(torch.tensor([0.3, -0.2]), torch.tensor([0.4, 2.0]))
    proposal = PolicyProposal(StraightThere(), scale)
    planner = RandomShootingPlanner(horizon=3, num_samples=2, initial_std=0.0)
    units = {"mean": (0.3, -0.2), "std": (0.4, 2.0)}
    agent = agent_with(walk_model(**units, history=2), planner=planner, proposal=proposal, **units)
    _, distances = play(agent, specs, num_steps=60)
    assert (distances[:, -1] < 0.1).all()
    assert agent.model_steps[0] == 12 * (2 + 1) * 3
    without = agent_with(walk_model(**units, history=2), planner=planner, **units)
    assert play(without, specs, num_steps=20)[1][:, -1].mean() > 0.2


def test_refuses_a_mismatched_energy_before_the_first_step(walk_model, specs, play):
    agent = agent_with(walk_model(), energy=Energy(terms=[Misfit()]))
    with pytest.raises(CostError, match="mat1 and mat2"):
        play(agent, specs, num_steps=1)


class Misfit:
    """A term for latents of another size."""

    name, weight = "misfit", 1.0

    def __call__(self, latents, goal, actions):
        return (latents @ torch.zeros(7, 1))[..., -1, 0]


@pytest.mark.parametrize("history", [1, 3])
def test_all_transitions_at_once_are_those_of_a_rollout(history):
    torch.manual_seed(0)
    model = build_model(
        "jepa",
        {
            "encoder": "state",
            "encoder_options": {"mean": [0.0] * 4, "std": [1.0] * 4},
            "latent_dim": 4,
            "action_size": 2,
            "observation_key": "observation",
            "history": history,
        },
    ).eval()
    context = Context(torch.randn(2, history, 4), torch.randn(2, history - 1, 2))
    cost = LatentCost(model, context, torch.zeros(2, 4), Energy())
    actions = torch.randn(2, 3, 5, 2)
    imagined = cost.imagine(actions)
    torch.testing.assert_close(cost.transitions(imagined, actions), imagined)


def test_builds_an_agent_from_a_checkpoint(tmp_path, specs, play):
    config = {
        "encoder": "state",
        "encoder_options": {"mean": [0.0] * 4, "std": [1.0] * 4},
        "latent_dim": 4,
    }
    model = build_model("jepa", config | {"action_size": 2, "observation_key": "observation"})
    scale = ActionScale(torch.tensor([0.1, 0.0]), torch.tensor([0.5, 0.6]))
    save_world_model(tmp_path, kind="jepa", model=model, scale=scale, task_id=TWO_ROOM, metadata={})
    built = build_mpc(task_id=TWO_ROOM, world_model=tmp_path, planner=SMALL, energy=POSITION)
    direct = agent_with(model, mean=(0.1, 0.0), std=(0.5, 0.6))
    assert built.observation_keys == ("observation", "desired_goal")
    np.testing.assert_array_equal(
        play(built, specs, num_steps=6)[0], play(direct, specs, num_steps=6)[0]
    )
    with pytest.raises(CheckpointError, match="trained on jepabench/TwoRoom-v1"):
        build_mpc(
            task_id="jepabench/PointMaze-UMaze-v1",
            world_model=tmp_path,
            planner=SMALL,
            energy=POSITION,
        )

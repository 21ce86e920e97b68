"""Test guardrails with a model of known dynamics: no plan that passes may enter the zone."""

import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jepabench.agents.build import build_mpc
from jepabench.agents.costs.energy import Energy, GoalDistance
from jepabench.agents.guardrails import training as guardrail_training
from jepabench.agents.guardrails.guardrail import (
    FORBIDDEN,
    MODES,
    GuardedEnergy,
    GuardedPlanner,
    Guardrail,
    GuardrailConfig,
)
from jepabench.agents.guardrails.hazards import LearnedHazard, ZoneHazard
from jepabench.agents.guardrails.training import (
    GuardrailError,
    calibrate,
    judge_steps,
    keep_out_zones,
    load_guardrail,
)
from jepabench.agents.planners.base import ActionBounds
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.subgoals.detours import Detours, DetoursConfig
from jepabench.envs import episode_specs, make
from jepabench.envs.data.collect import collect
from jepabench.world_models.analysis.probes import fit_linear
from jepabench.world_models.base import Context, rollout
from jepabench.world_models.checkpoint import load_world_model
from jepabench.world_models.training.fit import fit

ZONE = (-0.5, -0.25, 0.5, 0.25)
BOUNDS = ActionBounds(-torch.ones(2), torch.ones(2))


@pytest.fixture
def hazard():
    places = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return ZoneHazard(fit_linear(places, places[:, :2], regularisation=1e-9), torch.tensor([ZONE]))


def guarded(hazard, mode, **settings):
    rule = Guardrail(hazard=hazard, thresholds=torch.zeros(5), spread=0.1, mode=mode, **settings)
    energy = GuardedEnergy(Energy(terms=[GoalDistance(when="terminal", dims=(0, 2))]), rule)
    planner = CEMPlanner(horizon=6, num_samples=200, num_elites=20, num_iterations=12)
    return energy, GuardedPlanner(planner=planner, energy=energy, rest=torch.zeros(2), num_rounds=5)


def plan_across(model, energy, planner, start, goal, seed=0):
    context = Context(torch.tensor([[[*start, 0.0, 0.0]]]), torch.zeros(1, 0, 2))
    target, bound = torch.tensor([[*goal, 0.0, 0.0]]), energy.bind(model, context)

    def cost(actions):
        return bound(rollout(model, context, actions), target, actions)

    found = planner.plan(cost, bounds=BOUNDS, generators=[torch.Generator().manual_seed(seed)])
    return found, torch.cat(
        [context.latents[0, :, :2], rollout(model, context, found.actions[:, None])[0, 0, :, :2]]
    )


def deepest(path):
    """How deep a path [T, 2] is inside the zone at worst; below 0 it never is."""
    fine = torch.cat(
        [torch.lerp(a, b, torch.linspace(0, 1, 50)[:, None]) for a, b in pairwise(path)]
    )
    low, high = torch.tensor(ZONE[:2]), torch.tensor(ZONE[2:])
    return float(torch.minimum(fine - low, high - fine).amin(1).max())


def test_clearance_agrees_with_geometry(hazard):
    def clearance(start, end):
        return -float(hazard(*(torch.tensor([[*place, 0.0, 0.0]]) for place in (start, end))))

    assert clearance((0.9, 0.0), (0.9, 0.9)) == pytest.approx(0.4, abs=1e-3)
    assert clearance((0.8, 0.65), (0.8, 0.65)) == pytest.approx(
        0.5, abs=1e-3
    )  # from the corner, over both axes
    assert clearance((0.0, 0.0), (0.0, 0.0)) == pytest.approx(-0.25, abs=1e-3)
    assert clearance((-0.6, 0.0), (0.6, 0.0)) < 0  # both ends are outside, the way is not


@pytest.mark.parametrize("mode", MODES)
def test_the_path_avoids_the_zone_and_reaches_the_goal(walk_model, hazard, mode):
    start, goal = (0.3, -0.45), (0.3, 0.45)
    free, direct = plan_across(walk_model(), *guarded(hazard, "soft", weight=0.0), start, goal)
    assert deepest(direct) > 0.2 and float((direct[-1] - torch.tensor(goal)).norm()) < 0.05
    energy, planner = guarded(hazard, mode, weight=10.0, margin=0.1)
    found, path = plan_across(walk_model(), energy, planner, start, goal)
    assert deepest(path) < (0.0 if mode == "hard" else 0.02)
    assert float((path[-1] - torch.tensor(goal)).norm()) < 0.35
    assert found.num_evaluations >= free.num_evaluations


def test_agent_without_safe_plan_holds_still_or_leaves_zone(walk_model, hazard):
    energy, planner = guarded(
        hazard, "hard", margin=20.0
    )  # two metres from the zone: there is no such place
    found, path = plan_across(walk_model(), energy, planner, (0.9, 0.9), (-0.9, -0.9))
    assert float(found.cost) >= FORBIDDEN
    assert (
        deepest(path[-1:].repeat(2, 1)) <= deepest(path[:1].repeat(2, 1)) + 1e-4
    )  # held still, or got away
    _, path = plan_across(walk_model(), *guarded(hazard, "hard"), (0.0, 0.1), (0.0, -0.1))
    assert deepest(path[-1:].repeat(2, 1)) < 0


def test_plans_from_inside_a_zone_are_penalised_and_not_filtered(walk_model, hazard):
    energy, planner = guarded(hazard, "hard")
    within, _ = plan_across(walk_model(), energy, planner, (0.0, 0.1), (0.0, -0.1))
    assert float(within.cost) < FORBIDDEN and bool(energy.bound.inside)
    plan_across(walk_model(), energy, planner, (0.9, 0.9), (0.9, 0.8))
    assert not bool(energy.bound.inside)


def test_nan_hazard_never_passes(walk_model, hazard):
    with torch.no_grad():
        hazard.probe.body.weight[:] = torch.nan
    found, _ = plan_across(walk_model(), *guarded(hazard, "hard"), (0.9, 0.9), (0.0, 0.0))
    assert float(found.cost) >= FORBIDDEN and torch.isfinite(found.actions).all()


def test_settings_are_checked(hazard):
    with pytest.raises(KeyError, match="Did you mean 'hard'"):
        Guardrail(hazard=hazard, thresholds=torch.zeros(1), spread=1.0, mode="heard")
    with pytest.raises(RuntimeError, match=r"energy\.bind"):
        guarded(hazard, "hard")[0](
            torch.zeros(1, 1, 1, 4), torch.zeros(1, 4), torch.zeros(1, 1, 1, 2)
        )


# -- trained on data -------------------------------------------------------------------------------

TWO_ROOM = "jepabench/TwoRoom-v1"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A state twin of TwoRoom and a learned guardrail, trained for seconds."""
    folder = tmp_path_factory.mktemp("guardrails")
    for name, count in (("train", 120), ("validation", 120), ("test", 120)):
        collect(
            TWO_ROOM,
            folder / name,
            num_episodes=count,
            num_steps=20,
            split=name,
            pixels=None,
            num_workers=1,
            progress=False,
        )
    fit(
        dataset=folder / "train",
        validation=folder / "validation",
        directory=folder / "model",
        seed=0,
        kind="jepa",
        model={
            "encoder": "state",
            "history": 1,
            "rollout_steps": 2,
            "predictor_options": {"width": 64},
        },
        training={
            "num_steps": 400,
            "batch_size": 128,
            "learning_rate": 3e-3,
            "on_collapse": "warn",
        },
        progress=False,
    )
    return folder


def trained(workshop, **settings):
    directory = (
        workshop / f"guardrail-{settings.get('hazard', 'learned')}-{settings.get('alpha', 0.05)}"
    )
    guardrail_training.train(
        task_id=TWO_ROOM,
        dataset=workshop / "train",
        validation=workshop / "validation",
        world_model=workshop / "model",
        directory=directory,
        seed=0,
        **{"alpha": 0.05, "horizon": 3, "num_steps": 400, "num_windows": 1500, **settings},
    )
    return directory


@pytest.mark.parametrize("kind", ["learned", "zones"])
def test_the_guarantee_of_held_out_episodes_holds_on_others(workshop, kind):
    from jepabench.envs.data.episodes import EpisodeDataset

    rail = load_guardrail(trained(workshop, hazard=kind), task_id=TWO_ROOM)
    assert isinstance(rail.hazard, LearnedHazard if kind == "learned" else ZoneHazard)
    data, loaded = EpisodeDataset.open(workshop / "test"), load_world_model(workshop / "model")
    steps = judge_steps(
        rail.hazard, loaded, data, horizon=3, num_windows=None, rng=np.random.default_rng(0)
    )
    passes = steps.hazards <= rail.thresholds.numpy()
    missed = (passes & steps.violated).sum(0) / steps.violated.sum(0)
    assert (missed <= 0.05 + 0.06).all()  # three standard errors of 120 episodes
    assert passes[~steps.violated].mean() > 0.5  # and it lets through what is lawful


def test_a_custom_region_is_checked_along_the_executed_path(workshop):
    from jepabench.envs.data.episodes import EpisodeDataset

    data, loaded = EpisodeDataset.open(workshop / "test"), load_world_model(workshop / "model")
    own = keep_out_zones(make(TWO_ROOM)).tolist()
    rail = load_guardrail(trained(workshop, hazard="zones"), task_id=TWO_ROOM)

    def judged(zones):
        return judge_steps(
            rail.hazard,
            loaded,
            data,
            horizon=3,
            num_windows=800,
            rng=np.random.default_rng(0),
            zones=zones,
        )

    by_flag, by_place = judged(None).violated, judged(own).violated
    assert (
        by_flag.any() and (by_flag == by_place).mean() > 0.98
    )  # what the world says of its own zones
    elsewhere = judged([(-0.3, 0.4, 0.9, 0.9)]).violated
    assert elsewhere.any() and (elsewhere != by_flag).any()
    directory = workshop / "guardrail-elsewhere"
    guardrail_training.train(
        task_id=TWO_ROOM,
        dataset=workshop / "train",
        validation=workshop / "validation",
        world_model=workshop / "model",
        directory=directory,
        seed=0,
        hazard="zones",
        alpha=0.1,
        horizon=2,
        num_windows=800,
        zones=[(-0.3, 0.4, 0.9, 0.9)],
    )
    moved = load_guardrail(directory, task_id=TWO_ROOM).hazard
    assert moved.zones.tolist()[0] == pytest.approx([-0.3, 0.4, 0.9, 0.9])


def test_guarantee_without_enough_data_is_refused(workshop):
    from jepabench.agents.guardrails.conformal import TooFewScoresError

    with pytest.raises(TooFewScoresError, match="Collect more validation episodes"):
        trained(workshop, alpha=0.0001)
    with pytest.raises(KeyError, match="Did you mean 'zones'"):
        trained(workshop, hazard="zone")


def test_a_task_without_zones_or_violations_is_refused():
    with pytest.raises(GuardrailError, match="no keep-out zones"):
        keep_out_zones(make("jepabench/Push-v1"))
    steps = guardrail_training.JudgedSteps(
        np.zeros((5, 2), np.float32), np.zeros((5, 2), np.bool_), np.arange(5)
    )
    with pytest.raises(GuardrailError, match="ever broken"):
        calibrate(steps, alpha=0.1, rng=np.random.default_rng(0))


@pytest.mark.parametrize("mode", MODES)
def test_a_guarded_agent_plays_in_the_world(workshop, play, mode):
    agent = build_mpc(
        task_id=TWO_ROOM,
        world_model=workshop / "model",
        guardrail=trained(workshop),
        guardrail_config=GuardrailConfig(mode=mode, num_rounds=2),
        planner=CEMPlanner(horizon=3, num_samples=16, num_elites=4, num_iterations=2),
        energy=Energy(terms=[GoalDistance(dims=(0, 2))]),
    )
    specs = episode_specs(TWO_ROOM, "test", 2, strata=("near",))
    alone, _ = play(agent, specs[:1], num_steps=6)
    together, _ = play(agent, specs, num_steps=6)
    assert np.array_equal(alone[0], together[0])
    assert (agent.model_steps > 0).all()


def test_guardrail_may_use_threshold_of_nearer_step_for_later_steps(workshop):
    def rule(**settings):
        agent = build_mpc(
            task_id=TWO_ROOM,
            world_model=workshop / "model",
            guardrail=trained(workshop),
            guardrail_config=GuardrailConfig(**settings),
            planner=CEMPlanner(horizon=3),
            energy=Energy(terms=[GoalDistance(dims=(0, 2))]),
        )
        assert isinstance(agent.energy, GuardedEnergy)
        return agent.energy.guardrail

    whole, near = rule(), rule(ahead=1)
    assert len(whole.thresholds) == 3 and near.thresholds.tolist() == whole.thresholds[:1].tolist()
    with pytest.raises(ValueError, match="ahead"):
        rule(ahead=0)


def test_a_detour_needs_zones_that_are_known(workshop, play):
    settings = {
        "task_id": TWO_ROOM,
        "world_model": workshop / "model",
        "energy": Energy(terms=[GoalDistance(dims=(0, 2))]),
        "planner": CEMPlanner(horizon=3, num_samples=16, num_elites=4, num_iterations=2),
        "guardrail": trained(workshop),
        "subgoals_config": DetoursConfig(clearance=0.05),
    }
    with pytest.raises(ValueError, match="A detour needs a guardrail with hazard=zones"):
        build_mpc(subgoals=trained(workshop), **settings)
    zones = trained(workshop, hazard="zones")
    agent = build_mpc(subgoals=zones, **settings)
    old = workshop / "old"
    shutil.copytree(zones, old)
    kept = {
        name: value
        for name, value in load_file(zones / "guardrail.safetensors").items()
        if name != "goals"
    }
    save_file(kept, old / "guardrail.safetensors")
    with pytest.raises(GuardrailError, match="no goals for detours"):
        load_guardrail(old, task_id=TWO_ROOM)
    bank = agent.subgoals
    assert isinstance(bank, Detours)
    assert torch.allclose(
        bank.hazard.probe(bank.goals.flatten(1)), bank.places, atol=0.05
    )  # goals are where they are said to be
    play(agent, episode_specs(TWO_ROOM, "test", 1, strata=("near",)), num_steps=6)

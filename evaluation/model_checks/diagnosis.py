"""Diagnosis of a world model for planning.

A low loss does not show that a model is good for planning. Each number here compares the model
with a baseline that it must beat: copying the last latent, imagining with other actions than those
that were taken, and choosing a plan at random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from jepabench.agents.base import ActionQueue
from jepabench.agents.costs.energy import Energy, GoalDistance
from jepabench.agents.encoding import encode_goal_rows, encode_rows
from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.evaluation.model_checks.probing import check_dataset
from jepabench.world_models.analysis.diagnostics import effective_rank
from jepabench.world_models.analysis.imagination import draw_windows, imagine
from jepabench.world_models.base import Context, rollout
from jepabench.world_models.checkpoint import LoadedWorldModel

ACTIONS = ("true", "zero", "random")
_TOP_SHARE = 0.1


def foresight_table(
    loaded: LoadedWorldModel,
    dataset: EpisodeDataset,
    *,
    num_steps: int = 8,
    num_windows: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the squared errors of imagined latents relative to copying the last one, per step.

    Columns:
        ``step``: model steps ahead, from 1.
        ``true``, ``zero``, ``random``: the error with the actions that were taken, with the action
        0 in environment units, and with the actions of another window. Below 1 is better than
        copying. The three are equal for a model that ignores actions.
        ``copy_last``: the squared error of copying, in units of the variance of the latents.

    Raises:
        ProbingError: The dataset does not fit the model.
        ValueError: The episodes are too short.
    """
    check_dataset(loaded, dataset)
    rng = np.random.default_rng(seed)
    windows = draw_windows(loaded, dataset, num_steps=num_steps, num_windows=num_windows, rng=rng)
    plans = windows.plans
    taken = {
        "true": plans,
        "zero": loaded.scale.normalise(torch.zeros_like(loaded.scale.mean)).expand_as(plans),
        "random": plans[torch.from_numpy(rng.permutation(len(plans)))],
    }
    copied = (windows.present[:, None] - windows.future).flatten(2).square().mean((0, 2))
    errors = {
        name: (imagine(loaded.model, windows, actions) - windows.future)
        .flatten(2)
        .square()
        .mean((0, 2))
        for name, actions in taken.items()
    }
    spread = float(windows.latents.flatten(0, 1).flatten(1).var(0).mean())
    return pd.DataFrame(
        {
            "step": np.arange(1, num_steps + 1),
            **{name: (error / copied.clamp_min(1e-12)).numpy() for name, error in errors.items()},
            "copy_last": (copied / max(spread, 1e-12)).numpy(),
        }
    )


def geometry(
    loaded: LoadedWorldModel, dataset: EpisodeDataset, *, num_windows: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Return the size, effective rank, spread and straightness of the latents.

    A spread of 0 is collapse. Straightness is between -1 and 1.
    """
    rng = np.random.default_rng(seed)
    windows = draw_windows(loaded, dataset, num_steps=3, num_windows=num_windows, rng=rng)
    flat = windows.latents.flatten(2).float()
    points, velocity = flat.flatten(0, 1), flat.diff(dim=1)
    straight = torch.nn.functional.cosine_similarity(velocity[:, 1:], velocity[:, :-1], dim=-1)
    return {
        "latent_size": float(points.shape[1]),
        "effective_rank": effective_rank(points[:: max(1, len(points) // 2000)]),
        "std_mean": float(points.std(0).mean()),
        "std_min": float(points.std(0).min()),
        "straightness": float(straight.mean()),
    }


@dataclass(frozen=True, slots=True)
class PlanOutcomes:
    """Plans from E starts: their energies under the model and their outcomes in the simulator.

    Attributes:
        predicted: Energies of S random plans [E, S]; lower is better.
        distance: True distance to the goal after each plan [E, S], task units.
        path: The same along the shortest path; None if the world does not know that path.
        realised: Energies [E, S] of the latents that were encoded while the plans were executed;
            None if they were not computed.
    """

    predicted: NDArray[np.float64]
    distance: NDArray[np.float64]
    path: NDArray[np.float64] | None
    realised: NDArray[np.float64] | None = None


def plan_outcomes(
    loaded: LoadedWorldModel,
    *,
    energy: Energy | None = None,
    num_starts: int = 30,
    num_plans: int = 64,
    horizon: int = 5,
    split: str = "validation",
    pixels: int = 64,
    seed: int = 0,
    realised: bool = False,
    progress: Callable[[int], object] | None = None,
) -> PlanOutcomes:
    """Draw plans, predict their energies, and execute each in the simulator from the same state.

    Args:
        loaded: A world model.
        energy: The cost; by default the running distance to the goal.
        num_starts: Episodes, over all strata.
        num_plans: Random plans from each start. Each step redraws the action with probability 1/2,
            so that some plans are smooth.
        horizon: Model steps of a plan.
        split: Split of the episodes.
        pixels: Side of the frames.
        seed: Seed of the plans.
        realised: Whether to observe each model step of each plan, for ``PlanOutcomes.realised``.
        progress: Called with 1 after each start.
    """
    task, model = get_task(loaded.task_id), loaded.model
    specs = start_specs(task.id, split, num_starts)
    env = make(task.id, pixels=pixels if model.observation_key == "pixels" else None)
    queue = ActionQueue(task=task)
    if energy is None:
        # The state twin compares only the entries of the goal.
        state_twin = model.observation_key == "observation"
        energy = Energy(terms=[GoalDistance(dims=(0, _goal_size(env)) if state_twin else None)])
    predicted, distances, paths, reached = [], [], [], []
    for spec in specs:
        observation, _ = reset_to(env, spec)
        blocks = _random_plans(
            queue, num_plans, horizon, np.random.default_rng([seed, spec.planner_seed])
        )
        scored = _PlanScores(loaded, energy, observation, blocks)
        predicted.append(scored.imagined())
        if realised:
            reached.append(scored.realised(env))
        distance, path = _executed(env, observation, blocks)
        distances.append(distance)
        paths.append(path)
        if progress:
            progress(1)
    env.close()
    known = [path for path in paths if path is not None]
    return PlanOutcomes(
        np.stack(predicted),
        np.stack(distances),
        np.stack(known) if len(known) == len(paths) else None,
        np.stack(reached) if realised else None,
    )


def plan_table(
    outcomes: PlanOutcomes, *, rng: np.random.Generator, num_resamples: int = 2000
) -> pd.DataFrame:
    """Return how well predicted energies rank plans, with 95 % bootstrap intervals over starts.

    Measures:
        Spearman's rank correlation of the energy with the true distance after the plan, over all
        plans and within the cheapest tenth (1 is perfect, 0 is useless).
        Regret of the cheapest plan: (its distance - best) / (mean - best), where best and mean are
        over the plans (0 is perfect, 1 is a random choice).

    Rows with the outcome ``path`` measure distance along the shortest path around walls.
    """
    rows = []
    for name, real in (("distance", outcomes.distance), ("path", outcomes.path)):
        if real is None:
            continue
        for measure, values in _measures(outcomes.predicted, real).items():
            values = values[np.isfinite(values)]
            if not len(values):
                continue
            means = rng.choice(values, (num_resamples, len(values))).mean(1)
            low, high = np.quantile(means, (0.025, 0.975))
            rows.append(
                {
                    "outcome": name,
                    "measure": measure,
                    "value": values.mean(),
                    "low": low,
                    "high": high,
                    "starts": len(values),
                }
            )
    return pd.DataFrame(rows)


def _measures(
    predicted: NDArray[np.float64], real: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    order = predicted.argsort(axis=1)
    top = order[:, : max(5, round(_TOP_SHARE * predicted.shape[1]))]
    first = np.take_along_axis(real, order[:, :1], axis=1)[:, 0]
    best, mean = real.min(1), real.mean(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        regret = (first - best) / (mean - best)
    return {
        "rank correlation": rank_correlations(predicted, real),
        "rank correlation, cheapest tenth": rank_correlations(
            np.take_along_axis(predicted, top, axis=1), np.take_along_axis(real, top, axis=1)
        ),
        "regret of the cheapest": regret,
    }


def rank_correlations(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Spearman's correlation of each row of [E, S] and [E, S]; NaN where one is constant."""
    ranks = [rankdata(values, axis=1) for values in (first, second)]
    offsets = [values - values.mean(1, keepdims=True) for values in ranks]
    with np.errstate(invalid="ignore"):
        return (offsets[0] * offsets[1]).sum(1) / np.sqrt(
            (offsets[0] ** 2).sum(1) * (offsets[1] ** 2).sum(1)
        )


def _random_plans(
    queue: ActionQueue, count: int, horizon: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return blocks [S, H, n * A] in environment units.

    Each step repeats the previous action with probability 1/2.
    """
    drawn = rng.uniform(queue.low, queue.high, (count, horizon, len(queue.low)))
    for step in range(1, horizon):
        keeps = rng.random(count) < 0.5
        drawn[keeps, step] = drawn[keeps, step - 1]
    return drawn.astype(np.float32)


class _PlanScores:
    """Energies of plans [S, H, n * A] from the start of an episode, in environment units."""

    def __init__(
        self,
        loaded: LoadedWorldModel,
        energy: Energy,
        observation: Observation,
        blocks: NDArray[np.float32],
    ) -> None:
        self.model, self.blocks = loaded.model, blocks
        model, scale = loaded.model, loaded.scale
        batch = {key: value[None] for key, value in observation.items()}
        self.goal, latent = encode_goal_rows(model, batch, [0]), encode_rows(model, batch, [0])
        rest = scale.normalise(torch.zeros_like(scale.mean))
        self.context = Context(
            latent[:, None].expand(-1, model.history, *latent.shape[1:]),
            rest.expand(1, model.history - 1, -1),
        )
        self.actions: Tensor = scale.normalise(torch.from_numpy(blocks))[None]
        self._score = energy.bind(model, self.context)

    @torch.inference_mode()
    def imagined(self) -> NDArray[np.float64]:
        """Return the energies [S] of imagined latents."""
        return self._energies(rollout(self.model, self.context, self.actions))

    @torch.inference_mode()
    def realised(self, env: GoalEnv) -> NDArray[np.float64]:
        """Return the energies [S] of the latents of the frames that executing the plans gives."""
        start, control = env.snapshot(), _control_actions(env, self.blocks)
        latents = []
        for plan in control:
            env.restore(start)
            seen = [env.advance(block)[0] for block in plan]
            batch = {key: np.stack([frame[key] for frame in seen]) for key in seen[0]}
            latents.append(encode_rows(self.model, batch, list(range(len(seen)))))
        env.restore(start)
        return self._energies(torch.stack(latents)[None])

    def _energies(self, latents: Tensor) -> NDArray[np.float64]:
        return self._score(latents, self.goal, self.actions)[0].double().numpy()


def _control_actions(env: GoalEnv, blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return control actions [S, H, K, A] of plans [S, H, n * A]."""
    task = env.task
    return blocks.reshape(*blocks.shape[:2], task.actions_per_block, -1).repeat(
        task.hold_steps, axis=2
    )


def _goal_size(env: GoalEnv) -> int:
    return (env.observation_space["desired_goal"].shape or (0,))[0]


def _executed(
    env: GoalEnv, observation: Observation, blocks: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    ends = env.imagine_goals(_control_actions(env, blocks))[:, -1]
    distance = env.distance(ends, np.broadcast_to(observation["desired_goal"], ends.shape))
    return distance, env.path_distance(ends)


def start_specs(task_id: str, split: str, count: int) -> list[EpisodeSpec]:
    """Return ``count`` episodes, alternating between the strata."""
    strata = get_task(task_id).strata
    return [
        EpisodeSpec(task_id, split, strata[number % len(strata)], number // len(strata))
        for number in range(count)
    ]

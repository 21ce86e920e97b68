"""Hierarchical planning: each level plans over macro-actions and sets the next target below.

The levels above the world model are trained on its frozen latents
(``jepabench.world_models.kinds.hierarchy``) and searched with the same planners and energies. Their
predictions count as model steps, so that flat and hierarchical agents are compared at equal cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from jepabench.agents.costs import learned_distance
from jepabench.agents.costs.energy import Energy, EnergyConfig
from jepabench.agents.encoding import open_dataset
from jepabench.agents.model_free.run_folder import read_run
from jepabench.agents.planners.base import ActionBounds, Planner
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.files import atomic_write
from jepabench.envs.splits import EpisodeSpec
from jepabench.world_models.base import Context, TrajectoryBatch, rollout
from jepabench.world_models.checkpoint import fingerprint
from jepabench.world_models.kinds.hierarchy import HierarchyConfig, MacroLevel, make_levels
from jepabench.world_models.settings import make_config, require_at_least
from jepabench.world_models.training.batches import ActionScale, step_generators

_WEIGHTS = "levels.safetensors"
MACRO_BOUND = 2.0  # bound of macro-actions, whose prior has standard deviation 1
ARRIVED_SHARE = 0.05  # a latent counts as the target below this share of the present cost


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPlan:
    """Search settings of one level.

    Attributes:
        planner: Search over sequences of macro-actions.
        energy: Cost of the predicted latents.
        every: Number of plans of the lowest level between two plans of this level.
    """

    planner: Planner
    energy: Energy
    every: int = 3

    def __post_init__(self) -> None:
        require_at_least(1, every=self.every)


class MacroSubgoals:
    """Targets for each level, from the first predicted latent of the best plan of the level above.

    Implements ``jepabench.agents.mpc.agent.Subgoals``.

    If the first stride of a plan ends at the target of the level, or no later stride comes closer,
    the level passes on the target itself. The target is then within one stride, and a predicted
    latent near it would only add an error.

    Args:
        levels: Trained levels, lowest first.
        plans: Search settings of each level, in the same order.
    """

    def __init__(self, levels: Sequence[MacroLevel], plans: Sequence[LevelPlan]) -> None:
        if len(levels) != len(plans):
            raise ValueError(
                f"There are {len(levels)} trained levels and plans for {len(plans)}. Give "
                "one plan per level, the lowest first."
            )
        self.levels, self.plans = list(levels), list(plans)
        self.reset(())

    def to(self, device: torch.device) -> MacroSubgoals:
        """Move the levels and the networks of their energies to a device."""
        for level, plan in zip(self.levels, self.plans, strict=True):
            level.to(device)
            plan.energy.to(device)
        return self

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        self._model_steps: NDArray[np.int64] = np.zeros(len(specs), dtype=np.int64)
        self._num_calls = [0] * len(specs)
        self._targets: list[list[Tensor]] = [[torch.empty(0)] * len(self.levels) for _ in specs]
        # Each level has its own stream, so its noise does not depend on the levels above.
        self._generators = [
            [_make_generator(spec, number) for number in range(len(self.levels))] for spec in specs
        ]

    def choose(self, episode: int, latent: Tensor, goal: Tensor) -> Tensor:
        """Return the present subgoal [*latent]."""
        target = goal
        for number in reversed(range(len(self.levels))):
            if self._num_calls[episode] % self.plans[number].every == 0:
                self._targets[episode][number] = self._search(episode, number, latent, target)
            target = self._targets[episode][number]
        self._num_calls[episode] += 1
        return target

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Number of predictions of all levels so far [B]."""
        return self._model_steps

    @torch.no_grad()
    def _search(self, episode: int, number: int, latent: Tensor, target: Tensor) -> Tensor:
        level, plan = self.levels[number], self.plans[number]
        here, there = latent.flatten()[None], target.flatten()[None]
        context = Context(here[:, None], here.new_zeros(1, 0, level.action_size))

        def cost(actions: Tensor) -> Tensor:
            return plan.energy(rollout(level, context, actions), there, actions)

        bound = here.new_full((level.action_size,), MACRO_BOUND)
        found = plan.planner.plan(
            cost,
            bounds=ActionBounds(-bound, bound),
            initial=None,
            generators=[self._generators[episode][number]],
        )
        self._model_steps[episode] += found.num_evaluations * plan.planner.horizon
        places = rollout(level, context, found.actions[:, None])[0, 0]  # [H, D]
        first = found.actions[:, None, :1]
        rest = torch.cat(
            [plan.energy(place[None, None, None], there, first)[0] for place in (here[0], *places)]
        )
        arrived = rest[1] <= ARRIVED_SHARE * rest[0] or int(rest[1:].argmin()) == 0
        return target if arrived else places[0].view_as(target)


def _make_generator(spec: EpisodeSpec, number: int) -> torch.Generator:
    seed = int(
        np.random.SeedSequence([spec.planner_seed, number]).generate_state(1, np.uint64)[0] >> 1
    )
    return torch.Generator().manual_seed(seed)


def train(*, seed: int, levels: dict[str, Any] | None = None, **settings: Any) -> None:
    """Train the levels of a hierarchy and a learned distance on the latents of a world model.

    ``levels`` holds the settings of ``HierarchyConfig``. ``settings`` are the other arguments of
    ``learned_distance.train``.

    Raises:
        ValueError: See ``learned_distance.train``; also if the episodes are shorter than the
            longest window.
    """
    config = make_config("setting of a hierarchy", HierarchyConfig, levels or {})
    data = open_dataset(settings["dataset"], settings["task_id"])
    progress = settings.get("progress", True)

    def also(folder: Path, latents: Tensor) -> None:
        trained = fit_levels(latents, data, config, seed=seed, progress=progress)
        with atomic_write(folder / _WEIGHTS) as partial:
            save_file(trained.state_dict(), partial)

    learned_distance.train(seed=seed, extra={"levels": asdict(config)}, also=also, **settings)


def fit_levels(
    latents: Tensor,
    data: EpisodeDataset,
    config: HierarchyConfig,
    *,
    seed: int,
    progress: bool = True,
) -> nn.ModuleList:
    """Return levels trained on the latents [N, D] of all N frames of a dataset."""
    actions = ActionScale.from_dataset(data).normalise(
        torch.from_numpy(np.array(data.field("action"), np.float32))
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        levels = make_levels(latents.shape[1], actions.shape[1], config)
    for level in levels:
        if isinstance(level, MacroLevel):
            _fit_level(level, latents, actions, data, seed=seed, progress=progress)
    return levels.eval().requires_grad_(False)


def _fit_level(
    level: MacroLevel,
    latents: Tensor,
    actions: Tensor,
    data: EpisodeDataset,
    *,
    seed: int,
    progress: bool,
) -> None:
    config, starts = level.config, torch.from_numpy(data.window_starts(level.window))
    if not len(starts):
        raise ValueError(
            f"A level of stride {level.stride} over {config.rollout_steps} strides needs "
            f"episodes of {level.window - 1} model steps; the longest has "
            f"{int(data.lengths.max())}. Collect longer episodes or use shorter strides."
        )
    level.fit_scale(latents)
    optimizer = torch.optim.Adam(level.parameters(), lr=config.learning_rate)
    offsets = torch.arange(level.window)
    name = f"level of stride {level.stride}"
    for step in tqdm(
        range(config.num_steps), desc=name, unit="step", disable=not progress, leave=False
    ):
        rng, generator = step_generators(seed, step)
        rows = (
            starts[torch.from_numpy(rng.integers(len(starts), size=config.batch_size))][:, None]
            + offsets
        )
        batch = TrajectoryBatch(
            {level.observation_key: latents[rows]}, actions[rows[:, :-1]], latents[rows]
        )
        loss = torch.stack(list(level.losses(batch, generator).values())).sum()
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.num_steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def load_levels(directory: Path, *, task_id: str, world_model: Path) -> list[MacroLevel]:
    """Load the levels that ``train`` saved in ``directory``, the lowest first.

    Raises:
        ValueError: The run is unfinished or damaged, is of another task or world model, or has
            no levels.
    """
    content = read_run(
        directory,
        algorithm=learned_distance.ALGORITHM,
        task_id=task_id,
        world_model=fingerprint(world_model),
    )
    if "levels" not in content:
        raise ValueError(
            f"{directory} holds a learned distance but no levels. Train with "
            "jepabench.agents.subgoals.hierarchy.train."
        )
    try:
        weights = load_file(Path(directory) / _WEIGHTS)
        latent_size = len(weights["0.mean"])
        config = make_config("setting of a hierarchy", HierarchyConfig, content["levels"])
        action_size = weights["0.macro_encoder.0.weight"].shape[1] // config.strides[0]
        levels = make_levels(latent_size, action_size, config)
        levels.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"The levels in {directory} cannot be read ({error}). Delete it and train again."
        ) from error
    return [level.eval().requires_grad_(False) for level in levels if isinstance(level, MacroLevel)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelConfig:
    """Settings of a ``LevelPlan`` whose learned distances come from the folder of the levels.

    Attributes:
        planner, every: See ``LevelPlan``.
        energy: Cost of the predicted latents.
    """

    planner: Planner
    energy: EnergyConfig
    every: int = 3

    def __post_init__(self) -> None:
        require_at_least(1, every=self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class MacroSubgoalsConfig:
    """Settings of ``MacroSubgoals``.

    Attributes:
        levels: Search settings of each level, the lowest first.
    """

    levels: Sequence[LevelConfig]

    def build(self, directory: Path, *, task_id: str, world_model: Path) -> MacroSubgoals:
        """Return the subgoals of the levels in ``directory``; see ``load_levels``."""
        where = {"task_id": task_id, "world_model": world_model}
        head = learned_distance.load_distance(directory, **where)
        plans = [
            LevelPlan(planner=level.planner, energy=level.energy.build(head), every=level.every)
            for level in self.levels
        ]
        return MacroSubgoals(load_levels(directory, **where), plans)

"""Online learning with a planner: act, train on everything so far, and plan again.

Round 0 collects transitions with the reward-free behaviour of the task. In every later round the
planner of the last round acts towards goals that it chose itself: frames that it has seen. The
world model and the policy that proposes plans are then trained from scratch on all data so far.
Neither rewards nor test goals are used, so the transitions count like those of online reinforcement
learning, and the agent at each budget can be compared with it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from numpy.typing import NDArray

from jepabench.agents.collection.planning_behaviour import PlanningBehaviour
from jepabench.agents.model_free.offline import timed
from jepabench.agents.model_free.online.training import budget_folder
from jepabench.agents.model_free.run_folder import close_run, open_run, read_run
from jepabench.agents.mpc.agent import MPCAgent
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.data.collect import collect
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.manifest import Provenance
from jepabench.envs.data.writing import write_dataset
from jepabench.envs.registry import get_task
from jepabench.world_models.settings import make_config, require_at_least
from jepabench.world_models.training.fit import fit

ALGORITHM = "jepa-online"
_MODEL, _PROPOSALS, _ROUND = "world_model", "proposals", "round-{:02d}"
_NUM_HELD_OUT = 2  # episodes for the diagnoses of the training; they count as transitions too


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineConfig:
    """Settings of online planning.

    Attributes:
        budgets: Numbers of transitions (control steps) after which the agent is trained and saved,
            ascending. Each is the end of a round.
        episode_steps: Number of model steps in an episode.
        noise: Standard deviation of the noise on the planner's actions, as a share of the range of
            each action. The noise of a block is kept with probability 1/2.
        goal_steps: Number of model steps for which the planner keeps a goal.
        kind, model, training: Kind, configuration and training settings of the world model; see
            ``jepabench.world_models.training.fit``.
        proposals: Settings of the policy that proposes plans; see ``timed.TimedConfig``.
        agent: Configuration of the agent that collects, with a ``_target_``.
    """

    budgets: Sequence[int] = (1000, 3000, 10_000, 30_000)
    episode_steps: int = 30
    noise: float = 0.2
    goal_steps: int = 10
    kind: str = "jepa"
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    proposals: Mapping[str, Any] = field(default_factory=dict)
    agent: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_at_least(1, episode_steps=self.episode_steps, goal_steps=self.goal_steps)
        require_at_least(0, noise=self.noise)
        if not self.budgets or list(self.budgets) != sorted(set(self.budgets)):
            raise ValueError(
                f"budgets must be ascending numbers of transitions, got {list(self.budgets)}."
            )


def train(
    *,
    task_id: str,
    directory: Path,
    seed: int,
    pixels: int = 64,
    progress: bool = True,
    **settings: Any,
) -> None:
    """Train online, or resume after the last finished round.

    ``directory/budgets`` gets one agent per budget; see ``load_agent``.

    Args:
        task_id: Id of the task.
        directory: Folder of the run.
        seed: Seed of the collection, the goals and all training.
        pixels: Side length of the frames in pixels.
        progress: Whether to show progress bars.
        settings: Fields of ``OnlineConfig``.

    Raises:
        ValueError: The folder holds another run, or the smallest budget is less than an episode.
        UnknownNameError: There is no such setting.
    """
    config, directory = make_config("training setting", OnlineConfig, settings), Path(directory)
    run = {
        "algorithm": ALGORITHM,
        "task_id": get_task(task_id).id,
        "seed": seed,
        "pixels": pixels,
        **asdict(config),
    }
    if open_run(directory, run):
        return
    rounds = _Rounds(get_task(task_id).id, directory, seed, pixels, config, run, progress)
    for number in range(len(config.budgets)):
        rounds.run_round(number)
    last = read_run(budget_folder(directory, config.budgets[-1]))
    cost = {name: last[name] for name in ("transitions", "train_seconds", "parameters")}
    final = directory / "final"
    shutil.rmtree(final, ignore_errors=True)
    shutil.copytree(budget_folder(directory, config.budgets[-1]), final)
    close_run(directory, run, cost)


def load_agent(*, task_id: str, policy: Path, agent: Mapping[str, Any]) -> MPCAgent:
    """Return the planner that a run had at one of its budgets, or at its end.

    Args:
        task_id: Id of the task.
        policy: Folder of the run, or of one of its budgets.
        agent: Configuration of the agent, with a ``_target_``.

    Raises:
        ValueError: The run is not finished.
    """
    folder = policy / "final" if (policy / "final").exists() else policy
    read_run(folder, algorithm=ALGORITHM, task_id=get_task(task_id).id)
    return _build(task_id, folder, agent)


def _build(task_id: str, folder: Path, agent: Mapping[str, Any]) -> MPCAgent:
    return instantiate(
        dict(agent),
        task_id=task_id,
        world_model=folder / _MODEL,
        proposals=folder / _PROPOSALS,
        _convert_="all",
    )


class _Rounds:
    """The rounds of a run. Each finished part of a round is kept after an interruption."""

    def __init__(
        self,
        task_id: str,
        directory: Path,
        seed: int,
        pixels: int,
        config: OnlineConfig,
        run: Mapping[str, Any],
        progress: bool,
    ) -> None:
        self.task_id, self.directory, self.seed, self.pixels = task_id, directory, seed, pixels
        self.config, self.run, self.progress = config, run, progress
        self.per_episode = config.episode_steps * get_task(task_id).action_block
        self.counts = [max(2, budget // self.per_episode) for budget in config.budgets]

    def run_round(self, number: int) -> None:
        """Collect, train and save the agent of a budget."""
        saved = budget_folder(self.directory, self.config.budgets[number])
        if saved.exists():
            return
        folder = self.directory / _ROUND.format(number)
        folder.mkdir(exist_ok=True)
        began = time.monotonic()
        self._collect(number, folder)
        data = self._merge(number, folder)
        collecting = time.monotonic() - began
        self._train(folder, data)
        self._save(number, folder, saved, collecting)

    def _collect(self, number: int, folder: Path) -> None:
        done = self.counts[number - 1] if number else 0
        missing = self.counts[number] - done
        behaviour = None
        if number:
            last = self.directory / _ROUND.format(number - 1)
            behaviour = GoalSeekingBehaviour(last, last / "data", self.config)
        if missing:
            collect(
                self.task_id,
                folder / "collected",
                num_episodes=missing,
                num_steps=self.config.episode_steps,
                behaviour=behaviour,
                pixels=self.pixels,
                num_workers=1,
                # Episodes of different seeds do not overlap.
                first_index=1_000_000 * (self.seed + 1) + done,
                progress=self.progress,
            )

    def _collect_held_out(self) -> EpisodeDataset:
        return collect(
            self.task_id,
            self.directory / "held-out",
            num_episodes=_NUM_HELD_OUT,
            num_steps=self.config.episode_steps,
            split="validation",
            pixels=self.pixels,
            num_workers=1,
            progress=False,
        )

    def _merge(self, number: int, folder: Path) -> EpisodeDataset:
        """Return all episodes up to this round as one dataset."""
        path = folder / "data"
        if not path.exists():
            collected = [
                self.directory / _ROUND.format(earlier) / "collected"
                for earlier in range(number + 1)
            ]
            parts = [EpisodeDataset.open(part) for part in collected if part.exists()]
            provenance = Provenance.of(
                self.task_id,
                behaviour=ALGORITHM,
                split="train",
                strata=get_task(self.task_id).strata,
            )
            episodes = (part[index] for part in parts for index in range(len(part)))
            write_dataset(path, episodes, provenance=provenance)
        return EpisodeDataset.open(path)

    def _train(self, folder: Path, data: EpisodeDataset) -> None:
        model, config = folder / _MODEL, self.config
        if not (model / "model.json").exists():
            fit(
                dataset=data.path,
                validation=self._collect_held_out().path,
                directory=model,
                seed=self.seed,
                kind=config.kind,
                model=config.model,
                training=config.training,
                progress=self.progress,
            )
        timed.train(
            task_id=self.task_id,
            dataset=data.path,
            world_model=model,
            directory=folder / _PROPOSALS,
            seed=self.seed,
            progress=self.progress,
            **config.proposals,
        )

    def _save(self, number: int, folder: Path, saved: Path, collecting: float) -> None:
        partial = saved.with_name("partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / _MODEL).mkdir()
        for name in ("model.json", "weights.safetensors"):
            shutil.copyfile(folder / _MODEL / name, partial / _MODEL / name)
        shutil.copytree(folder / _PROPOSALS, partial / _PROPOSALS)
        model = json.loads((folder / _MODEL / "model.json").read_text(encoding="utf-8"))["metadata"]
        seconds = collecting + model["train_seconds"]
        seconds += read_run(folder / _PROPOSALS)["train_seconds"]
        if number:
            earlier = budget_folder(self.directory, self.config.budgets[number - 1])
            seconds += read_run(earlier)["train_seconds"]
        cost = {
            "transitions": (self.counts[number] + _NUM_HELD_OUT) * self.per_episode,
            "train_seconds": seconds,
            "parameters": model["parameters"],
        }
        close_run(partial, self.run, cost)
        partial.replace(saved)


class GoalSeekingBehaviour(PlanningBehaviour):
    """Acts with a planner towards earlier frames as goals.

    Args:
        folder: Folder of a round, with a world model and proposals.
        seen: Dataset whose frames are the goals.
        config: Settings of the run.
    """

    def __init__(self, folder: Path, seen: Path, config: OnlineConfig) -> None:
        self.folder, self.seen, self.config = Path(folder), Path(seen), config
        weights = (self.folder / _MODEL / "weights.safetensors").read_bytes()
        self.name = f"{ALGORITHM}-{hashlib.sha256(weights).hexdigest()[:12]}"

    def _build(self, task_id: str) -> MPCAgent:
        return _build(task_id, self.folder, self.config.agent)

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode of ``env``. All randomness comes from ``rng``."""
        low, high = env.action_space.low, env.action_space.high
        self._bounds, self._std = (low, high), self.config.noise * (high - low)
        self._frames = EpisodeDataset.open(self.seen).field("pixels")
        self._steps, self._noise = 0, np.zeros(low.shape)
        super().reset(env, rng)

    def _restart(self, agent: MPCAgent) -> None:
        """Choose another goal."""
        self._goal = np.array(self._frames[int(self._rng.integers(len(self._frames)))])
        super()._restart(agent)

    def act(self, observation: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return the action [A] to hold, with noise."""
        if self._agent is None:
            raise RuntimeError("Call reset() first.")
        kept = self.config.goal_steps * self._task.actions_per_block
        if self._steps and self._steps % kept == 0:
            self._restart(self._agent)
        if self._rng.random() < 0.5:
            self._noise = self._rng.normal(size=self._noise.shape) * self._std
        self._steps += 1
        action = super().act({**observation, "goal_pixels": self._goal})
        return np.clip(action + self._noise, *self._bounds).astype(np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("folder", "seen", "config", "name")}

"""Hindsight goals: every later frame of an episode is a goal of the actions before it.

Rewards of the data are not used. The only signal for offline reinforcement learning is whether a
frame is the goal frame, so the methods have to learn the distance between frames.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jepabench.agents.encoding import Table
from jepabench.envs.data.episodes import EpisodeDataset


class GoalMixture(NamedTuple):
    """Shares of the kinds of goals of a value function, which add up to 1.

    Attributes:
        present: Share of goals that are the frame itself, where the value is 0.
        future: Share of later frames of the episode, at geometrically distributed distances.
        random: Share of random frames of the dataset, which connect episodes.
    """

    present: float = 0.2
    future: float = 0.5
    random: float = 0.3


class HindsightPairs:
    """Draws pairs of frames of one episode, 1 to ``max_steps`` model steps apart.

    The first frame is uniform over the transitions of the dataset, and the distance is uniform over
    the rest of its episode.
    """

    def __init__(self, dataset: EpisodeDataset, *, max_steps: int) -> None:
        self._rows = dataset.window_starts(2)
        episode = np.searchsorted(dataset.starts, self._rows, side="right") - 1
        self._last = dataset.starts[episode] + dataset.lengths[episode]
        self._longest = np.minimum(self._last - self._rows, max_steps)
        self._last_row = np.repeat(dataset.starts + dataset.lengths, dataset.lengths + 1)

    def sample(self, num_pairs: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows of the two frames and the model steps between them, int64 [N] each."""
        pick = rng.integers(len(self._rows), size=num_pairs)
        steps = rng.integers(1, self._longest[pick], endpoint=True)
        now = torch.from_numpy(self._rows[pick].astype(np.int64))
        apart = torch.from_numpy(steps.astype(np.int64))
        return now, now + apart, apart

    def draw_value_goals(
        self, now: Tensor, mixture: GoalMixture, *, gamma: float, rng: np.random.Generator
    ) -> Tensor:
        """Draw the rows of goals for a value at the rows ``now``, int64 [N].

        Args:
            now: Rows of the present frames.
            mixture: Shares of the kinds of goals.
            gamma: Discount factor, which is the parameter of the geometric distribution of
                distances to future goals.
            rng: Random generator.
        """
        rows = now.numpy()
        ahead = rng.geometric(1 - gamma, size=len(rows))
        future = np.minimum(rows + ahead, self._last_row[rows])
        anywhere = rng.integers(len(self._last_row), size=len(rows))
        kind = rng.choice(3, size=len(rows), p=mixture)
        return torch.from_numpy(np.choose(kind, [rows, future, anywhere]).astype(np.int64))

    def find_last_row(self, rows: Tensor) -> Tensor:
        """Return the last row of the episode of each row, int64 [N]."""
        return torch.from_numpy(self._last_row[rows.numpy()].astype(np.int64))


class Windows:
    """The last ``history`` frames of an episode up to each row, concatenated.

    At the start of an episode, the first frame is repeated.

    Args:
        frames: All frames of the dataset [num_frames, D], on any device.
        dataset: Dataset of the frames.
        history: Number K of frames in a window.
    """

    def __init__(self, frames: Tensor, dataset: EpisodeDataset, history: int) -> None:
        first = np.repeat(dataset.starts, dataset.lengths + 1)
        self._frames, self._first = frames, torch.from_numpy(first.astype(np.int64))
        self._back = torch.arange(history - 1, -1, -1)
        self.shape: tuple[int, ...] = (len(frames), history * frames.shape[1])

    def to(self, device: torch.device) -> Windows:
        """Move the frames to a device. Rows and windows are indexed on the CPU."""
        self._frames = self._frames.to(device)
        return self

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Return windows [N, K * D]."""
        return self._frames[
            torch.maximum(rows[:, None] - self._back, self._first[rows][:, None])
        ].flatten(1)


class Tables(NamedTuple):
    """A dataset as inputs: frames as present and as goal, and normalised actions [F, A]."""

    now: Table
    goal: Table
    action: Tensor

    def to(self, device: torch.device) -> Tables:
        """Return the tables on a device; frames stay on disk and are moved when they are read."""
        return Tables(self.now.to(device), self.goal.to(device), self.action.to(device))


class GoalBatch:
    """N transitions with goals. A field is gathered when it is first read.

    Rows are on the CPU, where they are drawn. All other fields are on the device of the tables.

    Attributes:
        now_rows, goal_rows: Rows of the present and of a goal later in the episode, int64 [N].
        value_rows: Rows of the goals of a value function, int64 [N].
        steps: Model steps between present and goal, int64 [N].
    """

    def __init__(
        self,
        tables: Tables,
        pairs: HindsightPairs,
        rows: tuple[Tensor, Tensor, Tensor],
        value_rows: Tensor,
    ) -> None:
        self._tables, self._pairs = tables, pairs
        self.now_rows, self.goal_rows, _ = rows
        self.value_rows = value_rows
        self.device = tables.action.device
        self.steps = rows[2].to(self.device)

    @cached_property
    def now(self) -> Tensor:
        """Present inputs [N, D]."""
        return self._tables.now[self.now_rows]

    @cached_property
    def next(self) -> Tensor:
        """Inputs one model step later [N, D]."""
        return self._tables.now[self.now_rows + 1]

    @cached_property
    def action(self) -> Tensor:
        """Normalised actions that led from ``now`` to ``next`` [N, A]."""
        return self._tables.action[self.now_rows]

    @cached_property
    def goal(self) -> Tensor:
        """Goals that the episode reached ``steps`` later [N, D']."""
        return self._tables.goal[self.goal_rows]

    @cached_property
    def value_goal(self) -> Tensor:
        """Goals of the value function [N, D']."""
        return self._tables.goal[self.value_rows]

    @cached_property
    def reached(self) -> Tensor:
        """1.0 where the present frame is the value's goal, else 0.0 [N]."""
        return self.is_goal(0)

    def is_goal(self, num_steps: int) -> Tensor:
        """Return 1.0 where the frame ``num_steps`` from now is the value's goal, else 0.0 [N]."""
        return (self.now_rows + num_steps == self.value_rows).float().to(self.device)

    def select_subgoal(self, num_steps: int) -> tuple[Tensor, Tensor]:
        """Return the frame ``num_steps`` towards the goal, as present [N, D] and as goal [N, D'].

        If the goal is nearer, the goal itself is returned.
        """
        rows = torch.minimum(self.now_rows + num_steps, self.goal_rows)
        return self._tables.now[rows], self._tables.goal[rows]

    def select_transition(self, num_steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the transition ``num_steps`` model steps from now.

        Returns:
            The action [N, A], the frame after it [N, D], and whether the episode is long enough
            [N].
        """
        last = self._pairs.find_last_row(self.now_rows)
        rows = self.now_rows + num_steps
        valid = rows < last
        rows = torch.minimum(rows, last - 1)
        return self._tables.action[rows], self._tables.now[rows + 1], valid.to(self.device)

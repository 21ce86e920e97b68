"""Goals in hindsight: whatever an episode came to later was, looking back, a goal that its actions led to.

Nothing here looks at a reward. Offline reinforcement learning on reward-free data is told only whether a frame *is* the
goal frame; how far apart frames are is what it has to find out.
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
    """Where the goals of a value function come from; the shares add up to 1.

    Attributes:
        present: the frame itself, which is how a value learns where it is 0.
        future: a later frame of the episode, geometrically near.
        random: any frame of the dataset, which is what stitches episodes together.
    """

    present: float = 0.2
    future: float = 0.5
    random: float = 0.3


class HindsightPairs:
    """Pairs of frames of one episode, ``later`` coming 1 to ``max_steps`` model steps after ``now``.

    ``now`` is uniform over the transitions of the dataset, the distance uniform over what its episode has left.
    """

    def __init__(self, dataset: EpisodeDataset, *, max_steps: int) -> None:
        self._rows = dataset.window_starts(2)
        episode = np.searchsorted(dataset.starts, self._rows, side="right") - 1
        self._last = dataset.starts[episode] + dataset.lengths[episode]
        self._longest = np.minimum(self._last - self._rows, max_steps)
        self._last_of = np.repeat(dataset.starts + dataset.lengths, dataset.lengths + 1)

    def sample(self, num_pairs: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the row numbers of ``now`` and of ``later``, and the model steps between, int64 [N] each."""
        pick = rng.integers(len(self._rows), size=num_pairs)
        steps = rng.integers(1, self._longest[pick], endpoint=True)
        now, apart = (
            torch.from_numpy(self._rows[pick].astype(np.int64)),
            torch.from_numpy(steps.astype(np.int64)),
        )
        return now, now + apart, apart

    def value_goals(
        self, now: Tensor, mixture: GoalMixture, *, discount: float, rng: np.random.Generator
    ) -> Tensor:
        """Returns the row numbers of goals for a value at the rows ``now``, int64 [N].

        Args:
            now: rows.
            mixture: kinds of goals.
            discount: of the value; goals in the future are geometrically distributed with it.
            rng: what to draw from.
        """
        rows = now.numpy()
        ahead = rng.geometric(1 - discount, size=len(rows))
        future = np.minimum(rows + ahead, self._last_of[rows])
        anywhere = rng.integers(len(self._last_of), size=len(rows))
        kind = rng.choice(3, size=len(rows), p=mixture)
        return torch.from_numpy(np.choose(kind, [rows, future, anywhere]).astype(np.int64))

    def last_row(self, rows: Tensor) -> Tensor:
        """Returns the last row of the episode of each row, int64 [N]."""
        return torch.from_numpy(self._last_of[rows.numpy()].astype(np.int64))


class Windows:
    """The last ``history`` frames of an episode up to each row, one after the other as a vector; its first one is repeated.

    Args:
        frames: all frames of the dataset [num_frames, D].
        dataset: says where episodes begin.
        history: frames of a window, K.
    """

    def __init__(self, frames: Tensor, dataset: EpisodeDataset, history: int) -> None:
        first = np.repeat(dataset.starts, dataset.lengths + 1)
        self._frames, self._first = frames, torch.from_numpy(first.astype(np.int64))
        self._back = torch.arange(history - 1, -1, -1)
        self.shape: tuple[int, ...] = (len(frames), history * frames.shape[1])

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Returns windows [N, K * D]."""
        return self._frames[
            torch.maximum(rows[:, None] - self._back, self._first[rows][:, None])
        ].flatten(1)


class Tables(NamedTuple):
    """A dataset as a policy sees it: frames as present and as goal, and normalised model-step actions [num_frames, A]."""

    now: Table
    goal: Table
    action: Tensor


class GoalBatch:
    """N transitions with goals; what is not asked for is never gathered.

    Attributes:
        now_rows, goal_rows: frames of the present and of a goal that the episode came to.
        steps: model steps between them, int64 [N].
        value_rows: goals of a value function (``GoalMixture``).
    """

    def __init__(
        self,
        tables: Tables,
        pairs: HindsightPairs,
        rows: tuple[Tensor, Tensor, Tensor],
        value: Tensor,
    ) -> None:
        self._tables, self._pairs = tables, pairs
        self.now_rows, self.goal_rows, self.steps = rows
        self.value_rows = value

    @cached_property
    def now(self) -> Tensor:
        """Inputs [N, D]."""
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
        """A goal that the episode came to ``steps`` later [N, D']."""
        return self._tables.goal[self.goal_rows]

    @cached_property
    def value_goal(self) -> Tensor:
        """A goal for a value function [N, D']."""
        return self._tables.goal[self.value_rows]

    @cached_property
    def reached(self) -> Tensor:
        """Whether the present frame is the value's goal [N], float 0 or 1."""
        return (self.now_rows == self.value_rows).float()

    def on_the_way(self, num_steps: int) -> tuple[Tensor, Tensor]:
        """Returns the frame ``num_steps`` towards ``goal`` (the goal itself if that is nearer), as present and as goal."""
        rows = self.now_rows + self.steps.clamp(max=num_steps)
        return self._tables.now[rows], self._tables.goal[rows]

    def ahead(self, num_steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the action [N, A] taken so many steps from now, the frame [N, D] after it, and whether the episode lasts so long [N]."""
        last = self._pairs.last_row(self.now_rows)
        rows = self.now_rows + num_steps
        within = rows < last
        rows = torch.minimum(rows, last - 1)
        return self._tables.action[rows], self._tables.now[rows + 1], within

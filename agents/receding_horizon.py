"""Receding-horizon control: plan, execute the first blocks, shift the rest and plan again.

The planner only sees a cost function. Learned models and the true simulator are therefore searched
with the same code and the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.agents.base import ActionQueue, check_specs
from jepabench.agents.planners.base import ActionBounds, CostFunction, Plan, Planner
from jepabench.envs.splits import EpisodeSpec
from jepabench.envs.task import TaskSpec
from jepabench.world_models.settings import require_at_least


class RecedingHorizon:
    """Plans for B episodes, which may be at different steps, and fills their action queues.

    Planners work in normalised units, ``(block - action_mean) / action_std``, within the task's
    bounds in those units.

    Args:
        task: Task of the episodes.
        planner: Planner that searches for actions.
        action_mean: Mean of the action of a model step [n * A], in environment units.
        action_std: Standard deviation of the action of a model step [n * A], in environment units.
        execute_steps: Number of blocks executed before the next plan, from 1 to the horizon.
        warm_start: Whether to start a search from the rest of the last plan, with its last action
            repeated, instead of the action 0. A planner with ``num_kept`` > 0 also gets that number
            of runners-up of its last search.
        shrinking: Whether to shorten the horizon after each plan, so that all plans end at the same
            time. Afterwards, the whole horizon is used again. With a constant horizon and a
            terminal cost, an agent may defer the goal forever, and a running cost discourages
            detours.
        device: Device on which plans are searched.
    """

    def __init__(
        self,
        *,
        task: TaskSpec,
        planner: Planner,
        action_mean: NDArray[np.floating],
        action_std: NDArray[np.floating],
        execute_steps: int = 1,
        warm_start: bool = True,
        shrinking: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.task, self.planner, self.warm_start, self.shrinking = (
            task,
            planner,
            warm_start,
            shrinking,
        )
        if shrinking:
            planner.with_horizon(planner.horizon)  # raises TypeError if unsupported
        self.queue = ActionQueue(task=task)
        self._mean, self._std = (
            np.asarray(values, dtype=np.float64) for values in (action_mean, action_std)
        )
        size = self.queue.low.shape
        if self._mean.shape != size or self._std.shape != size:
            raise ValueError(
                f"{task.id}: action_mean and action_std have shape {size} (one model step), "
                f"got {self._mean.shape} and {self._std.shape}."
            )
        if not (self._std > 0).all():
            raise ValueError(
                f"action_std must be above 0, got {self._std.tolist()}. Does the dataset move "
                "every actuator?"
            )
        require_at_least(1, execute_steps=execute_steps)
        if execute_steps > planner.horizon:
            raise ValueError(
                f"execute_steps must be at most the horizon, {planner.horizon}, "
                f"got {execute_steps}."
            )
        self.execute_steps = execute_steps
        self.bounds = ActionBounds(
            torch.from_numpy(self.normalise(self.queue.low)).to(device),
            torch.from_numpy(self.normalise(self.queue.high)).to(device),
        )
        self.reset(())

    def normalise(self, blocks: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return blocks [..., n * A] in normalised units, given environment units."""
        return ((blocks - self._mean) / self._std).astype(np.float32)

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        check_specs(self.task, specs)
        self.queue.reset(len(specs))
        self.model_steps: NDArray[np.int64] = np.zeros(len(specs), dtype=np.int64)
        self._executed: NDArray[np.int64] = np.zeros(len(specs), dtype=np.int64)
        self._generators = [torch.Generator().manual_seed(spec.planner_seed) for spec in specs]
        self._num_kept = self.planner.num_kept
        self._initial = self.bounds.low.new_zeros(
            len(specs), 1 + self._num_kept, self.planner.horizon, len(self.bounds.low)
        )

    def horizon(self, episode: int) -> int:
        """Return the number of model steps of the next plan of an episode."""
        whole = self.planner.horizon
        return whole - int(self._executed[episode]) % whole if self.shrinking else whole

    def plan(
        self, episodes: Sequence[int], cost: CostFunction, *, proposals: Tensor | None = None
    ) -> Plan:
        """Plan for ``episodes`` in one batch and queue the blocks to execute.

        Args:
            episodes: Indices of episodes whose next plans have the same horizon.
            cost: Cost function of these episodes, in the same order.
            proposals: Additional initial plans [B, P, H, A], or None.
        """
        rows, horizon = list(episodes), self.horizon(episodes[0])
        planner = self.planner.with_horizon(horizon) if self.shrinking else self.planner
        initial = self._initial[rows][:, :, :horizon]
        if proposals is not None:
            initial = torch.cat([initial, proposals], dim=1)
            # A proposal takes one rollout.
            self.model_steps[rows] += proposals.shape[1] * horizon
        plan = planner.plan(
            cost,
            bounds=self.bounds,
            initial=initial[:, 0] if initial.shape[1] == 1 else initial,
            generators=[self._generators[row] for row in rows],
        )
        if self.warm_start:
            starts = plan.actions[:, None]
            if self._num_kept and plan.others is not None:
                starts = torch.cat([starts, plan.others[:, : self._num_kept]], dim=1)
            self._initial[rows] = self._shift(starts)
        self.model_steps[rows] += plan.num_evaluations * horizon
        self._executed[rows] += min(self.execute_steps, horizon)
        blocks = plan.actions[:, : self.execute_steps].cpu().numpy() * self._std + self._mean
        for row, executed in zip(rows, blocks, strict=True):
            self.queue.put(row, executed)
        return plan

    def _shift(self, actions: Tensor) -> Tensor:
        """Drop the executed steps of plans [B, P, h, A] and repeat the last action up to H."""
        rest = actions[:, :, self.execute_steps :]
        missing = self.planner.horizon - rest.shape[2]
        return torch.cat([rest, actions[:, :, -1:].expand(-1, -1, missing, -1)], dim=2)

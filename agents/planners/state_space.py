"""Joint optimisation of states and actions, with all steps in parallel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from jepabench.agents.planners.base import ActionBounds, BasePlanner, Plan, SearchProblem
from jepabench.agents.planners.gradient import GradientPlanner
from jepabench.agents.planners.noise import draw_normal
from jepabench.agents.planners.progress import BestSoFar
from jepabench.world_models.settings import require_at_least


@runtime_checkable
class StateSpaceCost(Protocol):
    """A cost function with access to its dynamics."""

    def __call__(self, actions: Tensor) -> Tensor:
        """Return costs [B, S] of actions [B, S, H, A], as ``CostFunction``."""
        ...

    @property
    def start(self) -> Tensor:
        """Present latent of each problem [B, *latent]."""
        ...

    @property
    def goal(self) -> Tensor:
        """Goal latent of each problem [B, *latent]."""
        ...

    def transitions(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict every step separately.

        ``states`` [B, S, H, *latent] are the latents after each action. The result has the same
        shape.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpacePlanner(BasePlanner):
    """Optimise virtual states and actions as in GRASP (2026), then refine on the rollout.

    Minimises the sum over steps of |F(s_h, a_h) - s_{h+1}|^2 + ``goal_weight`` |F(s_h, a_h) -
    goal|^2 with the gradient into F's state argument stopped, so that no gradient passes through
    more than one step of the model: long horizons neither explode nor vanish, and the H predictions
    of an iteration are one batch. States start on the line from start to goal and get decaying
    noise; actions get no noise. Every ``sync_every`` iterations and at the end, ``sync_steps``
    steps of plain gradient descent on the rollout's cost follow, and the plans are scored.
    Ours differs in using Adam and parallel starts.

    Attributes:
        horizon: Model steps of a plan.
        num_starts: Number of parallel trajectories.
        num_iterations: Steps on states and actions.
        learning_rate, state_rate: Learning rates of Adam for actions and states.
        goal_weight: See above.
        state_noise: Noise of the first iteration, in units of the latent. It decays linearly to 0.
        initial_std: Spread of the starting actions.
        sync_every, sync_steps, sync_rate: See above; the rate is that of Adam on the rollout's
            cost.
    """

    horizon: int = 5
    num_starts: int = 8
    num_iterations: int = 40
    learning_rate: float = 0.1
    state_rate: float = 0.1
    goal_weight: float = 0.3
    state_noise: float = 0.1
    initial_std: float = 0.5
    sync_every: int = 20
    sync_steps: int = 5
    sync_rate: float = 0.1

    def __post_init__(self) -> None:
        require_at_least(
            1, horizon=self.horizon, num_starts=self.num_starts, num_iterations=self.num_iterations
        )
        require_at_least(1, sync_every=self.sync_every, sync_steps=self.sync_steps)
        require_at_least(
            0,
            learning_rate=self.learning_rate,
            state_rate=self.state_rate,
            sync_rate=self.sync_rate,
        )
        require_at_least(
            0,
            goal_weight=self.goal_weight,
            state_noise=self.state_noise,
            initial_std=self.initial_std,
        )

    @torch.enable_grad()
    def search(self, problem: SearchProblem) -> Plan:
        """Find low-cost plans for B problems; see ``BasePlanner.search``.

        Raises:
            ValueError: The cost is not a ``StateSpaceCost``.
        """
        cost, bounds, generators = problem.cost, problem.bounds, problem.generators
        if not isinstance(cost, StateSpaceCost):
            raise ValueError(
                "The state-space planner needs a cost with start, goal and transitions "
                "(StateSpaceCost), as a world model "
                f"gives it; got {type(cost).__name__}. Use a planner that only needs costs."
            )
        starts = problem.starts
        actions = starts[:, :1] + self.initial_std * self._draw_noise(
            starts.shape[2:], generators, like=starts
        )
        actions[:, : starts.shape[1]] = starts[:, : self.num_starts]
        actions = problem.clamp(actions)
        states = self._interpolate_states(cost.start, cost.goal)
        best, evaluations = BestSoFar(starts[:, 0]), 0
        polish = GradientPlanner(
            horizon=self.horizon,
            num_starts=self.num_starts,
            num_iterations=self.sync_steps,
            learning_rate=self.sync_rate,
        )
        for first in range(0, self.num_iterations, self.sync_every):
            last = min(first + self.sync_every, self.num_iterations)
            actions, states = self._descend(cost, actions, states, bounds, generators, first, last)
            best.update(actions, problem.score(actions))
            polished = polish.plan(cost, bounds=bounds, initial=actions, generators=generators)
            best.update(polished.actions[:, None], polished.cost[:, None])
            actions = torch.cat([best.actions[:, None], actions[:, 1:]], dim=1)
            evaluations += self.num_starts * (last - first + 1) + int(polished.num_evaluations)
        return Plan(best.actions, best.cost, evaluations, self.num_iterations)

    def _descend(
        self,
        cost: StateSpaceCost,
        actions: Tensor,
        states: Tensor,
        bounds: ActionBounds,
        generators: Sequence[torch.Generator],
        first: int,
        last: int,
    ) -> tuple[Tensor, Tensor]:
        """Return actions and states after the iterations ``first`` to ``last``."""
        actions, states = actions.clone().requires_grad_(True), states.clone().requires_grad_(True)
        optimizer = torch.optim.Adam(
            [
                {"params": [actions], "lr": self.learning_rate},
                {"params": [states], "lr": self.state_rate},
            ]
        )
        for iteration in range(first, last):
            optimizer.zero_grad()
            predicted = cost.transitions(states.detach(), actions)
            off = (predicted - states).square().flatten(3).mean(3).sum(2)
            away = (predicted - cost.goal[:, None, None]).square().flatten(3).mean(3).sum(2)
            loss = off + self.goal_weight * away
            torch.where(loss.isfinite(), loss, 0.0).sum().backward(inputs=[actions, states])
            for part in (actions, states):
                if part.grad is not None:
                    part.grad.nan_to_num_(0.0, 0.0, 0.0)
            optimizer.step()
            with torch.no_grad():
                actions.clamp_(bounds.low, bounds.high)
                left = 1 - (iteration + 1) / self.num_iterations
                states += (
                    self.state_noise
                    * left
                    * self._draw_noise(states.shape[2:], generators, like=states)
                )
        return actions.detach(), states.detach()

    def _draw_noise(
        self, shape: Sequence[int], generators: Sequence[torch.Generator], *, like: Tensor
    ) -> Tensor:
        return draw_normal((self.num_starts, *shape), generators, like=like)

    def _interpolate_states(self, start: Tensor, goal: Tensor) -> Tensor:
        """Return states [B, S, H, *latent] on the line from start to goal, the goal last."""
        share = torch.linspace(0, 1, self.horizon + 1)[1:].to(start)
        share = share.reshape(1, 1, -1, *[1] * (start.ndim - 1))
        line = start[:, None, None] + share * (goal - start)[:, None, None]
        return line.expand(-1, self.num_starts, *line.shape[2:])

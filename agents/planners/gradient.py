"""Gradient-based planning: descend on the actions through the model, from several starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepabench.agents.planners.base import ActionBounds, BasePlanner, Plan, SearchProblem
from jepabench.agents.planners.noise import draw_normal
from jepabench.agents.planners.progress import BestSoFar, Progress
from jepabench.envs.errors import unknown_name
from jepabench.world_models.settings import require_at_least

BOUNDS_BY = ("projection", "tanh")
OPTIMIZERS = ("adam", "sgd", "normalised")


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientPlanner(BasePlanner):
    """Descends on the actions of ``num_starts`` plans in parallel; the best plan ever scored wins.

    The first starts are the warm starts; the others are Gaussian around the first one. Each
    iteration is one forward and one backward pass, counted as one evaluation per plan. The starts
    are independent of each other.

    Attributes:
        horizon: Model steps of a plan.
        num_starts: Number of plans that descend in parallel.
        num_iterations: Gradient steps.
        optimizer: ``adam`` (Kingma and Ba, 2015); ``sgd``, steps of learning rate times gradient,
            whose size depends on the scale of the cost; ``normalised``, steps of constant length
            along the gradient of a plan.
        learning_rate: Size of the first steps, in units of the cost function's actions (for ``sgd``
            see there); it falls linearly to a tenth.
        initial_std: Spread of the random starts, same units.
        noise_std: Noise added to the actions after each step, same units; it decays linearly to 0.
            The warm start gets no noise.
        bounds_by: ``projection`` clamps after each step; ``tanh`` descends on u with action =
            middle + half range * tanh(u), which needs finite bounds.
        patience, tolerance: A problem stops when its best cost has not fallen by more than the
            share ``tolerance`` within ``patience`` iterations. Patience 0 disables the stop.
    """

    horizon: int = 5
    num_starts: int = 16
    num_iterations: int = 30
    optimizer: str = "adam"
    learning_rate: float = 0.3
    initial_std: float = 1.0
    noise_std: float = 0.0
    bounds_by: str = "projection"
    patience: int = 0
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        require_at_least(
            1, horizon=self.horizon, num_starts=self.num_starts, num_iterations=self.num_iterations
        )
        require_at_least(
            0,
            learning_rate=self.learning_rate,
            initial_std=self.initial_std,
            noise_std=self.noise_std,
        )
        require_at_least(0, patience=self.patience, tolerance=self.tolerance)
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZERS)
        if self.bounds_by not in BOUNDS_BY:
            raise unknown_name("value of bounds_by", self.bounds_by, BOUNDS_BY)

    @torch.enable_grad()
    def search(self, problem: SearchProblem) -> Plan:
        """Find low-cost plans for B problems; see ``BasePlanner.search``.

        Raises:
            ValueError: The cost is not differentiable in the actions, or the bounds are
                infinite with ``tanh``.
        """
        starts, bounds, generators = problem.starts, problem.bounds, problem.generators
        squash = _Squash(bounds) if self.bounds_by == "tanh" else None
        best = BestSoFar(starts[:, 0])
        progress = Progress(len(starts), patience=self.patience, tolerance=self.tolerance)
        free = self._make_starts(starts, bounds, generators)
        if squash:
            free = squash.inverse(free)
        free.requires_grad_(True)
        descent = _Descent(self.optimizer, free)
        for iteration in range(self.num_iterations):
            left = 1 - iteration / self.num_iterations
            actions = squash(free) if squash else free
            costs = problem.score(actions)
            best.update(actions.detach(), costs.detach(), active=progress.searching)
            if not progress.update(best.cost, evaluations=self.num_starts):
                break
            grad = _gradient(costs, free)
            with torch.no_grad():
                descent.step(grad, learning_rate=self.learning_rate * (0.1 + 0.9 * left))
                if self.noise_std > 0 and self.num_starts > 1:
                    shape = (self.num_starts - 1, *starts.shape[2:])
                    noise = draw_normal(shape, generators, like=starts, active=progress.searching)
                    free[:, 1:] += noise * (self.noise_std * (left - 1 / self.num_iterations))
                if not squash:
                    free.clamp_(bounds.low, bounds.high)
        if progress.active.any():
            with torch.no_grad():
                actions = squash(free) if squash else free.detach()
                best.update(actions, problem.score(actions), active=progress.searching)
        extra = self.num_starts * progress.active.numpy()
        return Plan(
            best.actions, best.cost, progress.evaluations(extra), int(progress.iterations.max())
        )

    def _make_starts(
        self, starts: Tensor, bounds: ActionBounds, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """Return the first candidates [B, S, H, A]; those given come first."""
        given = starts[:, : self.num_starts]
        noise = (
            draw_normal((self.num_starts, *starts.shape[2:]), generators, like=starts)
            * self.initial_std
        )
        free = (starts[:, :1] + noise).clamp(bounds.low, bounds.high)
        free[:, : given.shape[1]] = given
        return free


class _Squash:
    """A smooth map from R to the bounds."""

    def __init__(self, bounds: ActionBounds) -> None:
        if not bool((bounds.low.isfinite() & bounds.high.isfinite()).all()):
            raise ValueError("bounds_by='tanh' needs finite bounds; use bounds_by='projection'.")
        self.bounds = bounds
        self.middle, self.half = (bounds.high + bounds.low) / 2, (bounds.high - bounds.low) / 2

    def __call__(self, free: Tensor) -> Tensor:
        # Middle plus half a range may round to just outside.
        return (self.middle + self.half * free.tanh()).clamp(self.bounds.low, self.bounds.high)

    def inverse(self, actions: Tensor) -> Tensor:
        # A start on a bound would be at infinity, where the gradient is 0.
        return ((actions - self.middle) / self.half).clamp(-0.99, 0.99).atanh()


class _Descent:
    """Updates of ``optimizer`` to plans [B, S, H, A], in place.

    They are those of ``torch.optim``, whose bookkeeping takes longer than the arithmetic.
    """

    beta1, beta2, eps = 0.9, 0.999, 1e-8  # of Adam

    def __init__(self, optimizer: str, plans: Tensor) -> None:
        self.optimizer, self.plans, self.steps = optimizer, plans, 0
        self.mean, self.square = torch.zeros_like(plans), torch.zeros_like(plans)

    def step(self, grad: Tensor, *, learning_rate: float) -> None:
        """Make one step, given the gradient [B, S, H, A]."""
        if self.optimizer != "adam":
            if self.optimizer == "normalised":
                grad = grad / grad.norm(dim=(2, 3), keepdim=True).clamp(min=1e-12)
            self.plans.sub_(grad, alpha=learning_rate)
            return
        self.steps += 1
        self.mean.lerp_(grad, 1 - self.beta1)
        self.square.mul_(self.beta2).addcmul_(grad, grad, value=1 - self.beta2)
        scale = (1 - self.beta2**self.steps) ** 0.5
        root = self.square.sqrt().div_(scale).add_(self.eps)
        rate = learning_rate / (1 - self.beta1**self.steps)
        self.plans.addcdiv_(self.mean, root, value=-rate)


def _gradient(costs: Tensor, free: Tensor) -> Tensor:
    """Return the gradient of each candidate's cost; it is 0 where the cost is not finite."""
    if not costs.requires_grad:
        raise ValueError(
            "The cost does not depend differentiably on the actions; use a planner that "
            "only samples (CEM)."
        )
    (grad,) = torch.autograd.grad(
        costs, free, grad_outputs=costs.isfinite().to(costs), materialize_grads=True
    )
    return grad.nan_to_num(0.0, 0.0, 0.0)

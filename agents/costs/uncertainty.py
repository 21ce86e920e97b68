"""Costs of uncertainty: disagreement of an ensemble (epistemic) and random futures (aleatoric)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from jepabench.agents.costs.energy import EnergyTerm, GoalDistance
from jepabench.envs.errors import unknown_name
from jepabench.world_models.base import Context, WorldModel
from jepabench.world_models.settings import require_at_least

RISKS = ("mean", "worst", "best")


@runtime_checkable
class Disagreeing(Protocol):
    """A world model that estimates its epistemic uncertainty."""

    def disagreement(self, context: Context, actions: Tensor) -> Tensor:
        """Return the uncertainty [B, S, H] of candidates [B, S, H, A], 0 or more."""
        ...


@runtime_checkable
class StochasticModel(Protocol):
    """A world model that samples futures of a stochastic world."""

    def futures(
        self, context: Context, actions: Tensor, *, num_futures: int, generator: torch.Generator
    ) -> Tensor:
        """Draw M futures [B, S, M, H, *latent] of each candidate [B, S, H, A]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Disagreement of the members of an ensemble, averaged over the steps of a plan, as in PLDM.

    A positive weight keeps plans where the model is reliable. A negative weight rewards exploration
    (``jepabench.agents.collection.curiosity``).

    Attributes:
        gamma: Weight of a step relative to the step before it, in (0, 1].
        name, weight: See ``EnergyTerm``.
    """

    gamma: float = 1.0
    name: str = "disagreement"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must be above 0 and at most 1, got {self.gamma}.")

    def bind(self, model: WorldModel, context: Context) -> EnergyTerm:
        """Return the term for plans from ``context``.

        Raises:
            TypeError: The model has no ``disagreement``.
        """
        if not isinstance(model, Disagreeing):
            raise _missing_method(self.name, "disagreement", model, kind="ensemble")

        def cost(latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
            del latents, goal
            apart = model.disagreement(context, actions)
            steps = torch.arange(apart.shape[2], dtype=apart.dtype, device=apart.device)
            weights = self.gamma**steps
            return (apart * weights).sum(2) / weights.sum()

        return BoundTerm(self.name, self.weight, cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverFutures:
    """Another term, evaluated on sampled futures instead of the most likely one.

    All candidates use the same draws in every iteration and every plan (fixed scenarios, as in
    PEGASUS, Ng & Jordan 2000), so that the search cannot exploit lucky draws.

    Attributes:
        term: Term to evaluate on each future.
        num_futures: Number M of futures.
        risk: Cost of a plan over its futures, the "mean", the "worst" or the "best" (optimistic).
        seed: Seed of the futures.
        name, weight: See ``EnergyTerm``. Those of ``term`` are ignored.
    """

    term: EnergyTerm = field(default_factory=GoalDistance)
    num_futures: int = 8
    risk: str = "mean"
    seed: int = 0
    name: str = "goal"
    weight: float = 1.0

    def __post_init__(self) -> None:
        require_at_least(1, num_futures=self.num_futures)
        if self.risk not in RISKS:
            raise unknown_name("risk", self.risk, RISKS)

    def bind(self, model: WorldModel, context: Context) -> EnergyTerm:
        """Return the term for plans from ``context``.

        Raises:
            TypeError: The model has no ``futures``.
        """
        if not isinstance(model, StochasticModel):
            raise _missing_method(self.name, "futures", model, kind="latent-variable")

        def cost(latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
            del latents
            generator = torch.Generator().manual_seed(self.seed)
            futures = model.futures(
                context, actions, num_futures=self.num_futures, generator=generator
            )
            repeated = actions.repeat_interleave(self.num_futures, dim=1)
            costs = self.term(futures.flatten(1, 2), goal, repeated).view(
                *actions.shape[:2], self.num_futures
            )
            if self.risk == "mean":
                return costs.mean(2)
            return costs.amax(2) if self.risk == "worst" else costs.amin(2)

        return BoundTerm(self.name, self.weight, cost)


class _Cost(Protocol):
    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class BoundTerm:
    """A term that is bound to a model and a context; see ``EnergyTerm``."""

    name: str
    weight: float
    cost: _Cost

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S]."""
        return self.cost(latents, goal, actions)


def _missing_method(term: str, method: str, model: WorldModel, *, kind: str) -> TypeError:
    return TypeError(
        f"{term!r} needs a world model with {method}(), and {type(model).__name__} has none. "
        f"Use a world model of kind {kind}."
    )

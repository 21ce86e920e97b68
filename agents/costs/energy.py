"""Costs of imagined trajectories: named terms of latents, goal and actions, and their weighted sum.

Lower is better, and NaN counts as infinite. A term is a frozen dataclass with a ``name``, a
``weight`` and a call. A new term, such as a guardrail or an uncertainty penalty, is one small class
in any package; a configuration refers to it with ``_target_``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import lru_cache
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from jepabench.envs.errors import unknown_name
from jepabench.world_models.base import Context, WorldModel

DISTANCES = ("l2", "l1", "cosine")
WHEN = ("terminal", "running", "last_k")


class Term(Protocol):
    """Name and weight of a term."""

    @property
    def name(self) -> str:
        """Name in reports. Names are unique within an energy."""
        ...

    @property
    def weight(self) -> float:
        """Weight of the term in the sum."""
        ...


class EnergyTerm(Term, Protocol):
    """A cost of imagined trajectories."""

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S].

        Args:
            latents: Imagined latents [B, S, H, *latent]; entry h follows action h.
            goal: Latents of the goals [B, *latent].
            actions: Candidate plans [B, S, H, A].
        """
        ...


@runtime_checkable
class ModelTerm(Term, Protocol):
    """A term that needs more of the model than imagined latents, such as its uncertainty.

    Before each plan, ``bind`` turns it into an ``EnergyTerm``.
    """

    def bind(self, model: WorldModel, context: Context) -> EnergyTerm:
        """Return the term for plans that start from ``context``, with the same name and weight."""
        ...


@lru_cache(maxsize=128)
def step_weights(horizon: int, *, when: str, running_weight: float, k: int) -> Tensor:
    """Return the weight of each step of a plan [H], not to be changed. The weights sum to 1.

    Args:
        horizon: Number H of steps in a plan.
        when: ``terminal`` weights only the last step, ``last_k`` the last k steps equally, and
            ``running`` all steps.
        running_weight: Weight of the steps before the last one in ``running``, relative to it.
        k: Number of steps of ``last_k``.
    """
    with torch.inference_mode(mode=False):  # the tensor may take part in a backward pass later
        weights = torch.zeros(horizon, device="cpu")
        if when == "running":
            weights[:] = running_weight
        elif when == "last_k":
            weights[-k:] = 1.0
        weights[-1] = 1.0
        return weights / weights.sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWeighting:
    """A cost that averages a distance to the goal over the steps of a plan.

    The default is the running cost. When fewer steps are executed than planned, a terminal cost
    ignores the executed steps, and progress can be postponed beyond them indefinitely.

    Attributes:
        when: ``terminal``, ``running`` or ``last_k``; see ``step_weights``.
        running_weight: Weight of the steps before the last one relative to it, 0 to 1.
        k: Number of steps of ``last_k``.
    """

    when: str = "running"
    running_weight: float = 0.25
    k: int = 3

    def __post_init__(self) -> None:
        if self.when not in WHEN:
            raise unknown_name("value of when", self.when, WHEN)
        if not 0 <= self.running_weight <= 1:
            raise ValueError(
                "running_weight must be from 0 to 1 (relative to the weight of the last step), got "
                f"{self.running_weight}."
            )
        if self.k < 1:
            raise ValueError(f"k (number of last steps) must be at least 1, got {self.k}.")

    def average(self, distance: Callable[[Tensor], Tensor], latents: Tensor) -> Tensor:
        """Return the weighted mean distance [B, S] of latents [B, S, H, *latent].

        ``distance`` maps latents [B, S, N, *latent] to distances [B, S, N]. Steps before the first
        one with a weight are left out, so that a terminal cost computes one distance instead of H.
        """
        horizon = latents.shape[2]
        weights = step_weights(
            horizon, when=self.when, running_weight=self.running_weight, k=self.k
        )
        first = {"running": 0, "last_k": max(0, horizon - self.k), "terminal": horizon - 1}[
            self.when
        ]
        distances = distance(latents[:, :, first:])
        return (distances * weights[first:].to(distances)).sum(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalDistance(StepWeighting):
    """Distance between imagined latents and the goal's latent, averaged over latent dimensions.

    Attributes:
        kind: ``l2`` (mean squared difference, as in DINO-WM and LeWM up to their factor D), ``l1``
            (mean absolute difference, as in V-JEPA 2-AC) or ``cosine`` (1 - cosine similarity over
            the last axis).
        dims: Range ``(start, stop)`` of the compared entries on the last axis of a latent; None for
            all. A model of the true state (the state twin) compares only the entries of the goal.
        name, weight: See ``Term``.
    """

    kind: str = "l2"
    dims: tuple[int, int] | None = None
    name: str = "goal"
    weight: float = 1.0

    def __post_init__(self) -> None:
        StepWeighting.__post_init__(self)
        if self.kind not in DISTANCES:
            raise unknown_name("kind of distance", self.kind, DISTANCES)
        if self.dims is not None and not 0 <= self.dims[0] < self.dims[1]:
            raise ValueError(
                f"dims must be (first, end) with 0 <= first < end, got {tuple(self.dims)}."
            )

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S]."""
        del actions
        if self.dims is not None:
            latents, goal = latents[..., slice(*self.dims)], goal[..., slice(*self.dims)]
        return self.average(lambda imagined: self._distance(imagined, goal[:, None, None]), latents)

    def _distance(self, latents: Tensor, goal: Tensor) -> Tensor:
        if self.kind == "cosine":
            apart = 1 - torch.nn.functional.cosine_similarity(latents, goal, dim=-1)
            return apart.flatten(3).mean(3) if apart.ndim > 3 else apart
        difference = latents - goal
        apart = difference.square() if self.kind == "l2" else difference.abs()
        return apart.flatten(3).mean(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LearnedTerm(StepWeighting):
    """Name and weight of a learned distance."""

    name: str = "learned"
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedDistanceConfig(_LearnedTerm):
    """Settings of a ``LearnedDistance`` whose head is the agent's ``distance`` artifact."""

    def build(self, head: Callable[[Tensor, Tensor], Tensor]) -> LearnedDistance:
        """Return the term with a trained head."""
        return LearnedDistance(head=head, **asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedDistance(_LearnedTerm):
    """A trained distance between imagined latents and the goal's latent.

    Attributes:
        head: Maps latents [..., D] and goals [..., D], which broadcast, to distances [...];
            see ``jepabench.agents.costs.learned_distance.load_distance``.
    """

    head: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S]."""
        del actions
        target = goal[:, None, None].flatten(3)
        return self.average(lambda imagined: self.head(imagined.flatten(3), target), latents)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEffort:
    """Mean squared action in normalised units, where 0 is the mean action of the data.

    The term keeps plans near the data.
    """

    name: str = "effort"
    weight: float = 0.01

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S]."""
        del latents, goal
        return actions.square().mean((2, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSmoothness:
    """Mean squared change from one planned action to the next, in normalised units.

    A plan of one step costs 0.
    """

    name: str = "smoothness"
    weight: float = 0.01

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S]."""
        del latents, goal
        if actions.shape[2] == 1:
            return actions.new_zeros(actions.shape[:2])
        return actions.diff(dim=2).square().mean((2, 3))


class Energy:
    """The weighted sum of named terms.

    Args:
        terms: Terms with unique names, at least one. By default, the distance to the goal.
    """

    def __init__(self, *, terms: Sequence[EnergyTerm | ModelTerm] = (GoalDistance(),)) -> None:
        names = [term.name for term in terms]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"An energy needs at least one term and unique names, got {names}. Give each "
                "term a name=."
            )
        self.terms = tuple(terms)
        self._unbound = [term.name for term in terms if isinstance(term, ModelTerm)]

    def to(self, device: torch.device) -> Energy:
        """Move the networks and tensors of the terms, such as learned distances, to a device."""
        self.terms = tuple(_move_term(term, device) for term in self.terms)
        return self

    def bind(self, model: WorldModel, context: Context) -> Energy:
        """Return the energy for plans that start from ``context``, with all terms bound to it."""
        if not self._unbound:
            return self
        return Energy(
            terms=[
                term.bind(model, context) if isinstance(term, ModelTerm) else term
                for term in self.terms
            ]
        )

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S], lower is better, NaN as +inf.

        Args:
            latents: Imagined latents [B, S, H, *latent]; entry h follows action h.
            goal: Latents of the goals [B, *latent].
            actions: Normalised actions [B, S, H, A] of the model steps.

        Raises:
            RuntimeError: A term needs the model; call ``bind`` first.
        """
        costs = list(self.terms_report(latents, goal, actions).values())
        total = costs[0] if len(costs) == 1 else torch.stack(costs).sum(0)
        return total.nan_to_num(torch.inf, torch.inf, -torch.inf)

    def terms_report(self, latents: Tensor, goal: Tensor, actions: Tensor) -> dict[str, Tensor]:
        """Return the weighted cost [B, S] of each term by name; see ``__call__``."""
        if self._unbound:
            raise RuntimeError(
                f"The energy term {self._unbound[0]!r} needs the model. Call "
                "energy.bind(model, context) before each plan, as MPCAgent does."
            )
        return {
            term.name: term.weight * cast(EnergyTerm, term)(latents, goal, actions)
            for term in self.terms
        }


def _move_term(term: Any, device: torch.device) -> Any:
    """Return a term with its networks (in place) and its tensors on a device."""
    if not is_dataclass(term) or isinstance(term, type):
        return term
    moved = {}
    for name in (field.name for field in fields(term)):
        value = getattr(term, name)
        if isinstance(value, torch.nn.Module):
            value.to(device)
        elif isinstance(value, Tensor):
            moved[name] = value.to(device)
        elif (inner := _move_term(value, device)) is not value:  # a term within a term
            moved[name] = inner
    return replace(term, **moved) if moved else term


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyConfig:
    """Settings of an energy whose learned distances come from an artifact of the agent.

    Attributes:
        terms: Terms, or settings of learned distances.
    """

    terms: Sequence[EnergyTerm | ModelTerm | LearnedDistanceConfig]

    def build(self, head: Callable[[Tensor, Tensor], Tensor] | None) -> Energy:
        """Return the energy with ``head`` in each learned distance.

        Raises:
            ValueError: There is a learned distance and no head.
        """
        terms: list[EnergyTerm | ModelTerm] = []
        for term in self.terms:
            if not isinstance(term, LearnedDistanceConfig):
                terms.append(term)
            elif head is None:
                raise ValueError(
                    f"The energy term {term.name!r} needs a trained distance, and the agent "
                    "has none. Build it with distance=FOLDER."
                )
            else:
                terms.append(term.build(head))
        return Energy(terms=terms)

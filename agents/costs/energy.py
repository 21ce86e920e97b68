"""Costs of imagined trajectories: named terms of latents, goal and actions, and their weighted sum.

Lower is better, and the sum never is NaN. A term is a frozen dataclass with a ``name``, a
``weight`` and a call, so that a new one (a guardrail, an uncertainty penalty, a learned distance)
is one small class anywhere, named in a configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from jepabench.envs.errors import unknown_name
from jepabench.world_models.base import Context, WorldModel

DISTANCES = ("l2", "l1", "cosine")
WHEN = ("terminal", "running", "last_k")


class EnergyTerm(Protocol):
    """One reason to like or dislike a plan."""

    @property
    def name(self) -> str:
        """Its name in reports, unique within an energy."""
        ...

    @property
    def weight(self) -> float:
        """What it counts in the sum."""
        ...

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S] of latents [B, S, H, *latent] (entry h after action h), goal [B,
        *latent], actions [B, S, H, A].
        """
        ...


@runtime_checkable
class ModelTerm(Protocol):
    """A term that needs more of the model than imagined latents, such as its uncertainty.

    It has no cost of its own. Before each plan, ``bind`` turns it into a term that has one.
    """

    @property
    def name(self) -> str:
        """Name in reports, unique within an energy."""
        ...

    @property
    def weight(self) -> float:
        """Factor of the term in the sum."""
        ...

    def bind(self, model: WorldModel, context: Context) -> EnergyTerm:
        """Return the term for plans that start from ``context``, with the same name and weight."""
        ...


def step_weights(horizon: int, *, when: str, running_weight: float, k: int) -> Tensor:
    """Return what each step of a plan counts [H]; the sum is 1, so that a cost keeps its scale
    whatever ``when`` says.

    ``terminal`` counts the last step only; ``last_k`` the last k alike; ``running`` all of them,
    those before the last by ``running_weight`` of it.
    """
    weights = torch.zeros(horizon)
    if when == "running":
        weights[:] = running_weight
    elif when == "last_k":
        weights[-k:] = 1.0
    weights[-1] = 1.0
    return weights / weights.sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalDistance:
    """Distance of the imagined latents to the goal's, averaged over the latent dimensions.

    The preset is the running cost: when fewer steps are executed than planned, a terminal cost says
    nothing about those that are, and a plan may put off what it never gets to do.

    Attributes:
        kind: ``l2`` (mean squared difference, as in DINO-WM and LeWM up to their factor D), ``l1``
            (mean absolute difference, as in V-JEPA 2-AC) or ``cosine`` (1 - cosine similarity over
            the last axis).
        when: ``terminal``, ``running`` or ``last_k`` (see ``step_weights``).
        running_weight: what a step before the last counts, in units of the last, 0 to 1.
        k: steps of ``last_k``.
        dims: first and past-the-last index of the entries on the latent's last axis to compare;
            None for all. A model of the true state (the state twin) compares only those of the
            goal.
        name, weight: see ``EnergyTerm``.
    """

    kind: str = "l2"
    when: str = "running"
    running_weight: float = 0.25
    k: int = 3
    dims: tuple[int, int] | None = None
    name: str = "goal"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in DISTANCES:
            raise unknown_name("kind of distance", self.kind, DISTANCES)
        if self.when not in WHEN:
            raise unknown_name("value of when", self.when, WHEN)
        if not 0 <= self.running_weight <= 1:
            raise ValueError(
                "running_weight is a share of the last step's weight, 0 to 1, got "
                f"{self.running_weight}."
            )
        if self.k < 1:
            raise ValueError(f"k counts the last steps of a plan, 1 or more, got {self.k}.")
        if self.dims is not None and not 0 <= self.dims[0] < self.dims[1]:
            raise ValueError(
                f"dims is (first, past the last) with 0 <= first < last, got {tuple(self.dims)}."
            )

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S]."""
        del actions
        if self.dims is not None:
            latents, goal = latents[..., slice(*self.dims)], goal[..., slice(*self.dims)]
        weights = step_weights(
            latents.shape[2], when=self.when, running_weight=self.running_weight, k=self.k
        )
        first = int(weights.argmax()) if self.when != "running" else 0
        # Only the steps that count are compared: a terminal cost touches one latent of H.
        distance = self._distance(latents[:, :, first:], goal[:, None, None])
        return (distance * weights[first:].to(distance)).sum(2)

    def _distance(self, latents: Tensor, goal: Tensor) -> Tensor:
        if self.kind == "cosine":
            apart = 1 - torch.nn.functional.cosine_similarity(latents, goal, dim=-1)
            return apart.flatten(3).mean(3) if apart.ndim > 3 else apart
        difference = latents - goal
        apart = difference.square() if self.kind == "l2" else difference.abs()
        return apart.flatten(3).mean(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedDistance:
    """A trained distance of the imagined latents to the goal's, averaged over steps as in
    ``GoalDistance``.

    Attributes:
        head: maps latents [..., D] and goals [..., D], which broadcast, to distances [...];
            see ``jepabench.agents.costs.learned_distance.load_distance``.
        when, running_weight, k: see ``GoalDistance``.
        name, weight: see ``EnergyTerm``.
    """

    head: Callable[[Tensor, Tensor], Tensor]
    when: str = "running"
    running_weight: float = 0.25
    k: int = 3
    name: str = "learned"
    weight: float = 1.0

    def __post_init__(self) -> None:
        GoalDistance(
            when=self.when, running_weight=self.running_weight, k=self.k
        )  # refuses bad values, in its words

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S]."""
        del actions
        weights = step_weights(
            latents.shape[2], when=self.when, running_weight=self.running_weight, k=self.k
        )
        first = int(weights.argmax()) if self.when != "running" else 0
        distance = self.head(latents[:, :, first:].flatten(3), goal[:, None, None].flatten(3))
        return (distance * weights[first:].to(distance)).sum(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedDistanceConfig:
    """Settings of a ``LearnedDistance`` whose head is the agent's ``distance`` artifact.

    Attributes:
        when, running_weight, k: see ``GoalDistance``.
        name, weight: see ``EnergyTerm``.
    """

    when: str = "running"
    running_weight: float = 0.25
    k: int = 3
    name: str = "learned"
    weight: float = 1.0

    def __post_init__(self) -> None:
        GoalDistance(when=self.when, running_weight=self.running_weight, k=self.k)

    def build(self, head: Callable[[Tensor, Tensor], Tensor]) -> LearnedDistance:
        """Return the term with a trained head."""
        return LearnedDistance(head=head, **asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEffort:
    """Mean squared action, in normalised units: 0 is the mean action of the data, which keeps plans
    near what was seen.
    """

    name: str = "effort"
    weight: float = 0.01

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S]."""
        del latents, goal
        return actions.square().mean((2, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSmoothness:
    """Mean squared change from one planned action to the next, in normalised units; 0 for a plan of
    one step.
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
        terms: at least one, names unique; by default the distance to the goal alone.
    """

    def __init__(self, *, terms: Sequence[EnergyTerm | ModelTerm] = (GoalDistance(),)) -> None:
        names = [term.name for term in terms]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"An energy has at least one term, and names are unique, got {names}. Give "
                "each a name=."
            )
        self.terms = tuple(terms)

    def to(self, device: torch.device) -> Energy:
        """Move the networks and tensors of the terms, such as learned distances, to a device."""
        self.terms = tuple(_move_term(term, device) for term in self.terms)
        return self

    def bind(self, model: WorldModel, context: Context) -> Energy:
        """Return the energy for plans that start from ``context``: its terms that ask the model can
        do so.
        """
        if not any(isinstance(term, ModelTerm) for term in self.terms):
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
            latents: imagined [B, S, H, *latent]; entry h is the latent after action h.
            goal: [B, *latent].
            actions: normalised model-step actions [B, S, H, A].

        Raises:
            RuntimeError: a term needs the model; call ``bind`` first.
        """
        total = torch.stack(list(self.terms_report(latents, goal, actions).values())).sum(0)
        return torch.where(total.isnan(), torch.inf, total)

    def terms_report(self, latents: Tensor, goal: Tensor, actions: Tensor) -> dict[str, Tensor]:
        """Return each term's part of the cost by name, weight included, [B, S] each; arguments as
        in the call.
        """
        report = {}
        for term in self.terms:
            if isinstance(term, ModelTerm):
                raise RuntimeError(
                    f"The energy term {term.name!r} needs the model. Call "
                    "energy.bind(model, context) "
                    "before each plan, as MPCAgent does."
                )
            report[term.name] = term.weight * term(latents, goal, actions)
        return report


def _move_term(term: Any, device: torch.device) -> Any:
    """Return a term with its networks (in place) and its tensors on a device."""
    moved = {}
    for name in getattr(term, "__dataclass_fields__", ()):
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
        terms: terms, or settings of learned distances.
    """

    terms: Sequence[EnergyTerm | ModelTerm | LearnedDistanceConfig]

    def build(self, head: Callable[[Tensor, Tensor], Tensor] | None) -> Energy:
        """Return the energy with ``head`` in each learned distance.

        Raises:
            ValueError: there is a learned distance and no head.
        """
        terms: list[EnergyTerm | ModelTerm] = []
        for term in self.terms:
            if not isinstance(term, LearnedDistanceConfig):
                terms.append(term)
            elif head is None:
                raise ValueError(
                    f"The energy term {term.name!r} needs a trained distance, and the agent "
                    "has none. "
                    "Build it with distance=FOLDER."
                )
            else:
                terms.append(term.build(head))
        return Energy(terms=terms)

"""Guardrails: plans whose imagined states break a rule are made expensive, taken out, or priced
until none is left.

A ``Guardrail`` is one more term of the energy. It judges every imagined step by a hazard
(``jepabench.agents.guardrails.hazards``) against a threshold that was calibrated on held-out
episodes with the model's own imagination, for each number of steps ahead: of the steps that would
really break the rule, it promises to let at most a share ``alpha`` pass. ``GuardedPlanner`` adds
what a term of a sum cannot do: a safe fallback where nothing passes, and the multipliers of the
augmented Lagrangian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jepabench.agents.costs.energy import Energy
from jepabench.agents.guardrails.hazards import Hazard
from jepabench.agents.guardrails.training import load_guardrail
from jepabench.agents.planners.base import (
    ActionBounds,
    BasePlanner,
    CostFunction,
    Plan,
    Planner,
    require_at_least,
)
from jepabench.envs.errors import unknown_name
from jepabench.world_models.base import Context, WorldModel

MODES = ("soft", "hard", "lagrangian")
# Cost of a plan that is filtered out: far above any energy, and small enough that float32 still
# tells hazards apart.
FORBIDDEN = 1e4
_MAX_HAZARD = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """A term of the energy that keeps imagined steps below a calibrated hazard.

    Attributes:
        hazard: judges steps between latents.
        thresholds: highest hazard that passes, by steps ahead [H]; a longer plan repeats the last.
        spread: of the hazard, the unit in which excess counts.
        mode: ``soft``: the excess over the threshold, summed over the steps, is a cost. ``hard``: a
            plan with any excess costs more than any without, the more the higher its mean excess;
            who is inside already (hazard of standing still above 0) is charged as by ``soft``,
            since there is nothing left to keep out of and holding still would stay. ``lagrangian``:
            the excess is priced with multipliers.
        margin: further distance from the threshold, in units of the spread.
        penalty: of the augmented Lagrangian.
        name, weight: see ``EnergyTerm``.
    """

    hazard: Hazard
    thresholds: Tensor
    spread: float
    mode: str = "hard"
    margin: float = 0.0
    penalty: float = 10.0
    name: str = "guardrail"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown_name("mode of a guardrail", self.mode, MODES)
        require_at_least(0, weight=self.weight, penalty=self.penalty)

    def bind(self, model: WorldModel, context: Context) -> BoundGuardrail:
        """Return the term for plans that start at the last latent of ``context``."""
        del model
        return BoundGuardrail(rule=self, present=context.latents[:, -1])


@dataclass(slots=True)
class BoundGuardrail:
    """A guardrail at the start of a plan for B problems.

    Attributes:
        rule: the guardrail.
        present: latents of now [B, *latent].
        multipliers: of the augmented Lagrangian [B, H]; None before the first update.
        excess: of the plans that were judged last [B, S, H].
    """

    rule: Guardrail
    present: Tensor
    multipliers: Tensor | None = None
    excess: Tensor = field(default_factory=lambda: torch.zeros(0))

    @property
    def name(self) -> str:
        """See ``EnergyTerm``."""
        return self.rule.name

    @property
    def weight(self) -> float:
        """See ``EnergyTerm``; a plan that is filtered out is so whatever the weight."""
        return self.rule.weight if self.rule.mode == "soft" else 1.0

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S]."""
        del goal, actions
        excess = self.excess = self.measure(latents)
        if self.rule.mode == "soft":
            return excess.clamp_min(0).sum(2)
        if self.rule.mode == "hard":
            above = excess.clamp(0, _MAX_HAZARD)
            mean = above.mean(2)
            filtered = torch.where(mean > 0, FORBIDDEN * (1 + mean), 0.0)
            return torch.where(self.inside[:, None], above.sum(2), filtered)
        price = torch.zeros_like(excess[:, 0]) if self.multipliers is None else self.multipliers
        pressed = (price[:, None] + self.rule.penalty * excess).clamp_min(0)
        return (pressed.square() - price[:, None].square()).sum(2) / (
            2 * max(self.rule.penalty, 1e-9)
        )

    @property
    def inside(self) -> Tensor:
        """Whether the rule is broken already, by standing where one is [B]."""
        here = self.present.flatten(1)
        return self.rule.hazard(here, here) > 0

    def measure(self, latents: Tensor) -> Tensor:
        """Return how far each imagined step is above what passes, in units of the spread [B, S, H];
        NaN counts as far above.
        """
        start = self.present[:, None, None].expand(-1, latents.shape[1], 1, *self.present.shape[1:])
        before = torch.cat([start, latents[:, :, :-1]], dim=2)
        flat = self.rule.hazard(before.flatten(0, 2).flatten(1), latents.flatten(0, 2).flatten(1))
        hazards = flat.view(latents.shape[:3])
        steps = torch.arange(latents.shape[2]).clamp_max(len(self.rule.thresholds) - 1)
        excess = (hazards - self.rule.thresholds[steps]) / self.rule.spread + self.rule.margin
        return torch.where(excess.isnan(), _MAX_HAZARD, excess)

    def update_multipliers(self) -> None:
        """Update the multipliers after the plan that was judged last, ``max(0, multiplier + penalty
        * excess)``.
        """
        price = (
            torch.zeros_like(self.excess[:, 0]) if self.multipliers is None else self.multipliers
        )
        self.multipliers = (price + self.rule.penalty * self.excess[:, 0]).clamp_min(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedPlanner(BasePlanner):
    """A search under a guardrail.

    ``hard``: where no plan passes, the fallback of holding still competes with the least hazardous
    plan that was found. ``lagrangian``: the search is repeated from its last plan with the prices
    of what that plan still breaks.

    Attributes:
        planner: the search.
        energy: a ``GuardedEnergy``, which knows the guardrail of the present search.
        rest: the model-step action that holds still, normalised [A].
        num_rounds: searches of the augmented Lagrangian.
    """

    planner: Planner
    energy: GuardedEnergy
    rest: Tensor
    num_rounds: int = 3

    def __post_init__(self) -> None:
        require_at_least(1, num_rounds=self.num_rounds)

    @property
    def horizon(self) -> int:
        """Model steps H of a plan."""
        return self.planner.horizon

    @property
    def num_kept(self) -> int:
        """Runners-up that the search hands to the next search."""
        return self.planner.num_kept

    def with_horizon(self, horizon: int) -> GuardedPlanner:
        """Return the same search over plans of ``horizon`` model steps."""
        return replace(self, planner=self.planner.with_horizon(horizon))

    def plan(
        self,
        cost: CostFunction,
        *,
        bounds: ActionBounds,
        initial: Tensor | None = None,
        generators: Sequence[torch.Generator],
        **others: Any,
    ) -> Plan:
        """Find low-cost plans for B problems; see ``Planner.plan``."""
        if self.energy.guardrail.mode == "lagrangian":
            return self._plan_lagrangian(cost, bounds, initial, generators, others)
        plan = self.planner.plan(
            cost, bounds=bounds, initial=initial, generators=generators, **others
        )
        return (
            self._replace_by_rest(plan, cost, bounds)
            if self.energy.guardrail.mode == "hard"
            else plan
        )

    def _replace_by_rest(self, plan: Plan, cost: CostFunction, bounds: ActionBounds) -> Plan:
        stuck = ~(plan.cost < FORBIDDEN)
        if not bool(stuck.any()):
            return plan
        still = torch.clamp(self.rest, bounds.low, bounds.high).expand_as(plan.actions)
        with torch.no_grad():
            price = cost(still[:, None])[:, 0]
        better = stuck & (~(plan.cost <= price))
        return replace(
            plan,
            actions=torch.where(better[:, None, None], still, plan.actions),
            cost=torch.where(better, price, plan.cost),
            num_evaluations=plan.num_evaluations + 1,
        )

    def _plan_lagrangian(
        self,
        cost: CostFunction,
        bounds: ActionBounds,
        initial: Tensor | None,
        generators: Sequence[torch.Generator],
        others: dict[str, Any],
    ) -> Plan:
        plan = self.planner.plan(
            cost, bounds=bounds, initial=initial, generators=generators, **others
        )
        spent = plan.num_evaluations
        for _ in range(self.num_rounds - 1):
            with torch.no_grad():
                cost(plan.actions[:, None])  # the guardrail judges this plan ...
            self.energy.bound.update_multipliers()  # ... and charges for it
            plan = self.planner.plan(
                cost, bounds=bounds, initial=plan.actions, generators=generators, **others
            )
            spent = spent + plan.num_evaluations + 1
        return replace(plan, num_evaluations=spent)


class GuardedEnergy(Energy):
    """An energy with a guardrail among its terms, which remembers the guardrail of the present
    search.

    Args:
        energy: what a plan is liked for.
        guardrail: what it must not do.
    """

    def __init__(self, energy: Energy, guardrail: Guardrail) -> None:
        super().__init__(terms=(*energy.terms, guardrail))
        self.guardrail = guardrail

    def bind(self, model: WorldModel, context: Context) -> Energy:
        """Return the energy for plans that start from ``context``."""
        bound = super().bind(model, context)
        self.bound = next(term for term in bound.terms if isinstance(term, BoundGuardrail))
        return bound


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailConfig:
    """How an agent uses a trained guardrail.

    Attributes:
        mode, weight, margin, penalty: see ``Guardrail``; the weight applies to ``soft``.
        num_rounds: see ``GuardedPlanner``.
        ahead: steps that keep their own threshold; later steps use the last of these. Each step is
            judged again, from nearer, before it is taken. The wide thresholds of distant steps are
            therefore not needed to keep the promise. None for all.
    """

    mode: str = "hard"
    weight: float = 1.0
    margin: float = 0.0
    penalty: float = 10.0
    num_rounds: int = 3
    ahead: int | None = None

    def __post_init__(self) -> None:
        require_at_least(1, ahead=1 if self.ahead is None else self.ahead)

    def build(self, directory: Path, *, task_id: str) -> Guardrail:
        """Return the guardrail in ``directory``.

        Raises:
            ValueError: it is unfinished or of another task.
        """
        trained = load_guardrail(directory, task_id=task_id)
        return Guardrail(
            hazard=trained.hazard,
            thresholds=trained.thresholds[: self.ahead],
            spread=trained.spread,
            mode=self.mode,
            weight=self.weight,
            margin=self.margin,
            penalty=self.penalty,
        )

"""Guardrails: constraints on imagined states.

A ``Guardrail`` is a term of the energy. It compares the hazard of every imagined step
(``jepabench.agents.guardrails.hazards``) with a threshold. The thresholds are calibrated on
imagined futures of held-out episodes, for each number of steps ahead, so that at most a share
``alpha`` of the steps that would really break the rule passes. ``GuardedPlanner`` adds a safe
fallback for problems in which no plan passes, and the multipliers of the augmented Lagrangian.
"""

from __future__ import annotations

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
    CostFunction,
    Plan,
    Planner,
    WrappingPlanner,
)
from jepabench.envs.errors import unknown_name
from jepabench.world_models.base import Context, WorldModel
from jepabench.world_models.settings import require_at_least

MODES = ("soft", "hard", "lagrangian")
# Cost of a forbidden plan. It is far above any energy, and small enough for float32 to resolve
# differences between hazards.
FORBIDDEN = 1e4
_MAX_HAZARD = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """A term of the energy that keeps imagined steps below a calibrated hazard.

    Attributes:
        hazard: Hazard of steps between latents.
        thresholds: Highest hazard that passes, for each number of steps ahead [H]. A longer plan
            repeats the last threshold.
        spread: Standard deviation of the hazard, the unit of the excess over the threshold.
        mode: ``soft`` adds the excess over the threshold, summed over the steps, to the cost.
            ``hard`` makes a plan with any excess more expensive than any plan without, in
            proportion to its mean excess. An agent inside the zone (the hazard of standing still is
            above 0) gets the cost of ``soft``, because holding still would not leave the zone.
            ``lagrangian`` weights the excess with the multipliers of an augmented Lagrangian.
        margin: Additional distance from the threshold, in units of the spread.
        penalty: Penalty coefficient of the augmented Lagrangian.
        name, weight: See ``EnergyTerm``.
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
    """A guardrail for plans that start from given latents, for B problems.

    Attributes:
        rule: Guardrail with its thresholds.
        present: Present latents [B, *latent].
        multipliers: Multipliers of the augmented Lagrangian [B, H]; None before the first update.
        excess: Excess of the plans that were scored last [B, S, H].
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
        """See ``EnergyTerm``; only ``soft`` uses the weight of the guardrail."""
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
        """Whether each problem starts inside a zone, so that standing still breaks the rule [B]."""
        here = self.present.flatten(1)
        return self.rule.hazard(here, here) > 0

    def measure(self, latents: Tensor) -> Tensor:
        """Return the excess of each imagined step over its threshold [B, S, H].

        The unit is the spread. NaN counts as a large excess.
        """
        start = self.present[:, None, None].expand(-1, latents.shape[1], 1, *self.present.shape[1:])
        before = torch.cat([start, latents[:, :, :-1]], dim=2)
        flat = self.rule.hazard(before.flatten(0, 2).flatten(1), latents.flatten(0, 2).flatten(1))
        hazards = flat.view(latents.shape[:3])
        steps = torch.arange(latents.shape[2], device=latents.device)
        steps = steps.clamp_max(len(self.rule.thresholds) - 1)
        excess = (hazards - self.rule.thresholds[steps]) / self.rule.spread + self.rule.margin
        return torch.where(excess.isnan(), _MAX_HAZARD, excess)

    def update_multipliers(self) -> None:
        """Set the multipliers to ``max(0, multiplier + penalty * excess)``.

        The excess is that of the plan that was scored last.
        """
        price = (
            torch.zeros_like(self.excess[:, 0]) if self.multipliers is None else self.multipliers
        )
        self.multipliers = (price + self.rule.penalty * self.excess[:, 0]).clamp_min(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedPlanner(WrappingPlanner):
    """A search under a guardrail.

    In mode ``hard``, if no plan of a problem passes, the planner chooses between holding still and
    the least hazardous plan. In mode ``lagrangian``, the search is repeated from its last plan with
    updated multipliers.

    Attributes:
        planner: Planner that searches for actions.
        energy: Energy with the guardrail of the current search.
        rest: Normalised action of a model step that holds still [A].
        num_rounds: Number of searches of the augmented Lagrangian.
    """

    planner: Planner
    energy: GuardedEnergy
    rest: Tensor
    num_rounds: int = 3

    def __post_init__(self) -> None:
        require_at_least(1, num_rounds=self.num_rounds)

    def plan(self, cost: CostFunction, *, bounds: ActionBounds, **problem: Any) -> Plan:
        """Find low-cost plans for B problems; see ``Planner.plan``."""
        if self.energy.guardrail.mode == "lagrangian":
            return self._plan_lagrangian(cost, bounds, problem)
        plan = self.planner.plan(cost, bounds=bounds, **problem)
        return (
            self._replace_by_rest(plan, cost, bounds)
            if self.energy.guardrail.mode == "hard"
            else plan
        )

    def _replace_by_rest(self, plan: Plan, cost: CostFunction, bounds: ActionBounds) -> Plan:
        """Replace plans that do not pass by holding still, if holding still costs less."""
        stuck = ~(plan.cost < FORBIDDEN)
        if not bool(stuck.any()):
            return plan
        rest = self.rest.to(bounds.low)
        still = torch.clamp(rest, bounds.low, bounds.high).expand_as(plan.actions)
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
        self, cost: CostFunction, bounds: ActionBounds, problem: dict[str, Any]
    ) -> Plan:
        """Search ``num_rounds`` times and update the multipliers after each search."""
        plan = self.planner.plan(cost, bounds=bounds, **problem)
        spent = plan.num_evaluations
        for _ in range(self.num_rounds - 1):
            with torch.no_grad():
                cost(plan.actions[:, None])  # measures the excess of this plan
            self.energy.bound.update_multipliers()
            problem = {**problem, "initial": plan.actions}
            plan = self.planner.plan(cost, bounds=bounds, **problem)
            spent = spent + plan.num_evaluations + 1
        return replace(plan, num_evaluations=spent)


class GuardedEnergy(Energy):
    """An energy with a guardrail term that keeps the bound guardrail of the current search.

    Args:
        energy: Energy without the guardrail.
        guardrail: Guardrail that is appended as a term.
    """

    def __init__(self, energy: Energy, guardrail: Guardrail) -> None:
        super().__init__(terms=(*energy.terms, guardrail))

    @property
    def guardrail(self) -> Guardrail:
        """The guardrail, which is the last term."""
        guardrail = self.terms[-1]
        assert isinstance(guardrail, Guardrail)
        return guardrail

    def bind(self, model: WorldModel, context: Context) -> Energy:
        """Return the energy for plans that start from ``context``."""
        bound = super().bind(model, context)
        self.bound = next(term for term in bound.terms if isinstance(term, BoundGuardrail))
        return bound


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailConfig:
    """Settings of an agent with a trained guardrail.

    Attributes:
        mode, weight, margin, penalty: See ``Guardrail``. The weight only applies to ``soft``.
        num_rounds: See ``GuardedPlanner``.
        ahead: Number of steps ahead with a threshold of their own; later steps use the last one.
            None uses all thresholds. Each step is scored again, with fewer steps ahead, before it
            is executed, so the wide thresholds of distant steps are not needed for the guarantee.
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
            ValueError: The guardrail is unfinished or was trained for another task.
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

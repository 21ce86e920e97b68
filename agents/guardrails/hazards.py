"""Hazards: scores of how likely or how far an imagined step breaks a rule.

A hazard takes the latents before and after a model step, because a rule can be broken between them.
A step whose hazard exceeds a threshold counts as breaking the rule. The threshold is calibrated for
each number of steps ahead (``jepabench.agents.guardrails.guardrail``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepabench.envs.errors import unknown_name
from jepabench.world_models.analysis.probes import Probe

POINTS_PER_STEP = 6  # positions at which a step is checked, ends included


class ZoneHazard(nn.Module):
    """Depth of a step inside known keep-out rectangles.

    A probe reads the positions before and after the step from the latents. The depth is that of the
    straight line between them.

    Args:
        probe: Probe from latents to positions [N, 2].
        zones: Rectangles ``(x_min, y_min, x_max, y_max)`` in the units of positions [Z, 4].
    """

    zones: Tensor

    def __init__(self, probe: Probe, zones: Tensor) -> None:
        super().__init__()
        self.probe = probe
        self.register_buffer("zones", zones.float())

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Return minus the clearance [N] of steps between latents [N, D].

        Values above 0 are inside a zone.
        """
        return self.depth(self.probe(before), self.probe(after))

    def depth(self, start: Tensor, end: Tensor) -> Tensor:
        """Return the maximum depth [N] inside a zone on the line between positions [N, 2].

        Values below 0 are the distance to the nearest zone, with negative sign.
        """
        share = torch.linspace(0, 1, POINTS_PER_STEP, dtype=start.dtype, device=start.device)
        share = share[:, None, None]
        places = torch.lerp(start[None], end[None], share)[..., None, :]  # [points, N, 1, 2]
        centre, half = (
            (self.zones[:, :2] + self.zones[:, 2:]) / 2,
            (self.zones[:, 2:] - self.zones[:, :2]) / 2,
        )
        outside = (places - centre).abs() - half  # [points, N, Z, 2]
        clearance = outside.clamp_min(0).norm(dim=-1) + outside.amax(-1).clamp_max(0)
        return -clearance.amin((0, 2))


class LearnedHazard(nn.Module):
    """A classifier of steps that break a rule, trained on violation flags of offline data.

    Args:
        input_size: Size of a flattened latent.
        hidden: Width of its two hidden layers.
    """

    def __init__(self, input_size: int, *, hidden: int = 128) -> None:
        super().__init__()
        self.network = Probe(2 * input_size, 1, hidden=hidden)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Return the log-odds [N] that a step between latents [N, D] breaks a rule."""
        return self.network(torch.cat([before, after - before], dim=-1)).squeeze(-1)


Hazard = ZoneHazard | LearnedHazard
KINDS = ("learned", "zones")


def train_learned_hazard(
    before: Tensor,
    after: Tensor,
    violated: Tensor,
    *,
    num_steps: int,
    seed: int,
    batch_size: int = 512,
    learning_rate: float = 2e-3,
) -> LearnedHazard:
    """Train the classifier on steps between latents [N, D] with violation flags [N].

    Each batch contains as many violations as other steps.
    """
    breaking, lawful = torch.nonzero(violated)[:, 0], torch.nonzero(~violated)[:, 0]
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        hazard = LearnedHazard(before.shape[1])
    hazard.network.standardise(torch.cat([before, after - before], dim=-1))
    optimizer = torch.optim.AdamW(hazard.parameters(), lr=learning_rate, weight_decay=1e-3)
    half = batch_size // 2
    labels = torch.cat([torch.ones(half), torch.zeros(half)])
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / num_steps)
        picked = torch.cat(
            [
                part[torch.randint(len(part), (half,), generator=generator)]
                for part in (breaking, lawful)
            ]
        )
        loss = functional.binary_cross_entropy_with_logits(
            hazard(before[picked], after[picked]), labels
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return hazard.eval().requires_grad_(False)


def hazard_layout(hazard: Hazard) -> dict[str, Any]:
    """Return the arguments with which ``empty_hazard`` makes a hazard of the same shape."""
    if isinstance(hazard, ZoneHazard):
        return {
            "kind": "zones",
            "input_size": len(hazard.probe.mean),
            "num_zones": len(hazard.zones),
        }
    return {"kind": "learned", "input_size": len(hazard.network.mean) // 2}


def empty_hazard(layout: Mapping[str, Any]) -> Hazard:
    """Return a hazard to load weights into."""
    if layout["kind"] not in KINDS:
        raise unknown_name("kind of hazard", layout["kind"], KINDS)
    if layout["kind"] == "zones":
        return ZoneHazard(Probe(layout["input_size"], 2), torch.zeros(layout["num_zones"], 4))
    return LearnedHazard(layout["input_size"])

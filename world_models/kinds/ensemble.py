"""Several predictors on one encoder, whose disagreement estimates epistemic uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jepabench.world_models.base import Context, TrajectoryBatch, rollout_with
from jepabench.world_models.kinds.jepa import JEPA, JEPAConfig
from jepabench.world_models.networks.predictors import make_predictor


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig(JEPAConfig):
    """Configuration of an ensemble: that of a JEPA, with several predictors.

    Attributes:
        num_members: Number of predictors of the kind ``predictor``. They differ in their initial
            weights and in the windows that they learn from.
        others: Further members, each with its own ``predictor`` and optional
            ``predictor_options``. Members of different kinds make different errors.
        share: Probability that a member learns from a window of a batch, in (0, 1].
    """

    num_members: int = 5
    others: tuple[Mapping[str, Any], ...] = ()
    share: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if (
            self.num_members < 1
            or self.num_members + len(self.others) < 2
            or not 0 < self.share <= 1
        ):
            raise ValueError(
                "num_members must be at least 2 (1 with others) and share above 0 and at most 1, "
                f"got {self.num_members}, {len(self.others)} others and {self.share}."
            )
        for other in self.others:
            if not {"predictor"} <= other.keys() <= {"predictor", "predictor_options"}:
                raise ValueError(
                    "A member of others has a predictor and optionally predictor_options, "
                    f"got {dict(other)}."
                )


class PredictorEnsemble(nn.Module):
    """Several predictors that act as one, which returns their mean."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, *latent] from latents [N, k, *latent] and actions [N, k, A]."""
        return torch.stack([member(latents, actions) for member in self.members]).mean(0)


class EnsembleJEPA(JEPA):
    """A JEPA with M predictors (PLDM, arXiv 2502.14819; Pathak et al., 2019).

    Each member is trained on its own rollouts. ``predict`` returns the mean of the members'
    predictions, and ``disagreement`` the variance of their rollouts.
    """

    config_class = EnsembleConfig
    config: EnsembleConfig
    predictor: PredictorEnsemble

    def _make_predictor(self) -> PredictorEnsemble:
        config = self.config
        kinds = [(config.predictor, config.predictor_options)] * config.num_members
        kinds += [
            (other["predictor"], other.get("predictor_options", {})) for other in config.others
        ]
        return PredictorEnsemble(
            [
                make_predictor(
                    kind,
                    {"history": config.history, **options},
                    latent_dim=config.latent_dim,
                    action_size=config.action_size,
                )
                for kind, options in kinds
            ]
        )

    def member_rollouts(self, context: Context, actions: Tensor) -> Tensor:
        """Return each member's latents [M, B, S, H, *latent] for candidates [B, S, H, A]."""
        return torch.stack(
            [
                rollout_with(member, self.history, context, actions)
                for member in self.predictor.members
            ]
        )

    def disagreement(self, context: Context, actions: Tensor) -> Tensor:
        """Return the variance over members, mean over the latent's entries [B, S, H]."""
        return self.member_rollouts(context, actions).var(0, correction=0).flatten(3).mean(3)

    def prediction_terms(
        self, latents: Tensor, batch: TrajectoryBatch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the prediction terms of latents [B, T, *latent]; see ``JEPA.prediction_terms``."""
        known, config = self.config.history, self.config
        context = Context(latents[:, :known], batch.actions[:, : known - 1])
        imagined = self.member_rollouts(context, batch.actions[:, None, known - 1 :])[
            :, :, 0
        ]  # [M, B, H, *latent]
        target = latents[:, known:]
        error = (
            (imagined - (target.detach() if config.stop_gradient else target))
            .square()
            .flatten(2)
            .mean(2)
        )
        learns = (torch.rand(error.shape, generator=generator) < config.share).to(error)
        # The mean over members keeps the scale of a single predictor's error.
        return {"prediction": ((error * learns).sum(1) / learns.sum(1).clamp(min=1)).mean()}

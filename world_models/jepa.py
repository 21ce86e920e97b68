"""The JEPA family: an encoder, a predictor, and a list of weighted terms. Which terms makes which method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from envs.registry import unknown_name
from world_models import objectives
from world_models.base import Context, TrajectoryBatch, rollout
from world_models.encoders import augment_shift, make_encoder
from world_models.predictors import make_predictor

TERMS = (*objectives.LATENT_TERMS, "inverse_dynamics")


@dataclass(frozen=True, kw_only=True)
class JEPAConfig:
    """What a JEPA is made of.

    Attributes:
        encoder, encoder_options: name in ``encoders.ENCODERS`` and its arguments.
        predictor, predictor_options: name in ``predictors.PREDICTORS`` and its arguments.
        latent_dim: D.
        action_size: A of a model step.
        history: K frames of context.
        rollout_steps: imagined steps that the prediction loss covers.
        terms: term name to its options, of which ``weight`` is one.
        observation_key: what is encoded: "pixels" or "observation" (state twin).
        shift: random-shift augmentation in pixels, 0 for none.
    """

    encoder: str = "keypoint"
    encoder_options: dict[str, Any] = field(default_factory=dict)
    predictor: str = "mlp"
    predictor_options: dict[str, Any] = field(default_factory=dict)
    latent_dim: int = 32
    action_size: int
    history: int = 2
    rollout_steps: int = 3
    stop_gradient: bool = False
    terms: dict[str, dict[str, Any]] = field(default_factory=dict)
    observation_key: str = "pixels"
    shift: int = 0

    def __post_init__(self) -> None:
        for name, options in self.terms.items():
            if name not in TERMS:
                raise unknown_name("term", name, TERMS)
            if "weight" not in options:
                raise ValueError(f"Term {name!r} has no weight. Write {{{name}: {{weight: 1.0}}}}.")
        if self.history < 1 or self.rollout_steps < 1:
            raise ValueError(f"history and rollout_steps are 1 or more, got {self.history} and {self.rollout_steps}.")

    @property
    def window(self) -> int:
        """Frames of a training window."""
        return self.history + self.rollout_steps


class JEPA(nn.Module):
    """A world model that predicts in representation space. Implements ``WorldModel``."""

    def __init__(self, config: JEPAConfig) -> None:
        super().__init__()
        self.config = config
        self.window = config.window
        self.observation_key, self.history, self.action_size = (
            config.observation_key,
            config.history,
            config.action_size,
        )
        options = dict(config.encoder_options)
        if config.encoder != "state":
            options["latent_dim"] = config.latent_dim
        self.encoder = make_encoder(config.encoder, options)
        self.predictor = self._make_predictor()
        self.inverse: nn.Module | None = None
        if "inverse_dynamics" in config.terms:
            self.inverse = nn.Sequential(
                nn.Linear(2 * config.latent_dim, 128), nn.GELU(), nn.Linear(128, config.action_size)
            )

    def encode(self, observation: Tensor) -> Tensor:
        """Encodes single observations [N, ...] into latents [N, D]."""
        return self.encoder(observation)

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predicts the next latent [N, D] from latents [N, k, D] and actions [N, k, A], k <= K."""
        return self.predictor(latents, actions)

    def losses(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Returns the weighted terms: ``prediction`` over ``rollout_steps`` imagined steps, then those of the config."""
        frames = batch.observations[self.observation_key]
        if self.config.shift:
            frames = augment_shift(frames, padding=self.config.shift, generator=generator)
        windows, steps = frames.shape[:2]
        latents = self.encode(frames.flatten(0, 1)).view(windows, steps, -1)  # [B, T, D]
        terms = self._prediction_terms(latents, batch, generator)
        for name, options in self.config.terms.items():
            options = dict(options)
            weight = options.pop("weight")
            terms[name] = weight * self._term(name, options, latents, batch, generator)
        return terms

    # -- what relatives with another kind of prediction replace ------------------------------------------------

    def _make_predictor(self) -> nn.Module:
        config = self.config
        return make_predictor(
            config.predictor,
            {"history": config.history, **config.predictor_options},
            latent_dim=config.latent_dim,
            action_size=config.action_size,
        )

    def _prediction_terms(
        self, latents: Tensor, batch: TrajectoryBatch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Returns the terms that say how well the latents [B, T, D] of a batch are predicted; weights included."""
        del generator
        known = self.config.history
        context = Context(latents[:, :known], batch.actions[:, : known - 1])
        imagined = rollout(self, context, batch.actions[:, None, known - 1 :])[:, 0]
        error = objectives.prediction_error(imagined, latents[:, known:], stop_gradient=self.config.stop_gradient)
        return {"prediction": error}

    def _term(
        self, name: str, options: dict[str, Any], latents: Tensor, batch: TrajectoryBatch, generator: torch.Generator
    ) -> Tensor:
        if self.inverse is not None and name == "inverse_dynamics":
            decoded = self.inverse(torch.cat([latents[:, :-1], latents[:, 1:]], dim=-1))
            return objectives.inverse_dynamics(decoded, batch.actions)
        if name == "sigreg":
            return objectives.sigreg(latents, generator, **options)
        return objectives.LATENT_TERMS[name](latents, **options)

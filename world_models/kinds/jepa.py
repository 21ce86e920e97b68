"""JEPA: an encoder, a predictor and a list of weighted loss terms, which define the method."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepabench.envs.errors import unknown_name
from jepabench.world_models.base import (
    Context,
    FastPredictor,
    TrajectoryBatch,
    implements,
    rollout,
)
from jepabench.world_models.networks.encoders import augment_colour, augment_shift, make_encoder
from jepabench.world_models.networks.moving_average import update_average
from jepabench.world_models.networks.predictors import make_predictor
from jepabench.world_models.training import objectives
from jepabench.world_models.training.devices import gather_batch

_ENDPOINT_TERMS = ("endpoint_inverse", "action_recovery")  # one head reads both
_ACTION_TERMS = ("inverse_dynamics", *_ENDPOINT_TERMS)
_WEIGHTS = ("weight", "raised_weight")
TERMS = (*objectives.LATENT_TERMS, *objectives.PAIR_TERMS, *_ACTION_TERMS)


@dataclass(frozen=True, kw_only=True)
class JEPAConfig:
    """Configuration of a JEPA.

    Attributes:
        encoder: Name in ``encoders.ENCODERS``.
        encoder_options: Arguments of the encoder.
        predictor: Name in ``predictors.PREDICTORS``.
        predictor_options: Arguments of the predictor.
        latent_dim: Size D of a latent, or of each position if the encoder has several.
        action_size: Size A of the action of a model step.
        history: Number K of context frames.
        rollout_steps: Number of imagined steps in the prediction loss.
        stop_gradient: Whether to stop gradients at the targets of the prediction loss.
        momentum: If above 0, the targets come from a moving average of the encoder (BYOL, V-JEPA).
            Its momentum starts at this value and rises to 1 at the end of training. Implies
            ``stop_gradient``.
        sphere: Whether to project latents and predictions onto the sphere of radius sqrt(D). Use it
            with terms that ignore lengths.
        terms: Options of each loss term by name, including its ``weight``, and optionally its
            ``raised_weight``, which replaces it while ``JEPA.raised`` is set.
        observation_key: Encoded observation, "pixels" or "observation" (state twin).
        shift: Largest random shift of the frames of a window in pixels; 0 for none.
        recolour: Strength of random changes of colour and brightness, 0 for none; see
            ``encoders.augment_colour``.
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
    momentum: float = 0.0
    sphere: bool = False
    terms: dict[str, dict[str, Any]] = field(default_factory=dict)
    observation_key: str = "pixels"
    shift: int = 0
    recolour: float = 0.0

    def __post_init__(self) -> None:
        for name, options in self.terms.items():
            _check_term(name, options)
        if not 0 <= self.momentum < 1:
            raise ValueError(
                f"momentum must be at least 0 (no moving average) and below 1, got {self.momentum}."
            )
        if self.history < 1 or self.rollout_steps < 1:
            raise ValueError(
                "history and rollout_steps must be at least 1, "
                f"got {self.history} and {self.rollout_steps}."
            )

    @property
    def window(self) -> int:
        """Frames of a training window."""
        return self.history + self.rollout_steps


def _check_term(name: str, options: Any) -> None:
    """Refuse an unknown term, unknown options of a term, and weights that are not numbers."""
    if name not in TERMS:
        raise unknown_name("term", name, TERMS)
    if not isinstance(options, Mapping) or "weight" not in options:
        raise ValueError(f"Term {name!r} has no weight. Write {{{name}: {{weight: 1.0}}}}.")
    function = (objectives.LATENT_TERMS | objectives.PAIR_TERMS).get(name)
    parameters = inspect.signature(function).parameters.values() if function else ()
    known = [*_WEIGHTS, *(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)]
    for option, value in options.items():
        if option not in known:
            raise unknown_name(f"option of the term {name!r}", option, known)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if option in _WEIGHTS and not (number and math.isfinite(value)):
            raise ValueError(f"The {option} of {name!r} must be a number, got {value!r}.")


class JEPA(nn.Module):
    """A world model that predicts in representation space. Implements ``WorldModel``.

    Attributes:
        raised: Whether the terms have their raised weights. Training in rounds sets it if the goal
            cannot be read from encoded frames (see ``TrainConfig.max_rounds``).
    """

    config_class: type[JEPAConfig] = JEPAConfig

    def __init__(self, config: JEPAConfig) -> None:
        super().__init__()
        self.config = config
        self.raised = False
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
        self.num_positions = self.encoder.num_positions
        self.target_encoder = (
            copy.deepcopy(self.encoder).requires_grad_(False) if config.momentum else None
        )
        self.predictor = self._make_predictor()
        self.inverse: nn.Module | None = None
        if "inverse_dynamics" in config.terms:
            self.inverse = nn.Sequential(
                nn.Linear(2 * config.latent_dim * (self.num_positions or 1), 128),
                nn.GELU(),
                nn.Linear(128, config.action_size),
            )
        self.endpoint: nn.Module | None = None
        if config.terms.keys() & set(_ENDPOINT_TERMS):
            self.endpoint = nn.Sequential(
                nn.Linear(2 * config.latent_dim * (self.num_positions or 1), 256),
                nn.GELU(),
                nn.Linear(256, 256),
                nn.GELU(),
                nn.Linear(256, config.rollout_steps * config.action_size),
            )

    def encode(self, observation: Tensor) -> Tensor:
        """Encode observations [N, ...] into latents [N, D], or [N, P, D] with positions."""
        return self._project(self.encoder(observation))

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, *latent] from latents [N, k, *latent] and actions [N, k, A], k <= K."""
        return self._project(self.predictor(latents, actions))

    def unroll(self, latents: Tensor, actions: Tensor) -> Tensor | None:
        """Imagine several steps at once if the predictor can; see ``FastRollout``."""
        if not implements(type(self.predictor), FastPredictor):
            return None
        if self.training or type(self).predict is not JEPA.predict:
            return None
        place = self._project if self.config.sphere else None
        return cast(FastPredictor, self.predictor).unroll(latents, actions, place=place)

    def losses(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the ``prediction`` error and the weighted terms of the config."""
        frames = batch.observations[self.observation_key]
        if self.config.shift or self.config.recolour:
            frames = augment_shift(frames, padding=self.config.shift, generator=generator)
            frames = augment_colour(frames, strength=self.config.recolour, generator=generator)
            batch = dataclasses.replace(batch, observations={self.observation_key: frames})
        latents = self.encode(frames.flatten(0, 1)).unflatten(
            0, frames.shape[:2]
        )  # [B, T, *latent]
        terms = self.prediction_terms(latents, batch, generator)
        latents = latents.flatten(2)  # terms treat all positions as one latent, as in eb_jepa
        for name in self.config.terms:
            if name not in objectives.PAIR_TERMS and name not in _ENDPOINT_TERMS:
                weight, options = self._weigh(name)
                terms[name] = weight * self._term(name, options, latents, batch, generator)
        return terms

    def after_step(self, progress: float) -> None:
        """Update the target encoder after a gradient step; see ``update_average``."""
        if self.target_encoder is not None:
            update_average(self.target_encoder, self.encoder, self.config.momentum, progress)

    # -- Subclasses with other predictors override the following -------------------------------

    @property
    def needs_frames(self) -> bool:
        """Whether the prediction terms need frames. If so, the predictor cannot train alone."""
        return self.target_encoder is not None

    @property
    def _action_size(self) -> int:
        """Size of the actions that the predictor is conditioned on."""
        return self.config.action_size

    def _make_predictor(self) -> nn.Module:
        config = self.config
        return make_predictor(
            config.predictor,
            {"history": config.history, **config.predictor_options},
            latent_dim=config.latent_dim,
            action_size=self._action_size,
            positions=self.num_positions,
        )

    def prediction_terms(
        self, latents: Tensor, batch: TrajectoryBatch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the weighted prediction terms for latents [B, T, *latent] of a batch."""
        del generator
        known = self.config.history
        context = Context(latents[:, :known], batch.actions[:, : known - 1])
        imagined = rollout(self, context, batch.actions[:, None, known - 1 :])[:, 0]
        target = self._targets(latents, batch)[:, known:]
        terms = {"prediction": objectives.prediction_error(imagined, target)}
        if self.endpoint is not None:
            terms |= self._endpoint_terms(latents[:, known - 1], imagined, target, batch.actions)
        for name in self.config.terms.keys() & objectives.PAIR_TERMS.keys():
            weight, options = self._weigh(name)
            pairs = gather_batch(torch.stack([imagined.flatten(2), target.flatten(2)], dim=1))
            terms[name] = weight * objectives.PAIR_TERMS[name](pairs[:, 0], pairs[:, 1], **options)
        return terms

    def _endpoint_terms(
        self, start: Tensor, imagined: Tensor, target: Tensor, actions: Tensor
    ) -> dict[str, Tensor]:
        """Decode all actions of a rollout from its two ends (EP-IDM, arXiv 2610.07540).

        One head reads the encoded end (``endpoint_inverse``) and the imagined one
        (``action_recovery``). Between consecutive frames, the position of the gripper is enough to
        decode an action. Over several steps it is not, so the latent has to represent what the
        actions moved.
        """
        assert self.endpoint is not None
        taken = actions[:, self.config.history - 1 :].flatten(1)
        terms = {}
        for name, ends in zip(_ENDPOINT_TERMS, (target, imagined), strict=True):
            if name not in self.config.terms:
                continue
            pair = torch.cat([start.flatten(1), ends[:, -1].flatten(1)], dim=1)
            error = functional.mse_loss(self.endpoint(pair), taken)
            terms[name] = self._weigh(name)[0] * error
        return terms

    def _weigh(self, name: str) -> tuple[float, dict[str, Any]]:
        """Return the weight of a term, raised or not, and its other options."""
        options = dict(self.config.terms[name])
        weight = options.pop("weight")
        raised = options.pop("raised_weight", weight)
        return raised if self.raised else weight, options

    def _targets(self, latents: Tensor, batch: TrajectoryBatch) -> Tensor:
        """Return the targets of the predictions, [B, T, *latent]."""
        if self.target_encoder is None:
            return latents.detach() if self.config.stop_gradient else latents
        frames = batch.observations[self.observation_key]
        with torch.no_grad():
            return self._project(self.target_encoder(frames.flatten(0, 1))).unflatten(
                0, frames.shape[:2]
            )

    def _project(self, latents: Tensor) -> Tensor:
        if not self.config.sphere:
            return latents
        return math.sqrt(latents.shape[-1]) * functional.normalize(latents, dim=-1)

    def _term(
        self,
        name: str,
        options: dict[str, Any],
        latents: Tensor,
        batch: TrajectoryBatch,
        generator: torch.Generator,
    ) -> Tensor:
        if self.inverse is not None and name == "inverse_dynamics":
            decoded = self.inverse(torch.cat([latents[:, :-1], latents[:, 1:]], dim=-1))
            return objectives.inverse_dynamics(decoded, batch.actions)
        whole = gather_batch(latents)
        if name == "sigreg":
            return objectives.sigreg(whole, generator, **options)
        return objectives.LATENT_TERMS[name](whole, **options)

"""Settings of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from jepabench.envs.errors import unknown_name
from jepabench.world_models.settings import make_config, require_at_least


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run.

    Attributes:
        num_steps: Gradient steps of a round.
        max_rounds: Largest number of rounds. After a round, a probe reads the achieved goal of
            held-out frames imagined one model step ahead. Another round follows, with the
            learning rate restarted (SGDR, Loshchilov & Hutter 2017), until the goal is read within
            the success rule in ``enough_in_place`` of them. If the probe reads it from fewer than
            ``goal_probe.READABLE`` of the encoded frames after the first round, a JEPA whose terms
            have a ``raised_weight`` starts anew with it, for as many rounds. With 1 nothing is
            read.
        enough_in_place: Share of these frames, 0 to 1. A search trusts what a model with at least
            this share imagines.
        batch_size: Windows per step.
        learning_rate: Peak of a cosine schedule with a linear warm-up.
        weight_decay: Of AdamW.
        warmup: Share of the steps for the warm-up, 0 to 1.
        clip_norm: Largest gradient norm.
        device: "cpu", "cuda" or "mps". The launcher of Accelerate or PyTorch starts several
            processes.
        precision: "float32", or "bfloat16" for autocast on processors that support it.
        diagnose_every: Steps between diagnoses on held-out episodes.
        checkpoint_seconds: Seconds between saved training states, the most work that a crash loses
            [s].
        on_collapse: "raise" stops a collapsed run, "warn" continues (for controls that should
            collapse).
        predictor_steps, predictor_batch_size, predictor_learning_rate: Further gradient steps of a
            JEPA's predictor alone, on latents of the finished encoder (see ``predictor_only``); 0
            for none.
        decoder_steps: Gradient steps of a decoder that is trained afterwards on frozen latents; 0
            for none.
    """

    num_steps: int = 1000
    max_rounds: int = 1
    enough_in_place: float = 0.98
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: float = 0.05
    clip_norm: float = 1.0
    device: str = "cpu"
    precision: str = "float32"
    diagnose_every: int = 200
    checkpoint_seconds: float = 20.0
    on_collapse: str = "raise"
    predictor_steps: int = 0
    predictor_batch_size: int = 512
    predictor_learning_rate: float = 1e-3
    decoder_steps: int = 0

    def __post_init__(self) -> None:
        self._check_types()
        self._check_choices()
        self._check_ranges()

    def _check_types(self) -> None:
        for setting in fields(self):
            value, kind = getattr(self, setting.name), type(setting.default)
            allowed = (int, float) if kind is float else kind
            if isinstance(value, bool) or not isinstance(value, allowed):
                raise ValueError(f"{setting.name} must be of type {kind.__name__}, got {value!r}.")

    def _check_choices(self) -> None:
        for name, value, allowed in (
            ("device", self.device, ("cpu", "cuda", "mps")),
            ("precision", self.precision, ("float32", "bfloat16")),
            ("on_collapse", self.on_collapse, ("raise", "warn")),
        ):
            if value not in allowed:
                raise unknown_name(name, value, allowed)

    def _check_ranges(self) -> None:
        if self.num_steps < 1 or self.batch_size < 2:
            raise ValueError(
                "num_steps must be at least 1 and batch_size at least 2, "
                f"got {self.num_steps} and {self.batch_size}."
            )
        require_at_least(
            1,
            max_rounds=self.max_rounds,
            diagnose_every=self.diagnose_every,
            predictor_batch_size=self.predictor_batch_size,
        )
        require_at_least(
            0,
            predictor_steps=self.predictor_steps,
            decoder_steps=self.decoder_steps,
            weight_decay=self.weight_decay,
            checkpoint_seconds=self.checkpoint_seconds,
        )
        for name in ("learning_rate", "predictor_learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}.")
        for name in ("warmup", "enough_in_place"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}.")

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> TrainConfig:
        """Return the configuration with these settings.

        Raises:
            UnknownNameError: There is no such setting, or no such value of one.
            ValueError: A number is out of range.
        """
        return make_config("training setting", cls, settings)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of gradient step ``step``, 0-based."""
        warm = max(1, round(self.warmup * self.num_steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        progress = (step - warm) / max(1, self.num_steps - warm)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

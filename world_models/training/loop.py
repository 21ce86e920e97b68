"""The training loop of every world model. It resumes exactly after an interruption."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from tqdm import tqdm

from jepabench.world_models.analysis.diagnostics import CollapseError, Diagnosis
from jepabench.world_models.base import TrajectoryBatch
from jepabench.world_models.checkpoint import save_training_state
from jepabench.world_models.training.batches import WindowSampler, step_generators
from jepabench.world_models.training.config import TrainConfig
from jepabench.world_models.training.devices import LocalDevice, select_device
from jepabench.world_models.training.tracking import ScalarLog

logger = logging.getLogger(__name__)
_GRACE_STEPS = 50
_LOG_EVERY = 20


@runtime_checkable
class StepHook(Protocol):
    """A model with work to do after each gradient step, such as the update of an EMA target."""

    def after_step(self, progress: float) -> None:
        """Run after an optimiser step; ``progress`` is the finished share, up to 1."""
        ...


def train(
    model: nn.Module,
    sampler: WindowSampler,
    *,
    config: TrainConfig,
    seed: int,
    directory: Path,
    evaluate: Callable[[], Diagnosis],
    identity: str = "",
    progress: bool = True,
) -> float:
    """Train a world model in place, and resume from ``directory/training.pt`` if it exists.

    Parameters that do not require gradients are not changed.

    Args:
        model: A ``WorldModel``; a ``StepHook`` is called after each step.
        sampler: Source of the batches.
        config: Settings.
        seed: Seed of the batches and of every random term.
        directory: Folder for TensorBoard logs and the training state.
        evaluate: Diagnoses the model on held-out episodes.
        identity: What is trained on what. A state with another identity is not resumed.
        progress: Whether to show a progress bar.

    Returns:
        Seconds of training, including those before an interruption.

    Raises:
        CollapseError: The latents collapsed, unless the config only warns.
        FloatingPointError: The loss is not finite.
        ValueError: The folder holds the unfinished state of another training.
    """
    optimizer = _make_optimizer(model, config)
    device = select_device(config.device)
    path = directory / "training.pt"
    step, seconds = _restore(device.broadcast(_read(path)), model, optimizer, identity, directory)
    losses, optimizer = device.prepare(_Losses(model), optimizer)
    began = saved = time.monotonic()
    model.train()
    with _Log(directory, step, config, enabled=progress and not device.rank) as log:
        while step < config.num_steps:
            terms = _train_step(losses, sampler, optimizer, device, config, seed, step)
            if isinstance(model, StepHook):
                model.after_step((step + 1) / config.num_steps)
            step += 1
            log.add_terms(terms, step)
            if step % config.diagnose_every == 0 or step == config.num_steps:
                with device.on_cpu(model):
                    log.add_diagnosis(evaluate(), step)
            if not device.rank and time.monotonic() - saved > config.checkpoint_seconds:
                saved = time.monotonic()
                _save(path, model, optimizer, identity, step, seconds + saved - began)
    seconds += time.monotonic() - began
    model.cpu()
    if not device.rank:
        _save(path, model, optimizer, identity, step, seconds)
    return seconds


def _make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)


class _Losses(nn.Module):
    """A module whose forward pass computes a model's losses, as data-parallel wrappers need."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        return self.model.losses(batch, generator)  # pyright: ignore[reportCallIssue]


class _Log:
    """The progress bar and the curves of a training; raises on collapse."""

    def __init__(self, directory: Path, step: int, config: TrainConfig, *, enabled: bool) -> None:
        self._config = config
        self._curves = ScalarLog(directory, step)
        self._bar = tqdm(
            total=config.num_steps,
            initial=step,
            desc="train",
            unit="step",
            disable=not enabled,
            leave=False,
        )

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._curves.close()

    def add_terms(self, terms: Mapping[str, float], step: int) -> None:
        self._bar.update()
        if step % _LOG_EVERY == 0 or step == self._config.num_steps:
            self._curves.add({f"loss/{name}": value for name, value in terms.items()}, step)
            text = " ".join(f"{name} {value:.3f}" for name, value in terms.items())
            self._bar.set_postfix_str(text)

    def add_diagnosis(self, diagnosis: Diagnosis, step: int) -> None:
        scalars = diagnosis.scalars().items()
        self._curves.add({f"diagnosis/{name}": value for name, value in scalars}, step)
        # An untrained encoder maps all frames to almost the same latent, so early steps do not
        # count.
        if diagnosis.collapsed and step >= max(_GRACE_STEPS, self._config.num_steps // 4):
            message = (
                f"The latents collapsed by step {step}: mean std {diagnosis.std_mean:.2g}, "
                f"effective rank {diagnosis.effective_rank:.2f}. Raise the weight of an "
                "anti-collapse term (sigreg, variance, inverse_dynamics)."
            )
            if self._config.on_collapse == "raise":
                raise CollapseError(message)
            logger.warning(message)


def _train_step(
    losses: nn.Module,
    sampler: WindowSampler,
    optimizer: torch.optim.Optimizer,
    device: LocalDevice,
    config: TrainConfig,
    seed: int,
    step: int,
) -> dict[str, float]:
    rng, generator = step_generators(seed, step)
    batch = sampler.sample(config.batch_size, rng, rank=device.rank, count=device.count)
    batch = device.move(batch)
    with torch.autocast(device.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        terms = losses(batch, generator)
    total = torch.stack(list(terms.values())).sum()
    if not torch.isfinite(total):
        raise FloatingPointError(
            f"The loss is not finite at step {step}: lower the learning rate or the weights."
        )
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate_at(step)
    optimizer.zero_grad(set_to_none=True)
    device.backward(total)
    nn.utils.clip_grad_norm_(losses.parameters(), config.clip_norm)
    optimizer.step()
    return {name: float(value.detach()) for name, value in terms.items()}


def _read(path: Path) -> dict[str, Any] | None:
    return torch.load(path, weights_only=True) if path.exists() else None


def _restore(
    state: Mapping[str, Any] | None,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: str,
    directory: Path,
) -> tuple[int, float]:
    if state is None:
        return 0, 0.0
    if state.get("identity", "") != identity:
        raise ValueError(
            f"{directory} holds an unfinished training with other data, settings or seed. "
            "Delete the folder, or choose another one."
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]


def _save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: str,
    step: int,
    seconds: float,
) -> None:
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "identity": identity,
        "step": step,
        "seconds": seconds,
    }
    save_training_state(path, state)

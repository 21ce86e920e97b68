"""One training loop for every model, and ``fit``, which runs it on a dataset and leaves a checkpoint."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.registry import unknown_name
from jepabench.world_models.analysis.diagnostics import (
    CollapseError,
    Diagnosis,
    diagnose,
    encode_frames,
)
from jepabench.world_models.base import TrajectoryBatch, WorldModel
from jepabench.world_models.checkpoint import (
    build_model,
    load_world_model,
    save_training_state,
    save_world_model,
)
from jepabench.world_models.kinds.jepa import JEPA
from jepabench.world_models.networks.heads import Decoder
from jepabench.world_models.training.batches import ActionScale, WindowSampler, step_generators
from jepabench.world_models.training.devices import Here, rank, where
from jepabench.world_models.training.predictor_only import PredictorAlone, with_latents

logger = logging.getLogger(__name__)
_GRACE_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a world model is trained.

    Attributes:
        num_steps: gradient steps.
        batch_size: windows a step.
        learning_rate: peak of a cosine schedule with a linear warm-up over ``warmup`` of the steps.
        clip_norm: largest gradient norm.
        device: "cpu" or "cuda"; several processes by the launcher of Accelerate or PyTorch (``devices``).
        precision: "float32", or "bfloat16" for autocast on processors that gain from it.
        diagnose_every: steps between looks at held-out episodes.
        checkpoint_seconds: at most this much work is lost by a kill [s].
        on_collapse: "raise" stops a collapsed run, "warn" goes on (for controls that are expected to collapse).
        predictor_steps, predictor_batch_size, predictor_learning_rate: gradient steps that a JEPA's predictor takes alone
            afterwards, on latents of the finished encoder (``refit``); 0 for none.
        decoder_steps: gradient steps of the decoder that is trained afterwards on frozen latents; 0 for none.
    """

    num_steps: int = 1000
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
        for name, value, allowed in (
            ("device", self.device, ("cpu", "cuda")),
            ("precision", self.precision, ("float32", "bfloat16")),
            ("on_collapse", self.on_collapse, ("raise", "warn")),
        ):
            if value not in allowed:
                raise unknown_name(name, value, allowed)
        if self.num_steps < 1 or self.batch_size < 2:
            raise ValueError(
                f"num_steps >= 1 and batch_size >= 2, got {self.num_steps} and {self.batch_size}."
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> TrainConfig:
        """Returns the configuration with these settings; an unknown one is refused with the nearest that exists."""
        known = [setting.name for setting in fields(cls)]
        for name in settings:
            if name not in known:
                raise unknown_name("training setting", name, known)
        return cls(**settings)

    def learning_rate_at(self, step: int) -> float:
        """Returns the learning rate of gradient step ``step``, 0-based."""
        warm = max(1, round(self.warmup * self.num_steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return (
            self.learning_rate
            * 0.5
            * (1 + math.cos(math.pi * (step - warm) / max(1, self.num_steps - warm)))
        )


@runtime_checkable
class AfterStep(Protocol):
    """A model that does something of its own after each gradient step, such as moving an EMA target."""

    def after_step(self, progress: float) -> None:
        """Called after the optimiser's step; ``progress`` is the share of the training that is done, above 0 to 1."""
        ...


def train(
    model: nn.Module,
    sampler: WindowSampler,
    *,
    config: TrainConfig,
    seed: int,
    directory: Path,
    look: Callable[[], Diagnosis],
    progress: bool = True,
) -> float:
    """Trains a world model in place, resuming from ``directory/training.pt`` if a killed run left one.

    Parameters that do not require gradients stay as they are, and a model that is an ``AfterStep`` is called after each step.

    Returns:
        Seconds of training, over all its parts.

    Raises:
        CollapseError: the latents collapsed, unless the config only warns.
        FloatingPointError: the loss is not finite.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    state_path = directory / "training.pt"
    place = where(config.device)
    step, seconds = _resume(place.agreed(_saved(state_path)), model, optimizer)
    losses, optimizer = place.prepare(_Losses(model), optimizer)
    progress = progress and not place.rank
    writer = SummaryWriter(str(directory / "tensorboard"), purge_step=step)
    began = saved = time.monotonic()
    model.train()
    bar = tqdm(
        total=config.num_steps,
        initial=step,
        desc="train",
        unit="step",
        disable=not progress,
        leave=False,
    )
    while step < config.num_steps:
        terms = _train_step(losses, sampler, optimizer, place, config, seed, step)
        if isinstance(model, AfterStep):
            model.after_step((step + 1) / config.num_steps)
        step += 1
        bar.update()
        if step % 20 == 0 or step == config.num_steps:
            for name, value in terms.items():
                writer.add_scalar(f"loss/{name}", value, step)
            bar.set_postfix_str(" ".join(f"{name} {value:.3f}" for name, value in terms.items()))
        if step % config.diagnose_every == 0 or step == config.num_steps:
            with place.on_cpu(model):
                _report(look(), step, config, writer)
        if not place.rank and time.monotonic() - saved > config.checkpoint_seconds:
            saved = time.monotonic()
            _save(state_path, model, optimizer, step, seconds + saved - began)
    bar.close()
    writer.close()
    seconds += time.monotonic() - began
    model.cpu()
    if not place.rank:
        _save(state_path, model, optimizer, step, seconds)
    return seconds


class _Losses(nn.Module):
    """A model whose call is its losses: what processes that train together have to see of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        return self.model.losses(batch, generator)  # pyright: ignore[reportCallIssue]


def _train_step(
    losses: nn.Module,
    sampler: WindowSampler,
    optimizer: torch.optim.Optimizer,
    place: Here,
    config: TrainConfig,
    seed: int,
    step: int,
) -> dict[str, float]:
    rng, generator = step_generators(seed, step)
    batch = place.place(sampler.sample(config.batch_size, rng, rank=place.rank, count=place.count))
    with torch.autocast(place.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        terms = losses(batch, generator)
    total = torch.stack(list(terms.values())).sum()
    if not torch.isfinite(total):
        raise FloatingPointError(
            f"The loss is not finite at step {step}: lower the learning rate or the weights."
        )
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate_at(step)
    optimizer.zero_grad(set_to_none=True)
    place.backward(total)
    nn.utils.clip_grad_norm_(losses.parameters(), config.clip_norm)
    optimizer.step()
    return {name: float(value.detach()) for name, value in terms.items()}


def _report(diagnosis: Diagnosis, step: int, config: TrainConfig, writer: SummaryWriter) -> None:
    for name, value in diagnosis.scalars().items():
        writer.add_scalar(f"diagnosis/{name}", value, step)
    # Every run starts out nearly collapsed: an untrained encoder maps all frames to almost the same latent.
    if diagnosis.collapsed and step >= max(_GRACE_STEPS, config.num_steps // 4):
        message = (
            f"The latents collapsed by step {step}: mean std {diagnosis.std_mean:.2g}, effective rank "
            f"{diagnosis.effective_rank:.2f}. Raise the weight of an anti-collapse term (sigreg, variance, inverse_dynamics)."
        )
        if config.on_collapse == "raise":
            raise CollapseError(message)
        logger.warning(message)


def _saved(path: Path) -> dict[str, Any] | None:
    return torch.load(path, weights_only=True) if path.exists() else None


def _resume(
    state: Mapping[str, Any] | None, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    if state is None:
        return 0, 0.0
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]


def _save(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    save_training_state(path, state)


def train_decoder(
    model: WorldModel,
    dataset: EpisodeDataset,
    *,
    num_steps: int,
    seed: int,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    progress: bool = True,
) -> Decoder:
    """Trains a decoder on detached latents of a finished model: for looking only, nothing flows back."""
    rng = np.random.default_rng([seed, 1])
    total = int((dataset.lengths + 1).sum())
    rows = np.sort(rng.permutation(total)[:4096])
    latents = encode_frames(model, dataset, rows)
    frames = torch.from_numpy(np.ascontiguousarray(dataset.field("pixels")[rows]))
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        decoder = Decoder(latent_dim=latents[0].numel(), mean_frame=frames.float().mean(0))
    optimizer = torch.optim.Adam(decoder.parameters(), lr=learning_rate)
    for step in tqdm(
        range(num_steps), desc="decoder", unit="step", disable=not progress, leave=False
    ):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / num_steps)
        picked = torch.from_numpy(rng.integers(len(rows), size=batch_size))
        loss = decoder.loss(latents[picked], frames[picked])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return decoder.eval()


@runtime_checkable
class Prepares(Protocol):
    """A model with work to do before its training: statistics of the data, a pretext task, features of a frozen encoder."""

    def prepare(
        self,
        dataset: EpisodeDataset,
        *,
        directory: Path,
        train: Callable[..., float],
        progress: bool = True,
    ) -> EpisodeDataset:
        """Returns the dataset to train on; ``train(module, settings, folder)`` runs the loop on a part. Done again on resuming."""
        ...


def fit(
    *,
    dataset: Path,
    validation: Path,
    directory: Path,
    seed: int,
    kind: str,
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    encoder_from: Path | None = None,
    progress: bool = True,
) -> Diagnosis:
    """Trains a world model on a dataset and writes its checkpoint into ``directory``.

    Args:
        dataset, validation: dataset folders of the same task; the second is only looked at.
        directory: where the checkpoint, TensorBoard logs and the resumable state go.
        seed: of initialisation, batches and every random term.
        kind: registered model kind.
        model: its configuration; ``action_size`` and the state twin's statistics are filled in from the data.
        training: keyword arguments of ``TrainConfig``.
        encoder_from: folder of a model with the same encoder, trained on the same data: its encoder is taken as it is, and only the
            predictor learns, for ``predictor_steps``. So several predictors share one encoder.

    Returns:
        The last look at the held-out episodes.
    """
    data, held_out = EpisodeDataset.open(dataset), EpisodeDataset.open(validation)
    config = TrainConfig.of(training)
    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        network = build_model(kind, _with_data(model, data))
    scale = ActionScale.of(data)
    if not isinstance(network, WorldModel):
        raise TypeError(f"{kind!r} does not implement WorldModel.")
    if config.predictor_steps and (not isinstance(network, JEPA) or network.needs_frames):
        raise ValueError(
            "predictor_steps is for JEPAs whose predictor meets the latents of their own encoder (no momentum, no pixels), "
            f"not for this {kind!r}; leave it at 0."
        )

    def run(
        module: Any, settings: Mapping[str, Any], folder: Path, source: EpisodeDataset = data
    ) -> float:
        folder.mkdir(parents=True, exist_ok=True)
        key = getattr(module, "training_key", module.observation_key)
        sampler = WindowSampler(
            source,
            observation_key=key,
            num_frames=module.window,
            history=module.history,
            scale=scale,
        )
        look = partial(diagnose, module, held_out, scale=scale)
        return train(
            module,
            sampler,
            config=TrainConfig.of(settings),
            seed=seed,
            directory=folder,
            look=look,
            progress=progress,
        )

    began, source = time.monotonic(), data
    if isinstance(network, Prepares):
        source = network.prepare(data, directory=directory, train=run, progress=progress)
    if encoder_from is not None:
        seconds = _take_encoder(network, encoder_from, data, config)
    else:
        seconds = time.monotonic() - began + run(network, training, directory, source)
    if config.predictor_steps:
        assert isinstance(network, JEPA)
        began = time.monotonic()
        alone = {
            "num_steps": config.predictor_steps,
            "batch_size": config.predictor_batch_size,
            "learning_rate": config.predictor_learning_rate,
            "diagnose_every": config.predictor_steps,
        }
        latents = with_latents(network, data, progress=progress)
        seconds += (
            time.monotonic()
            - began
            + run(PredictorAlone(network), alone, directory / "predictor", latents)
        )
    network.eval().requires_grad_(False)
    decoder = None
    if config.decoder_steps and network.observation_key == "pixels":
        decoder = train_decoder(
            network, data, num_steps=config.decoder_steps, seed=seed, progress=progress
        )
    diagnosis = diagnose(network, held_out, scale=scale)
    control_steps = int(data.lengths.sum()) * data.manifest.action_block
    metadata = {
        "seed": seed,
        "train_seconds": seconds,
        "transitions": control_steps,
        "training": dict(training),
        "parameters": sum(p.numel() for p in network.parameters()),
        "dataset_fingerprint": data.manifest.fingerprint,
        "diagnosis": dict(diagnosis.scalars()),
        "torch": torch.__version__,
    }
    if rank():
        return diagnosis
    save_world_model(
        directory,
        kind=kind,
        model=network,
        scale=scale,
        task_id=data.manifest.task_id,
        metadata=metadata,
        decoder=decoder,
    )
    return diagnosis


def _take_encoder(
    network: nn.Module, folder: Path, data: EpisodeDataset, config: TrainConfig
) -> float:
    """Gives ``network`` the encoder of a saved model; returns the seconds that the model took to train."""
    saved = load_world_model(folder, task_id=data.manifest.task_id)
    if saved.metadata["dataset_fingerprint"] != data.manifest.fingerprint:
        raise ValueError(
            f"The model in {folder} was trained on another dataset; take the one that it was trained on."
        )
    if not config.predictor_steps:
        raise ValueError(
            "With an encoder from elsewhere only the predictor learns: set training.predictor_steps."
        )
    encoder, mine = getattr(saved.model, "encoder", None), getattr(network, "encoder", None)
    try:
        mine.load_state_dict(encoder.state_dict())  # pyright: ignore[reportOptionalMemberAccess]
    except (AttributeError, RuntimeError) as error:
        raise ValueError(
            f"The encoder of the model in {folder} is of another make: {error}"
        ) from error
    return float(saved.metadata["train_seconds"])


def _with_data(model: Mapping[str, Any], data: EpisodeDataset) -> dict[str, Any]:
    """Fills in what only the data knows."""
    options = dict(model) | {"action_size": data.field("action").shape[1]}
    if options.get("encoder") == "state":
        asked = dict(options.get("encoder_options", {}))
        if asked not in ({}, {"units": "spread"}, {"units": "step"}):
            raise ValueError(
                f"The state's encoder takes units: spread (of its values) or step (of changes), got {asked}."
            )
        observation, starts = (
            np.asarray(data.field("observation"), np.float64),
            data.window_starts(2),
        )
        counted = (
            observation[starts + 1] - observation[starts]
            if asked.get("units") == "step"
            else observation
        )
        std = np.maximum(counted.std(0), 1e-6)
        options["encoder_options"] = {"mean": observation.mean(0).tolist(), "std": std.tolist()}
        options["latent_dim"] = observation.shape[1]
        options["observation_key"] = "observation"
    return options

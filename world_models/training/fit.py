"""``fit``: train a world model on a dataset and write its checkpoint."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import nn

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.world_models.analysis.diagnostics import Diagnosis, diagnose
from jepabench.world_models.analysis.goal_probe import IN_PLACE, READ_STEPS, READABLE, read_goals
from jepabench.world_models.base import TrainsOnField, WorldModel
from jepabench.world_models.checkpoint import (
    LoadedWorldModel,
    fingerprint,
    load_world_model,
    save_world_model,
)
from jepabench.world_models.kinds.jepa import JEPA
from jepabench.world_models.networks.heads import Decoder
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale, WindowSampler
from jepabench.world_models.training.config import TrainConfig
from jepabench.world_models.training.decoder import train_decoder
from jepabench.world_models.training.devices import get_rank
from jepabench.world_models.training.loop import train
from jepabench.world_models.training.predictor_only import PredictorOnly, encode_dataset

_ROUND_SEEDS = 100_000  # distance between the seeds of two rounds


@runtime_checkable
class PreparationHook(Protocol):
    """A model that prepares its training: data statistics, a pretext task, cached features."""

    def prepare(
        self,
        dataset: EpisodeDataset,
        *,
        directory: Path,
        train: Callable[..., float],
        progress: bool = True,
    ) -> EpisodeDataset:
        """Return the dataset to train on. Called again when a training is resumed.

        Args:
            dataset: Training data.
            directory: Folder for intermediate files.
            train: ``train(module, settings, folder)`` runs the training loop on a part of the
                model.
            progress: Whether to show a progress bar.
        """
        ...


def open_datasets(dataset: Path, validation: Path) -> tuple[EpisodeDataset, EpisodeDataset]:
    """Open a training and a validation dataset.

    Raises:
        DatasetError: A folder is not a dataset.
        ValueError: The datasets are of different tasks, or hold the same episodes.
    """
    data, held_out = EpisodeDataset.open(dataset), EpisodeDataset.open(validation)
    if data.manifest.task_id != held_out.manifest.task_id:
        raise ValueError(
            f"The training data are of {data.manifest.task_id}, the validation data of "
            f"{held_out.manifest.task_id}. Use two datasets of one task."
        )
    if data.manifest.fingerprint == held_out.manifest.fingerprint:
        raise ValueError(
            f"{dataset} and {validation} are the same data. Validation needs held-out episodes: "
            "collect them with `--split validation`."
        )
    return data, held_out


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
    """Train a world model on a dataset and write its checkpoint into ``directory``.

    Args:
        dataset, validation: Dataset folders of one task. The second is for diagnoses only.
        directory: Folder for the checkpoint, TensorBoard logs and the resumable state.
        seed: Seed of initialisation, batches and every random term.
        kind: Registered kind of model.
        model: Its configuration. ``action_size`` and the statistics of a state twin come from the
            data.
        training: Keyword arguments of ``TrainConfig``.
        encoder_from: Folder of a model with the same encoder, trained on the same data. Its encoder
            is copied and only the predictor learns, for ``predictor_steps``. Several predictors can
            share one encoder in this way.
        progress: Whether to show progress bars.

    Returns:
        The final diagnosis on the validation episodes.

    Raises:
        ValueError: The two datasets or the settings do not fit together, or ``directory`` holds an
            unfinished training with other data or settings.
    """
    data, held_out = open_datasets(dataset, validation)
    config = TrainConfig.from_settings(training)
    network = _build_network(kind, model, data, config, seed)
    directory.mkdir(parents=True, exist_ok=True)
    inputs = _describe_inputs(kind, model, data, seed, encoder_from)
    trainer = _Trainer(data, held_out, ActionScale.from_dataset(data), seed, inputs, progress)
    if encoder_from is not None:
        seconds, readings = _copy_encoder(network, encoder_from, data, config), []
    else:
        seconds, readings = trainer.train_all(network, training, directory)
    if config.predictor_steps:
        seconds += trainer.train_predictor(network, config, directory / "predictor")
    network.eval().requires_grad_(False)
    decoder = _train_decoder(network, data, config, seed, progress)
    diagnosis = diagnose(network, held_out, scale=trainer.scale)
    if not get_rank():
        save_world_model(
            directory,
            kind=kind,
            model=network,
            scale=trainer.scale,
            task_id=data.manifest.task_id,
            metadata=_describe(network, data, diagnosis, training, seed, seconds, readings),
            decoder=decoder,
        )
    return diagnosis


@dataclass(frozen=True)
class _Trainer:
    """Runs the training loop on parts of a model, with one set of data and one seed.

    Attributes:
        data, held_out: Training and validation data.
        scale: Of the actions.
        seed: Of all parts.
        inputs: Everything but the settings that decides the weights; identifies a resumable state.
        progress: Whether to show progress bars.
    """

    data: EpisodeDataset
    held_out: EpisodeDataset
    scale: ActionScale
    seed: int
    inputs: Mapping[str, Any]
    progress: bool

    def train(
        self,
        module: Any,
        settings: Mapping[str, Any],
        folder: Path,
        source: EpisodeDataset | None = None,
        round_number: int = 0,
    ) -> float:
        """Train a module on ``source``, by default the training data; return seconds."""
        folder.mkdir(parents=True, exist_ok=True)
        own = isinstance(module, TrainsOnField)
        sampler = WindowSampler(
            self.data if source is None else source,
            observation_key=module.training_key if own else module.observation_key,
            num_frames=module.window,
            history=module.history,
            scale=self.scale,
        )
        identity = json.dumps({**self.inputs, "settings": settings}, sort_keys=True, default=str)
        return train(
            module,
            sampler,
            config=TrainConfig.from_settings(settings),
            seed=self.seed + _ROUND_SEEDS * round_number,
            directory=folder,
            evaluate=partial(diagnose, module, self.held_out, scale=self.scale),
            identity=hashlib.sha256(identity.encode()).hexdigest(),
            progress=self.progress,
        )

    def train_all(
        self, network: Any, settings: Mapping[str, Any], directory: Path
    ) -> tuple[float, list[dict[str, float]]]:
        """Prepare and train a whole model, in one or more rounds.

        Returns:
            Seconds, and the readings of the goal after each round (see ``TrainConfig.max_rounds``):
            by number of imagined steps, the share of frames whose goal is read within the success
            rule.
        """
        began, source = time.monotonic(), self.data
        if isinstance(network, PreparationHook):
            source = network.prepare(
                self.data, directory=directory, train=self.train, progress=self.progress
            )
        initial = _copy_initial_weights(network)
        seconds = time.monotonic() - began + self.train(network, settings, directory, source)
        config, readings = TrainConfig.from_settings(settings), []
        limit = config.max_rounds
        while limit > 1:
            readings.append(self._read_goal(network))
            number = len(readings)
            if number == 1 and initial and readings[0]["0"] < READABLE:
                _start_anew(network, initial)
                limit += 1  # the first round does not count
            elif readings[-1]["1"] >= config.enough_in_place or number == limit:
                break
            folder = directory / f"round-{number}"
            seconds += self.train(network, settings, folder, source, number)
        return seconds, readings

    def _read_goal(self, network: Any) -> dict[str, float]:
        network.eval()
        loaded = LoadedWorldModel(network, self.scale, None, self.data.manifest.task_id, {})
        rows = read_goals(loaded, self.held_out, steps=READ_STEPS)
        return {str(step): row["in_place"] for step, row in zip(READ_STEPS, rows, strict=True)}

    def train_predictor(self, network: JEPA, config: TrainConfig, folder: Path) -> float:
        """Train the predictor alone on latents that are computed once; return seconds."""
        began = time.monotonic()
        settings = {
            "num_steps": config.predictor_steps,
            "batch_size": config.predictor_batch_size,
            "learning_rate": config.predictor_learning_rate,
            "diagnose_every": config.predictor_steps,
        }
        latents = encode_dataset(network, self.data, progress=self.progress)
        encoding = time.monotonic() - began
        return encoding + self.train(PredictorOnly(network), settings, folder, latents)


def _build_network(
    kind: str, model: Mapping[str, Any], data: EpisodeDataset, config: TrainConfig, seed: int
) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        network = build_model(kind, _complete_options(model, data))
    if not isinstance(network, WorldModel):
        raise TypeError(f"Kind {kind!r} does not implement WorldModel.")
    if config.predictor_steps and (not isinstance(network, JEPA) or network.needs_frames):
        raise ValueError(
            "predictor_steps is for JEPAs whose prediction loss needs latents only (no momentum "
            f"encoder, no pixels), not for this {kind!r}; leave it at 0."
        )
    return network


def _copy_initial_weights(network: Any) -> dict[str, torch.Tensor]:
    """Return a copy of the weights of a JEPA that may start anew with raised weights, or {}."""
    terms = network.config.terms if isinstance(network, JEPA) else {}
    raises = any("raised_weight" in options for options in terms.values())
    return copy.deepcopy(network.state_dict()) if raises else {}


def _start_anew(network: Any, initial: Mapping[str, torch.Tensor]) -> None:
    """Restore the initial weights of a JEPA, and raise the weights of its terms."""
    network.load_state_dict(initial)
    network.raised = True


def _describe_inputs(
    kind: str, model: Mapping[str, Any], data: EpisodeDataset, seed: int, encoder_from: Path | None
) -> dict[str, Any]:
    """Return everything but the settings that decides the weights."""
    inputs = {"kind": kind, "model": model, "data": data.manifest.fingerprint, "seed": seed}
    if encoder_from is not None:
        inputs["encoder"] = fingerprint(encoder_from)
    return inputs


def _train_decoder(
    network: Any, data: EpisodeDataset, config: TrainConfig, seed: int, progress: bool
) -> Decoder | None:
    """Train a decoder if the settings ask for one and the model sees pixels."""
    if not config.decoder_steps or network.observation_key != "pixels":
        return None
    return train_decoder(
        network, data, num_steps=config.decoder_steps, seed=seed, progress=progress
    )


def _describe(
    network: nn.Module,
    data: EpisodeDataset,
    diagnosis: Diagnosis,
    training: Mapping[str, Any],
    seed: int,
    seconds: float,
    readings: list[dict[str, float]],
) -> dict[str, Any]:
    """Return the metadata of a checkpoint."""
    return ({IN_PLACE: readings} if readings else {}) | {
        "seed": seed,
        "train_seconds": seconds,
        "transitions": int(data.lengths.sum()) * data.manifest.action_block,
        "training": dict(training),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "dataset_fingerprint": data.manifest.fingerprint,
        "diagnosis": dict(diagnosis.scalars()),
        "torch": torch.__version__,
    }


def _copy_encoder(
    network: nn.Module, folder: Path, data: EpisodeDataset, config: TrainConfig
) -> float:
    """Copy the encoder of a saved model into ``network``; return its training seconds."""
    saved = load_world_model(folder, task_id=data.manifest.task_id)
    if saved.metadata["dataset_fingerprint"] != data.manifest.fingerprint:
        raise ValueError(
            f"The model in {folder} was trained on another dataset. Use the dataset of that model."
        )
    if not config.predictor_steps:
        raise ValueError(
            "With encoder_from only the predictor learns: set training.predictor_steps."
        )
    try:
        source = cast(nn.Module, saved.model).get_submodule("encoder")
        network.get_submodule("encoder").load_state_dict(source.state_dict())
    except (AttributeError, RuntimeError) as error:
        raise ValueError(
            f"The model in {folder} has another encoder than the configured one: {error}"
        ) from error
    return float(saved.metadata["train_seconds"])


def _complete_options(model: Mapping[str, Any], data: EpisodeDataset) -> dict[str, Any]:
    """Add what the data decide: the action size, and the statistics of a state twin."""
    options = dict(model) | {"action_size": data.field("action").shape[1]}
    if options.get("encoder") != "state":
        return options
    given = dict(options.get("encoder_options", {}))
    if given not in ({}, {"units": "spread"}, {"units": "step"}):
        raise ValueError(
            "The state encoder takes units: spread (of its values) or step (of changes), "
            f"got {given}."
        )
    observation = np.asarray(data.field("observation"), np.float64)
    values = observation
    if given.get("units") == "step":
        starts = data.window_starts(2)
        values = observation[starts + 1] - observation[starts]
    std = np.maximum(values.std(0), 1e-6)
    options["encoder_options"] = {"mean": observation.mean(0).tolist(), "std": std.tolist()}
    options["latent_dim"] = observation.shape[1]
    options["observation_key"] = "observation"
    return options

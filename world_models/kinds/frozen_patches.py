"""World models on a frozen patch encoder (DINO-WM, arXiv 2411.04983).

The encoder is a pretrained backbone (``backbones.py``), or one that a pretext task trains first on
the same frames (``pretext.py``). A latent holds the D largest principal components of the features
at each patch, all in the same unit. Distances between latents are therefore distances between
features, apart from the omitted components.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.world_models.base import Context, TrajectoryBatch, rollout
from jepabench.world_models.networks.backbones import BackboneError, make_backbone
from jepabench.world_models.networks.predictors import make_predictor
from jepabench.world_models.training import objectives
from jepabench.world_models.training.pretext import PRETEXTS, PatchEncoder, make_pretext

logger = logging.getLogger(__name__)
OWN = "own"


@dataclass(frozen=True, kw_only=True)
class FrozenConfig:
    """Configuration of a world model on frozen features.

    Attributes:
        backbone: Name in ``backbones.BACKBONES``, or "own" for a ``PatchEncoder``.
        backbone_options: Arguments of the backbone.
        pretext: Name in ``pretext.PRETEXTS`` for the backbone "own", empty for others.
        pretext_options: Arguments of the pretext task.
        pretext_training: Fields of ``TrainConfig`` for the pretext task.
        latent_dim: Number D of principal components per patch.
        predictor: Name in ``predictors.PATCH_PREDICTORS``.
        predictor_options: Arguments of the predictor.
        action_size: Size A of the action of a model step.
        history: Number K of context frames.
        rollout_steps: Number of imagined steps in the prediction loss.
        weights_sha256: SHA-256 of the file of the backbone's weights. It is set when the backbone
            is loaded, and checked when a checkpoint is loaded.
    """

    backbone: str = "efficientnet-lite0"
    backbone_options: dict[str, Any] = field(default_factory=dict)
    pretext: str = ""
    pretext_options: dict[str, Any] = field(default_factory=dict)
    pretext_training: dict[str, Any] = field(default_factory=dict)
    latent_dim: int = 16
    predictor: str = "grid"
    predictor_options: dict[str, Any] = field(default_factory=dict)
    action_size: int
    history: int = 2
    rollout_steps: int = 3
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        if (self.backbone == OWN) != bool(self.pretext):
            raise ValueError(
                f"Backbone 'own' needs a pretext task ({', '.join(PRETEXTS)}), others none, got "
                f"backbone {self.backbone!r} and pretext {self.pretext!r}."
            )


class FrozenFeatureModel(nn.Module):
    """A predictor on the patches of a frozen encoder. Implements ``WorldModel``."""

    config_class = FrozenConfig
    observation_key = "pixels"
    feature_mean: Tensor
    components: Tensor
    unit: Tensor

    def __init__(self, config: FrozenConfig) -> None:
        super().__init__()
        self.history, self.action_size = config.history, config.action_size
        self.window = config.history + config.rollout_steps
        # Lists keep the weights of a backbone and of a pretext task's heads out of the state of
        # this module.
        self._backbones: list[nn.Module] = []
        self._pretexts: list[nn.Module] = []
        if config.backbone == OWN:
            self.encoder = PatchEncoder(**config.backbone_options)
            pretext = make_pretext(
                config.pretext, config.pretext_options, self.encoder, action_size=config.action_size
            )
            self._pretexts.append(pretext)
        else:
            backbone, found = make_backbone(config.backbone, config.backbone_options)
            if config.weights_sha256 not in ("", found):
                raise BackboneError(
                    f"The weights of {config.backbone!r} differ from those in training: "
                    f"SHA-256 {found[:12]}, not {config.weights_sha256[:12]}. Restore the old "
                    "file, or train again."
                )
            config = dataclasses.replace(config, weights_sha256=found)
            self._backbones.append(backbone)
        self.config = config
        positions, channels = self._features(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)).shape[1:]
        if config.latent_dim > channels:
            raise ValueError(
                f"latent_dim must be at most {channels} for {config.backbone!r}, "
                f"got {config.latent_dim}."
            )
        self.register_buffer("feature_mean", torch.zeros(positions, channels))
        self.register_buffer("components", torch.eye(channels)[:, : config.latent_dim].contiguous())
        self.register_buffer("unit", torch.ones(()))
        if config.backbone == OWN:
            self.encoder.requires_grad_(False)
        self.predictor = make_predictor(
            config.predictor,
            {"history": config.history, **config.predictor_options},
            latent_dim=config.latent_dim,
            action_size=config.action_size,
            positions=positions,
        )

    @torch.no_grad()
    def _features(self, frames: Tensor) -> Tensor:
        if not self._backbones:
            return self.encoder(frames)
        return self._backbones[0].to(frames.device)(frames)

    def encode(self, observation: Tensor) -> Tensor:
        """Encode frames uint8 [N, s, s, 3] into latents [N, P, D], without gradients."""
        return (self._features(observation) - self.feature_mean) @ self.components / self.unit

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, P, D] from latents [N, k, P, D] and actions [N, k, A], k <= K."""
        return self.predictor(latents, actions)

    def losses(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the prediction error over ``rollout_steps``, on cached latents if available."""
        del generator
        if self.training_key in batch.observations:
            latents = batch.observations[self.training_key]
        else:
            frames = batch.observations[self.observation_key]
            latents = self.encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        known = self.history
        context = Context(latents[:, :known], batch.actions[:, : known - 1])
        imagined = rollout(self, context, batch.actions[:, None, known - 1 :])[:, 0]
        return {"prediction": objectives.prediction_error(imagined, latents[:, known:])}

    # -- before training
    # ---------------------------------------------------------------------------------------

    training_key = "latents"

    def prepare(
        self,
        dataset: EpisodeDataset,
        *,
        directory: Path,
        train: Callable[[nn.Module, Mapping[str, Any], Path], object],
        progress: bool = True,
    ) -> EpisodeDataset:
        """Train the pretext task, compute the principal components, and encode every frame once.

        Args:
            dataset: Training episodes with frames.
            directory: Folder of the run. The pretext task is trained in a subfolder of it.
            train: Function that trains a module with ``TrainConfig`` settings in a folder.
            progress: Whether to show a progress bar.

        Returns:
            The dataset with one more field, ``latents`` float16 [F, P, D].
        """
        for pretext in self._pretexts:
            self.encoder.requires_grad_(True)
            train(pretext, self.config.pretext_training, directory / "pretext")
            self.encoder.requires_grad_(False)
        frames = dataset.field("pixels")
        self._find_components(frames)
        latents = np.empty(
            (len(frames), *self.feature_mean.shape[:1], self.config.latent_dim), np.float16
        )
        for first in tqdm(
            range(0, len(frames), 256), desc="encode", disable=not progress, leave=False
        ):
            chunk = torch.from_numpy(np.array(frames[first : first + 256]))
            latents[first : first + 256] = self.encode(chunk).numpy()
        return dataset.with_field(self.training_key, latents)

    def _find_components(self, frames: np.ndarray, *, num_frames: int = 2048) -> None:
        rows = np.sort(np.random.default_rng(0).permutation(len(frames))[:num_frames])
        chunks = [
            torch.from_numpy(np.array(frames[part]))
            for part in np.array_split(rows, -(-len(rows) // 256))
        ]
        features = torch.cat([self._features(chunk) for chunk in chunks])
        self.feature_mean.copy_(features.mean(0))
        changes = (features - self.feature_mean).flatten(0, 1).double()
        strength, directions = torch.linalg.eigh(changes.T @ changes / len(changes))
        kept = self.config.latent_dim
        self.components.copy_(directions[:, -kept:].flip(1))
        self.unit.copy_(strength[-kept:].mean().clamp_min(1e-12).sqrt())
        share = float(strength[-kept:].sum() / strength.sum().clamp_min(1e-12))
        logger.info(
            "%d components of %d channels hold %.1f %% of what changes",
            kept,
            len(strength),
            100 * share,
        )

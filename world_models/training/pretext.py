"""Pretext tasks for a patch encoder: masked latents, masked pixels, self-distillation.

The usual training loop trains the pretext task before the predictor (see ``kinds.frozen_patches``).
A pretext task is a ``WorldModel`` that predicts no change, so that the usual diagnostics apply.
Masks are drawn once per gradient step and shared by the batch.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepabench.envs.errors import unknown_name
from jepabench.world_models.base import TrajectoryBatch
from jepabench.world_models.networks.encoders import augment_shift
from jepabench.world_models.networks.moving_average import update_average
from jepabench.world_models.networks.patches import count_patches, make_transformer


def encode_positions(side: int, width: int) -> Tensor:
    """Return the sine-cosine position code [side^2, width] of a square grid (MAE, I-JEPA)."""
    if width % 4:
        raise ValueError(f"width must be a multiple of 4, got {width}.")
    rates = 1.0 / 10000 ** (torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * rates  # [side, width / 4]
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)  # [side, width / 2]
    rows, columns = axis[:, None].expand(side, side, -1), axis[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


class PatchEncoder(nn.Module):
    """A small vision transformer that returns one token per patch: [N, s, s, 3] to [N, P, W].

    Args:
        width: Width W of a token, a multiple of 4 and of ``num_heads``.
        depth: Number of transformer blocks.
        num_heads: Number of attention heads.
        patch_size: Side length of a patch in pixels, a divisor of ``image_size``.
        image_size: Side length of the frames in pixels.
    """

    places: Tensor

    def __init__(
        self,
        *,
        width: int = 64,
        depth: int = 3,
        num_heads: int = 4,
        patch_size: int = 8,
        image_size: int = 64,
    ) -> None:
        super().__init__()
        self.width, self.patch_size = width, patch_size
        self.side = count_patches(image_size, patch_size)
        self.stem = nn.Linear(3 * patch_size**2, width)
        self.register_buffer("places", encode_positions(self.side, width), persistent=False)
        self.blocks = make_transformer(width, depth, num_heads)

    def patches(self, frames: Tensor) -> Tensor:
        """Cut frames uint8 [N, s, s, 3] into patches [N, P, 3 * patch_size^2] in [-1, 1]."""
        pixels = frames.permute(0, 3, 1, 2).float() * (2 / 255) - 1
        return functional.unfold(pixels, self.patch_size, stride=self.patch_size).transpose(1, 2)

    def forward(self, frames: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode frames uint8 [N, s, s, 3] into tokens [N, P, W]; ``keep`` [M] selects patches."""
        tokens = self.stem(self.patches(frames)) + self.places
        return self.blocks(tokens if keep is None else tokens[:, keep]).float()


class Pretext(nn.Module):
    """Base class of pretext tasks: an encoder and optionally a slow copy, as a ``WorldModel``.

    Args:
        encoder: Encoder to train.
        action_size: Size A of an action. Actions are ignored.
        window: Number of frames in a clip.
        momentum: Initial momentum of the slow copy, a moving average of the encoder. It rises to 1
            at the end of the training. 0 for no copy.
    """

    observation_key, history = "pixels", 1

    def __init__(
        self, encoder: PatchEncoder, *, action_size: int, window: int = 1, momentum: float = 0.0
    ) -> None:
        super().__init__()
        self.encoder, self.action_size, self.window, self.momentum = (
            encoder,
            action_size,
            window,
            momentum,
        )
        self.slow = copy.deepcopy(encoder).requires_grad_(False) if momentum else None

    def encode(self, observation: Tensor) -> Tensor:
        """Encode frames [N, s, s, 3] into tokens [N, P, W]."""
        return self.encoder(observation)

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict that nothing changes."""
        del actions
        return latents[:, -1]

    def after_step(self, progress: float) -> None:
        """Update the slow copy after a gradient step; see ``update_average``."""
        if self.slow is not None:
            update_average(self.slow, self.encoder, self.momentum, progress)

    @torch.no_grad()
    def targets(self, frames: Tensor) -> Tensor:
        """Return the slow copy's tokens of whole frames, layer-normalised [N, P, W]."""
        if self.slow is None:
            raise ValueError("This pretext task has no moving-average copy.")
        return functional.layer_norm(self.slow(frames), (self.encoder.width,))


class MaskedPrediction(Pretext):
    """Prediction of masked patches from visible ones: I-JEPA on frames, V-JEPA on clips.

    As in I-JEPA (arXiv 2301.08243) and V-JEPA (arXiv 2404.08471), a slow copy of the encoder maps
    whole frames to layer-normalised targets. The encoder sees a large block, out of which several
    small blocks are cut, and a narrower transformer predicts the tokens of the small blocks. Unlike
    these methods, ours predicts all blocks together and cuts out the same positions in all frames
    of a clip. As V-JEPA 2 does for control, it encodes each frame of a clip separately, so that the
    encoder can be used on single frames.

    Args:
        num_targets: Number of small blocks that are cut out.
        target_scale: Smallest and largest share of the frame that a small block covers.
        context_scale: Smallest and largest share of the frame that the large block covers.
        loss: Loss on tokens, "l2" (I-JEPA) or "l1" (V-JEPA).
        predictor_width: Width of the predicting transformer.
        predictor_depth: Number of blocks of the predicting transformer.
    """

    def __init__(
        self,
        encoder: PatchEncoder,
        *,
        action_size: int,
        window: int = 1,
        momentum: float = 0.996,
        num_targets: int = 4,
        target_scale: tuple[float, float] = (0.15, 0.2),
        context_scale: tuple[float, float] = (0.85, 1.0),
        loss: str = "l2",
        predictor_width: int = 32,
        predictor_depth: int = 2,
    ) -> None:
        super().__init__(encoder, action_size=action_size, window=window, momentum=momentum)
        self.num_targets, self.target_scale, self.context_scale = (
            num_targets,
            target_scale,
            context_scale,
        )
        if loss not in ("l1", "l2"):
            raise unknown_name("loss", loss, ("l1", "l2"))
        self.error = functional.l1_loss if loss == "l1" else functional.mse_loss
        self.enter, self.leave = (
            nn.Linear(encoder.width, predictor_width),
            nn.Linear(predictor_width, encoder.width),
        )
        self.blank = nn.Parameter(torch.randn(predictor_width) * 0.02)
        self.moments = nn.Parameter(torch.randn(window, 1, predictor_width) * 0.02)
        self.register_buffer(
            "places", encode_positions(encoder.side, predictor_width), persistent=False
        )
        self.predictor = make_transformer(predictor_width, predictor_depth, 4)

    def draw_masks(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the visible positions [M] and the positions to predict [Q]; they are disjoint."""
        side = self.encoder.side
        wanted = torch.zeros(side, side, dtype=torch.bool)
        for _ in range(self.num_targets):
            wanted |= _block(side, self.target_scale, (0.75, 1.5), generator)
        seen = _block(side, self.context_scale, (1.0, 1.0), generator) & ~wanted
        return seen.flatten().nonzero()[:, 0], wanted.flatten().nonzero()[:, 0]

    def losses(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the error of the predicted tokens."""
        frames = batch.observations["pixels"]  # [B, T, s, s, 3]
        clips, moments = frames.shape[:2]
        seen, wanted = self.draw_masks(generator)
        context = self.encoder(frames.flatten(0, 1), seen).unflatten(0, (clips, moments))
        places: Tensor = self.places  # pyright: ignore[reportAssignmentType]
        known = self.enter(context) + places[seen] + self.moments
        blank = (self.blank + places[wanted] + self.moments).expand(clips, -1, -1, -1)
        tokens = torch.cat([known, blank], dim=2).flatten(1, 2)  # [B, T (M + Q), predictor_width]
        predicted = self.leave(self.predictor(tokens)).unflatten(1, (moments, -1))[
            :, :, len(seen) :
        ]
        target = self.targets(frames.flatten(0, 1))[:, wanted].unflatten(0, (clips, moments))
        return {"masked_prediction": self.error(predicted, target)}


def _block(
    side: int, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Draw a rectangle that covers a share in ``scale`` of the grid, as a mask [side, side]."""
    size, shape, top, left = torch.rand(4, generator=generator).tolist()
    area = (scale[0] + size * (scale[1] - scale[0])) * side**2
    aspect = ratio[0] * (ratio[1] / ratio[0]) ** shape
    height, width = (
        min(side, max(1, round(math.sqrt(part)))) for part in (area * aspect, area / aspect)
    )
    top, left = int(top * (side - height + 1)), int(left * (side - width + 1))
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


class MaskedPixels(Pretext):
    """A masked autoencoder (arXiv 2111.06377), the generative control.

    Args:
        mask_share: Share of the patches that are masked.
        decoder_width: Width of the reconstructing transformer.
        decoder_depth: Number of blocks of the reconstructing transformer.
    """

    def __init__(
        self,
        encoder: PatchEncoder,
        *,
        action_size: int,
        mask_share: float = 0.75,
        decoder_width: int = 32,
        decoder_depth: int = 1,
    ) -> None:
        super().__init__(encoder, action_size=action_size)
        self.mask_share = mask_share
        self.enter = nn.Linear(encoder.width, decoder_width)
        self.blank = nn.Parameter(torch.randn(decoder_width) * 0.02)
        self.register_buffer(
            "places", encode_positions(encoder.side, decoder_width), persistent=False
        )
        self.decoder = make_transformer(decoder_width, decoder_depth, 4)
        self.leave = nn.Linear(decoder_width, 3 * encoder.patch_size**2)

    def losses(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the squared error of the masked patches, each of which is standardised."""
        frames = batch.observations["pixels"].flatten(0, 1)
        num_places = self.encoder.side**2
        order = torch.randperm(num_places, generator=generator)
        seen, wanted = order.tensor_split([round(num_places * (1 - self.mask_share))])
        places: Tensor = self.places  # pyright: ignore[reportAssignmentType]
        known = self.enter(self.encoder(frames, seen)) + places[seen]
        blank = (self.blank + places[wanted]).expand(len(frames), -1, -1)
        painted = self.leave(self.decoder(torch.cat([known, blank], dim=1))[:, len(seen) :])
        truth = self.encoder.patches(frames)[:, wanted]
        mean, variance = truth.mean(-1, keepdim=True), truth.var(-1, keepdim=True)
        return {
            "masked_pixels": functional.mse_loss(painted, (truth - mean) / (variance + 1e-4).sqrt())
        }


class SelfDistillation(Pretext):
    """DINO (arXiv 2104.14294): predict the output of a slow teacher for another view.

    Views differ by a shift and by their brightness. Student and teacher have a head with
    ``num_prototypes`` outputs; those of the teacher are centred and sharpened. Instead of DINO's
    crops of several sizes, the student sees a block of the patches.

    Args:
        num_prototypes: Number of outputs of the heads.
        padding: Largest shift of a view in pixels.
        student_temperature: Temperature of the student's softmax.
        teacher_temperature: Temperature of the teacher's softmax.
    """

    centre: Tensor

    def __init__(
        self,
        encoder: PatchEncoder,
        *,
        action_size: int,
        momentum: float = 0.99,
        num_prototypes: int = 256,
        padding: int = 3,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
    ) -> None:
        super().__init__(encoder, action_size=action_size, momentum=momentum)
        self.padding, self.temperatures = padding, (student_temperature, teacher_temperature)
        self.head = nn.Sequential(
            nn.Linear(encoder.width, 256),
            nn.GELU(),
            nn.Linear(256, 64),
            _UnitLength(),
            nn.utils.parametrizations.weight_norm(nn.Linear(64, num_prototypes, bias=False)),
        )
        self.slow_head = copy.deepcopy(self.head).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(num_prototypes))

    def losses(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean cross-entropy of student and teacher, over both orders of the views."""
        frames = batch.observations["pixels"]
        views = [self._view(frames, generator).flatten(0, 1) for _ in range(2)]
        with torch.no_grad():
            outputs = [self.slow_head(self._slow(view).mean(1)) for view in views]
            targets = [
                ((logits - self.centre) / self.temperatures[1]).softmax(-1) for logits in outputs
            ]
            self.centre.lerp_(torch.cat(outputs).mean(0), 0.1)
        total = frames.new_zeros((), dtype=torch.float32)
        for view, target in zip(views, targets[::-1], strict=True):
            seen = (
                _block(self.encoder.side, (0.3, 0.9), (0.75, 1.5), generator)
                .flatten()
                .nonzero()[:, 0]
            )
            logits = self.head(self.encoder(view, seen).mean(1)) / self.temperatures[0]
            total = total - (target * logits.log_softmax(-1)).sum(-1).mean()
        return {"self_distillation": total / 2}

    def after_step(self, progress: float) -> None:
        """Update the slow encoder and its head after a gradient step."""
        super().after_step(progress)
        update_average(self.slow_head, self.head, self.momentum, progress)

    def _slow(self, frames: Tensor) -> Tensor:
        return (self.slow or self.encoder)(frames)

    def _view(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        moved = augment_shift(frames, padding=self.padding, generator=generator)
        gain = 0.7 + 0.6 * torch.rand(len(frames), 1, 1, 1, 1, generator=generator)
        return (moved.float() * gain).clamp(0, 255).to(torch.uint8)


class _UnitLength(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return functional.normalize(values, dim=-1)


PRETEXTS: dict[str, tuple[type[Pretext], dict[str, Any]]] = {
    "dino": (SelfDistillation, {}),
    "i-jepa": (MaskedPrediction, {}),
    "mae": (MaskedPixels, {}),
    "v-jepa": (MaskedPrediction, {"window": 4, "loss": "l1"}),
}


def make_pretext(
    name: str, options: dict[str, Any], encoder: PatchEncoder, *, action_size: int
) -> Pretext:
    """Make the pretext task called ``name`` around an encoder.

    Raises:
        UnknownNameError: There is no such pretext task.
    """
    if name not in PRETEXTS:
        raise unknown_name("pretext task", name, PRETEXTS)
    kind, defaults = PRETEXTS[name]
    return kind(encoder, action_size=action_size, **{**defaults, **options})

"""Encoders from one frame or state to one latent. The predictor handles the history.

A latent is a vector [D], or one vector for each of P positions or slots [P, D]. Encoders with
positions have an attribute ``num_positions``.

Frames are uint8 [N, size, size, 3], as in a dataset. Encoders scale them to [-1, 1] in the compute
type of the caller (bfloat16 under autocast), in channels-last memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepabench.envs.errors import unknown_name
from jepabench.world_models.networks.base import Encoder
from jepabench.world_models.networks.lewm import LeWMEncoder
from jepabench.world_models.networks.patches import count_patches, make_transformer


def _normalise(frames: Tensor) -> Tensor:
    """Turn uint8 [N, s, s, 3] into floats in [-1, 1], [N, 3, s, s] in channels-last memory."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    return frames.permute(0, 3, 1, 2).to(dtype).mul_(2 / 255).sub_(1.0)


NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


def _head(inputs: int, hidden: int, latent_dim: int, norm: str = "layer") -> nn.Sequential:
    # There is no normalisation after the last layer, since with LayerNorm, latents cannot reach
    # the distribution N(0, I) of SIGReg.
    if norm not in NORMS:
        raise unknown_name("head_norm", norm, NORMS)
    return nn.Sequential(
        nn.Linear(inputs, hidden), NORMS[norm](hidden), nn.GELU(), nn.Linear(hidden, latent_dim)
    )


class ConvEncoder(Encoder):
    """Strided convolutions and an MLP on the flattened map: [N, s, s, 3] to [N, D].

    Args:
        latent_dim: Size D of a latent.
        width: Number of channels of the first layer. Each of the two other layers doubles it.
        image_size: Side length of the frames in pixels, a multiple of 16.
    """

    def __init__(self, *, latent_dim: int = 32, width: int = 32, image_size: int = 64) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=4),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
            nn.GELU(),
        )
        self.head = _head(4 * width * (image_size // 16) ** 2, 256, latent_dim)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames uint8 [N, s, s, 3] into latents [N, D]."""
        return self.head(self.features(_normalise(frames)).flatten(1)).float()


class KeypointEncoder(Encoder):
    """Keypoints: a spatial softmax over feature maps, and an MLP on their coordinates.

    The spatial softmax follows Levine et al. (2016). Each map returns a strength beside its
    coordinates, so that an absent feature can be distinguished from one in the middle of the frame.

    Each map is standardised over its positions before the softmax and has its own learned
    temperature. Without them the maps stay flat. A flat softmax only computes a centre of mass, and
    its coordinates hardly vary before they are normalised. On Push-T, such an encoder never
    represented the angle of the block (probe R2 0.01 after 566 steps, against 0.85 after 112 steps
    with the standardisation).

    Args:
        latent_dim: Size D of a latent.
        width: Number of channels of the feature layers.
        num_keypoints: Number of maps, each of which returns x, y in [-1, 1] and a strength.
        num_layers: Number of 3x3 convolutions after the patch stem.
        hidden: Width of the hidden layer of the MLP.
        head_norm: Normalisation inside the MLP, "layer" or "batch". LeWM uses "batch" before
            SIGReg.
    """

    def __init__(
        self,
        *,
        latent_dim: int = 32,
        width: int = 32,
        num_keypoints: int = 32,
        num_layers: int = 2,
        hidden: int = 256,
        head_norm: str = "layer",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=4)]
        for layer in range(num_layers):
            layers += [
                nn.GELU(),
                nn.Conv2d(width, num_keypoints if layer == num_layers - 1 else width, 3, padding=1),
            ]
        self.features = nn.Sequential(*layers)
        self.temperature = nn.Parameter(torch.full((num_keypoints, 1), 1.5))
        # Coordinates of an untrained map vary little. Without normalisation, the loss hardly falls
        # in the first hundred steps.
        self.standardise = nn.BatchNorm1d(3 * num_keypoints)
        self.head = _head(3 * num_keypoints, hidden, latent_dim, head_norm)

    def keypoints(self, frames: Tensor) -> Tensor:
        """Return x, y (right and down, in [-1, 1]) and strength per map [N, num_keypoints, 3]."""
        maps = self.features(_normalise(frames)).float()
        height, width = maps.shape[-2:]
        # Copy the maps out of channels-last memory once; the operations below need contiguous rows.
        logits = functional.layer_norm(maps.contiguous().flatten(2), (height * width,))
        where = torch.softmax(logits * self.temperature, dim=-1)  # [N, M, P]
        ys, xs = torch.meshgrid(
            torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
        )
        grid = torch.stack([xs.flatten(), ys.flatten()], dim=-1).to(maps.device)  # [P, 2]
        strength = (where * logits).sum(-1, keepdim=True)
        return torch.cat([where @ grid, strength], dim=-1)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames uint8 [N, s, s, 3] into latents [N, D]."""
        return self.head(self.standardise(self.keypoints(frames).flatten(1))).float()


class ViTEncoder(Encoder):
    """A small vision transformer with mean pooling and an MLP head: [N, s, s, 3] to [N, D].

    Args:
        latent_dim: Size D of a latent.
        image_size: Side length of the frames in pixels.
        patch_size: Side length of a patch in pixels, a divisor of ``image_size``.
        width: Width of the transformer.
        depth: Number of transformer blocks.
        num_heads: Number of attention heads.
    """

    def __init__(
        self,
        *,
        latent_dim: int = 32,
        image_size: int = 64,
        patch_size: int = 8,
        width: int = 96,
        depth: int = 4,
        num_heads: int = 3,
    ) -> None:
        super().__init__()
        side = count_patches(image_size, patch_size)
        self.stem = nn.Conv2d(3, width, patch_size, stride=patch_size)
        self.positions = nn.Parameter(torch.randn(1, side**2, width) * 0.02)
        self.blocks = make_transformer(width, depth, num_heads)
        self.head = _head(width, 256, latent_dim)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames uint8 [N, s, s, 3] into latents [N, D]."""
        tokens = self.stem(_normalise(frames)).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.blocks(tokens).mean(1)).float()


class SpatialEncoder(Encoder):
    """A feature map: [N, s, s, 3] to [N, P, D] with P = (s / 8)^2 positions, row by row.

    Args:
        latent_dim: Size D of the latent at each position.
        width: Number of channels of the layers.
        num_layers: Number of residual 3x3 convolutions on the map. Each extends the receptive field
            by one position.
        image_size: Side length of the frames in pixels, a multiple of 8.
    """

    def __init__(
        self, *, latent_dim: int = 8, width: int = 32, num_layers: int = 2, image_size: int = 64
    ) -> None:
        super().__init__()
        self.num_positions = (image_size // 8) ** 2
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=4),
            nn.GELU(),
            nn.Conv2d(width, width, 4, stride=2, padding=1),
        )
        self.layers = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, width), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(num_layers)
        )
        self.head = nn.Conv2d(width, latent_dim, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames uint8 [N, s, s, 3] into latents [N, P, D]."""
        maps = self.stem(_normalise(frames))
        for layer in self.layers:
            maps = maps + layer(maps)
        return self.head(functional.gelu(maps)).flatten(2).transpose(1, 2).float()


class SlotEncoder(Encoder):
    """Slot attention (Locatello et al., 2020): [N, s, s, 3] to [N, P, D] with P slots.

    The softmax is over slots, so that few of them explain each position. Ours starts from learned
    instead of random slots, so that a slot means the same in every frame.

    Args:
        latent_dim: Size D of the latent of each slot.
        num_slots: Number P of slots.
        width: Width of the slots during attention.
        num_iterations: Number of attention rounds.
        image_size: Side length of the frames in pixels, a multiple of 4.
    """

    def __init__(
        self,
        *,
        latent_dim: int = 16,
        num_slots: int = 6,
        width: int = 32,
        num_iterations: int = 2,
        image_size: int = 64,
    ) -> None:
        super().__init__()
        self.num_positions, self.num_iterations = num_slots, num_iterations
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=4),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.places = nn.Parameter(torch.randn(1, (image_size // 4) ** 2, width) * 0.02)
        self.inputs = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2 * width)
        )
        self.slots = nn.Parameter(torch.randn(1, num_slots, width) * 0.5)
        self.query = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width, bias=False))
        self.update = nn.GRUCell(width, width)
        self.head = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, latent_dim),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames uint8 [N, s, s, 3] into latents [N, P, D]."""
        places = self.features(_normalise(frames)).flatten(2).transpose(1, 2) + self.places
        keys, values = self.inputs(places).float().chunk(2, dim=-1)
        slots = self.slots.expand(len(frames), -1, -1)
        for _ in range(self.num_iterations):
            logits = (
                self.query(slots).float() @ keys.transpose(1, 2) / keys.shape[-1] ** 0.5
            )  # [N, P, places]
            share = logits.softmax(dim=1) + 1e-6
            seen = (share / share.sum(-1, keepdim=True)) @ values
            slots = self.update(seen.flatten(0, 1), slots.flatten(0, 1).float()).view_as(slots)
        return self.head(slots).float()


class StateEncoder(Encoder):
    """The state twin's encoder: the standardised true state. Nothing is learned.

    Args:
        mean: Mean of the observation over the training data [O].
        std: Standard deviation of the observation over the training data [O]. With ``units: step``,
            the standard deviation of its change per model step.
    """

    def __init__(self, *, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, observation: Tensor) -> Tensor:
        """Standardise observations [N, O]."""
        return (observation.float() - self.mean) / self.std  # pyright: ignore[reportOperatorIssue]


ENCODERS: dict[str, type[Encoder]] = {
    "conv": ConvEncoder,
    "keypoint": KeypointEncoder,
    "lewm": LeWMEncoder,
    "slots": SlotEncoder,
    "spatial": SpatialEncoder,
    "state": StateEncoder,
    "vit": ViTEncoder,
}


def make_encoder(name: str, options: dict[str, Any]) -> Encoder:
    """Make the encoder called ``name`` in channels-last memory.

    Raises:
        UnknownNameError: There is no such encoder.
    """
    if name not in ENCODERS:
        raise unknown_name("encoder", name, ENCODERS)
    return ENCODERS[name](**options).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def augment_shift(frames: Tensor, *, padding: int, generator: torch.Generator) -> Tensor:
    """Shift windows [B, T, s, s, 3] by up to ``padding`` pixels, all T frames of one alike."""
    if not padding:
        return frames
    windows, steps, size = frames.shape[:3]
    stacked = frames.permute(0, 1, 4, 2, 3).reshape(windows, steps * 3, size, size)
    padded = functional.pad(stacked.float(), (padding,) * 4, mode="replicate").to(frames.dtype)
    offsets = torch.randint(0, 2 * padding + 1, (windows, 2), generator=generator).tolist()
    moved = torch.stack(
        [padded[i, :, y : y + size, x : x + size] for i, (y, x) in enumerate(offsets)]
    )
    return moved.reshape(windows, steps, 3, size, size).permute(0, 1, 3, 4, 2)


def augment_colour(frames: Tensor, *, strength: float, generator: torch.Generator) -> Tensor:
    """Change the colours and the brightness of each frame of uint8 windows [B, T, s, s, 3].

    A smooth random map of colour space changes different colours differently. Shapes and positions
    do not change. Each frame of a window has its own map, so that colours cannot be predicted.

    Args:
        frames: Frames uint8 [B, T, s, s, 3].
        strength: Largest change of a colour relative to its range, and largest relative change of
            the brightness.
        generator: Random generator of the maps.
    """
    if not strength:
        return frames
    colours = frames.flatten(0, 1).flatten(1, 2).float() / 255  # [B T, s s, 3]
    mixing = torch.randn(len(colours), 3, 3, generator=generator)
    phase = torch.rand(len(colours), 1, 3, generator=generator)
    gain = 1 + strength * (2 * torch.rand(len(colours), 1, 1, generator=generator) - 1)
    moved = (
        torch.baddbmm(phase.expand_as(colours), colours, mixing)
        .mul_(2 * torch.pi)
        .sin_()
        .mul_(strength)
    )
    return moved.addcmul_(colours, gain).clamp_(0, 1).mul_(255).to(torch.uint8).view_as(frames)

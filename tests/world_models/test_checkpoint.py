"""Test that damaged and forged checkpoints are refused and that none of their code runs."""

import dataclasses
import json
import struct
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from jepabench.envs.errors import UnknownNameError
from jepabench.world_models.checkpoint import CheckpointError, load_world_model, save_world_model
from jepabench.world_models.kinds.jepa import JEPA
from jepabench.world_models.registry import build_model, find_kind, list_kinds, register_kind
from jepabench.world_models.training.batches import ActionScale

CONFIG = {"encoder_options": {"width": 4, "num_keypoints": 4, "hidden": 8}, "latent_dim": 6}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_world_model(
        tmp_path / "model",
        kind="jepa",
        model=build_model("jepa", CONFIG | {"action_size": 2}),
        scale=ActionScale(torch.zeros(2), torch.ones(2)),
        task_id="jepabench/TwoRoom-v1",
        metadata={"seed": 0},
    )
    return tmp_path / "model"


def edit(folder: Path, **changes) -> None:
    path = folder / "model.json"
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Put a module on the path that must not be imported, and return whether it was."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "trap_models.py").write_text(
        "from jepabench.world_models.kinds.jepa import JEPA\nclass Mine(JEPA):\n    pass\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "trap_models", raising=False)
    return lambda: "trap_models" in sys.modules


def declare_kind(folder: Path, name: str) -> None:
    """Write what the installation of a package that declares a kind leaves."""
    info = folder / "trap_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: trap-package\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(
        f"[jepabench.world_models]\n{name} = trap_models:Mine\n", encoding="utf-8"
    )


def test_a_task_of_another_model_is_refused(checkpoint):
    with pytest.raises(CheckpointError, match="trained on jepabench/TwoRoom-v1, not on"):
        load_world_model(checkpoint, task_id="jepabench/PointMaze-UMaze-v1")


@pytest.mark.parametrize("task_id", ["trap_models:TwoRoom-v1", "this:TwoRoom-v1", "Nothing-v1", ""])
def test_the_task_of_a_checkpoint_imports_no_module(checkpoint, trap, task_id):
    edit(checkpoint, task_id=task_id)
    with pytest.raises(CheckpointError, match="is not registered"):
        load_world_model(checkpoint)
    assert not trap() and "this" not in sys.modules


@pytest.mark.parametrize("kind", ["trap_models:Mine", "trap_models.Mine", "mine", "jepo"])
def test_an_unknown_kind_imports_no_module(checkpoint, trap, kind):
    edit(checkpoint, kind=kind)
    with pytest.raises(CheckpointError, match=r"Unknown world model kind .* install that package"):
        load_world_model(checkpoint)
    assert not trap()


def test_an_installed_package_adds_a_kind(checkpoint, trap, tmp_path):
    declare_kind(tmp_path / "site", "trap-mine")
    assert "trap-mine" in list_kinds() and not trap()
    with pytest.raises(UnknownNameError):
        find_kind("trap-other")
    assert not trap()
    edit(checkpoint, kind="trap-mine")
    assert type(load_world_model(checkpoint).model).__name__ == "Mine"
    assert trap()


def test_a_package_beside_the_checkpoint_is_not_installed(checkpoint, trap, tmp_path, monkeypatch):
    declare_kind(tmp_path / "site", "trap-here")
    monkeypatch.chdir(tmp_path / "site")
    edit(checkpoint, kind="trap-here")
    with pytest.raises(CheckpointError, match="Unknown world model kind"):
        load_world_model(checkpoint)
    assert not trap()


def test_kinds_have_one_class_each_and_a_config():
    register_kind("jepa", JEPA)
    with pytest.raises(ValueError, match="registered already, by JEPA"):
        register_kind("jepa", type("Other", (JEPA,), {}))
    with pytest.raises(TypeError, match="needs a dataclass as `config_class`"):
        register_kind("linear", torch.nn.Linear)
    assert "linear" not in list_kinds()
    assert dataclasses.is_dataclass(find_kind("jepa").config_class)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "null", '{"schema": 0}', '{"schema": 1}', "[" * 100_000],
    ids=["nothing", "cut", "list", "empty", "null", "old", "schema-alone", "deep"],
)
def test_a_blank_description_is_refused(checkpoint, text):
    (checkpoint / "model.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"damaged|describes no world model"):
        load_world_model(checkpoint)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "has schema 2"),
        ({"config": []}, "entry 'config'"),
        ({"metadata": None}, "entry 'metadata'"),
        ({"kind": 3}, "entry 'kind'"),
        ({"config": {}}, "describes no valid 'jepa' model"),
        ({"config": {"action_size": "two"}}, "describes no valid 'jepa' model"),
        ({"config": {"action_size": 2, "terms": 3}}, "describes no valid 'jepa' model"),
        ({"config": {"action_size": 2, "latent_dims": 3}}, "Did you mean 'latent_dim'"),
        ({"config": {"action_size": 2, "latent_dim": 9}}, "do not fit"),
    ],
)
def test_a_wrong_entry_is_refused(checkpoint, changes, reason):
    edit(checkpoint, **changes)
    with pytest.raises(CheckpointError, match=reason):
        load_world_model(checkpoint)


def test_a_repeated_key_of_the_description_is_refused(checkpoint):
    path = checkpoint / "model.json"
    path.write_text(path.read_text(encoding="utf-8")[:-1] + ', "kind": "jepa"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="key 'kind' appears twice"):
        load_world_model(checkpoint)


def test_truncated_weights_are_refused(checkpoint):
    path = checkpoint / "weights.safetensors"
    for data in (path.read_bytes()[: path.stat().st_size // 2], b"", b"12345678"):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="cut or damaged"):
            load_world_model(checkpoint)


def test_a_repeated_key_of_the_weights_is_refused(checkpoint):
    path = checkpoint / "weights.safetensors"
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    entry = json.dumps({"scale.std": header["scale.std"]})[1:-1]
    text = json.dumps(header).encode()[:-1] + b", " + entry.encode() + b"}"
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    with pytest.raises(CheckpointError, match=r"scale\.std"):
        load_world_model(checkpoint)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_with_nan_or_infinity_are_refused(checkpoint, value):
    path = checkpoint / "weights.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith("model.predictor"))
    tensors[name].view(-1)[0] = value
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        load_world_model(checkpoint)


@pytest.mark.parametrize(
    "std", [None, torch.ones(3), torch.zeros(2)], ids=["missing", "wide", "zero"]
)
def test_an_impossible_action_scale_is_refused(checkpoint, std):
    path = checkpoint / "weights.safetensors"
    tensors = load_file(path)
    del tensors["scale.std"]
    save_file(tensors | ({} if std is None else {"scale.std": std}), path)
    with pytest.raises(CheckpointError, match="action scale"):
        load_world_model(checkpoint)

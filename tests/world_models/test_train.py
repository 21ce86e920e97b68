import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jepabench.world_models.analysis.diagnostics import CollapseError, diagnose
from jepabench.world_models.checkpoint import MODELS, CheckpointError, load_world_model
from jepabench.world_models.kinds.jepa import JEPA, JEPAConfig
from jepabench.world_models.training import fit as train_module
from jepabench.world_models.training.fit import TrainConfig, fit

MODEL = {
    "encoder": "keypoint",
    "encoder_options": {"width": 8, "num_keypoints": 8, "hidden": 32},
    "latent_dim": 8,
    "history": 1,
    "rollout_steps": 2,
    "predictor_options": {"width": 32, "depth": 1},
    "terms": {
        "sigreg": {"weight": 0.05, "num_directions": 32},
        "inverse_dynamics": {"weight": 1.0},
    },
}
TRAINING = {
    "num_steps": 30,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "diagnose_every": 100,
    "decoder_steps": 5,
}


def fit_small(
    two_room,
    directory: Path,
    *,
    training: dict | None = None,
    model: dict | None = None,
    seed: int = 0,
    kind="jepa",
):
    data, held_out = two_room
    return fit(
        dataset=data.path,
        validation=held_out.path,
        directory=directory,
        seed=seed,
        kind=kind,
        model={**MODEL, **(model or {})},
        training={**TRAINING, **(training or {})},
        progress=False,
    )


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return dict(load_world_model(directory).model.state_dict())


def test_training_learns_where_the_ball_is_and_saves_a_model_that_loads_the_same(
    two_room, tmp_path
):
    diagnosis = fit_small(two_room, tmp_path / "m", training={"num_steps": 150})
    assert min(diagnosis.probe_r2[:2]) > 0.7
    assert not diagnosis.collapsed
    loaded = load_world_model(tmp_path / "m", task_id="jepabench/TwoRoom-v1")
    again = diagnose(loaded.model, two_room[1], scale=loaded.scale)
    assert (
        again == pytest.approx(diagnosis, nan_ok=True)
        or dataclasses.astuple(again)[:3] == dataclasses.astuple(diagnosis)[:3]
    )
    assert loaded.decoder is not None
    assert loaded.decoder.paint(torch.zeros(2, 8)).shape == (2, 64, 64, 3)
    assert loaded.metadata["dataset_fingerprint"] == two_room[0].manifest.fingerprint
    assert loaded.metadata["transitions"] == 40 * 8 * 5
    assert not any(p.requires_grad for p in loaded.model.parameters())


def test_the_same_seed_gives_the_same_weights_and_another_one_does_not(two_room, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fit_small(two_room, tmp_path / name, seed=seed, training={"num_steps": 5})
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert any(not torch.equal(a[key], c[key]) for key in a)


@pytest.mark.parametrize("kind", ["jepa", "ensemble"])
def test_the_predictor_learns_on_alone(two_room, tmp_path, kind):
    before = fit_small(two_room, tmp_path / "before", kind=kind)
    after = fit_small(
        two_room,
        tmp_path / "after",
        kind=kind,
        training={"predictor_steps": 100, "predictor_batch_size": 64},
    )
    assert after.probe_r2[:2] == before.probe_r2[:2]  # the encoder is as it was
    assert after.error_ratio[0] < 0.9 * before.error_ratio[0]
    changed = {
        name
        for name, value in weights(tmp_path / "after").items()
        if not torch.equal(value, weights(tmp_path / "before")[name])
    }
    assert changed and all(name.startswith("predictor.") for name in changed)


@pytest.mark.parametrize(("kind", "changes"), [("autoencoder", {}), ("jepa", {"momentum": 0.9})])
def test_a_predictor_that_needs_more_than_latents_does_not_learn_alone(
    two_room, tmp_path, kind, changes
):
    data, held_out = two_room
    with pytest.raises(ValueError, match="leave it at 0"):
        fit(
            dataset=data.path,
            validation=held_out.path,
            directory=tmp_path / "m",
            seed=0,
            kind=kind,
            progress=False,
            model=MODEL | changes,
            training={**TRAINING, "predictor_steps": 60},
        )


def test_several_predictors_share_one_encoder(two_room, tmp_path):
    whole = fit_small(two_room, tmp_path / "whole")
    data, held_out = two_room
    model = {**MODEL, "predictor": "substep", "predictor_options": {"width": 32, "memory": 4}}

    def refit(folder="other", *, dataset=data.path, **changes):
        return fit(
            dataset=dataset,
            validation=held_out.path,
            directory=tmp_path / folder,
            seed=0,
            kind="jepa",
            progress=False,
            model=model | changes,
            training={**TRAINING, "predictor_steps": 60},
            encoder_from=tmp_path / "whole",
        )

    assert refit().probe_r2[:2] == whole.probe_r2[:2]
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "other")
    assert all(
        torch.equal(value, other[name])
        for name, value in one.items()
        if name.startswith("encoder.")
    )
    with pytest.raises(ValueError, match="another make"):
        refit("narrow", encoder_options={"width": 4, "num_keypoints": 8, "hidden": 32})
    with pytest.raises(ValueError, match="another dataset"):
        refit("elsewhere", dataset=held_out.path)


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(two_room, tmp_path, monkeypatch):
    fit_small(two_room, tmp_path / "whole", training={"num_steps": 12})
    step = train_module._train_step

    def die_at_seven(*arguments):
        if arguments[-1] == 7:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(train_module, "_train_step", die_at_seven)
    with pytest.raises(KeyboardInterrupt):
        fit_small(
            two_room, tmp_path / "parts", training={"num_steps": 12, "checkpoint_seconds": 0.0}
        )
    with pytest.raises(CheckpointError, match="did not finish"):
        load_world_model(tmp_path / "parts")
    taken: list[int] = []
    monkeypatch.setattr(train_module, "_train_step", lambda *a: (taken.append(a[-1]), step(*a))[1])
    fit_small(two_room, tmp_path / "parts", training={"num_steps": 12, "checkpoint_seconds": 0.0})
    assert taken == [7, 8, 9, 10, 11]
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


class Averaged(JEPA):
    """Keeps a copy of its encoder's last bias, an average of which follows it after each step."""

    def __init__(self, config: JEPAConfig) -> None:
        super().__init__(config)
        self.register_buffer("average", torch.zeros(config.latent_dim))
        self.seen: list[float] = []
        self.inverse[0].requires_grad_(False)

    def after_step(self, progress: float) -> None:
        self.seen.append(progress)
        self.average = self.encoder.head[-1].bias.detach().clone()


def test_a_model_is_called_after_each_step_and_what_needs_no_gradient_stays(
    two_room, tmp_path, monkeypatch
):
    built: list[Averaged] = []
    monkeypatch.setitem(
        MODELS, "averaged", (lambda config: built.append(Averaged(config)) or built[-1], JEPAConfig)
    )
    torch.manual_seed(0)
    before = Averaged(JEPAConfig(**MODEL, action_size=2)).inverse[0].weight.clone()
    fit_small(two_room, tmp_path / "m", training={"num_steps": 4}, kind="averaged")
    assert built[0].seen == [0.25, 0.5, 0.75, 1.0]
    loaded = load_world_model(tmp_path / "m").model
    torch.testing.assert_close(loaded.average, loaded.encoder.head[-1].bias)
    assert torch.equal(loaded.inverse[0].weight, before)


def test_a_model_without_anything_against_collapse_fails_loudly(two_room, tmp_path):
    with pytest.raises(CollapseError, match=r"collapsed .* anti-collapse"):
        fit_small(
            two_room,
            tmp_path / "m",
            model={"terms": {}, "rollout_steps": 1},
            training={"num_steps": 800, "diagnose_every": 50},
        )
    assert not (tmp_path / "m" / "model.json").exists()


def test_the_state_twin_takes_its_statistics_from_the_data(two_room, tmp_path):
    diagnosis = fit_small(
        two_room, tmp_path / "m", model={"encoder": "state", "encoder_options": {}, "terms": {}}
    )
    loaded = load_world_model(tmp_path / "m")
    assert loaded.model.observation_key == "observation" and loaded.decoder is None
    assert diagnosis.probe_r2[0] > 0.999
    latents = loaded.model.encode(torch.from_numpy(np.array(two_room[0].field("observation"))))
    torch.testing.assert_close(latents.std(0, correction=0)[:2], torch.ones(2), rtol=1e-3, atol=0)


def test_the_state_twin_may_count_in_what_a_step_changes(two_room, tmp_path):
    fit_small(
        two_room,
        tmp_path / "m",
        model={"encoder": "state", "encoder_options": {"units": "step"}, "terms": {}},
    )
    data = two_room[0]
    latents = load_world_model(tmp_path / "m").model.encode(
        torch.from_numpy(np.array(data.field("observation")))
    )
    starts = data.window_starts(2)
    torch.testing.assert_close(
        (latents[starts + 1] - latents[starts]).std(0, correction=0)[:2],
        torch.ones(2),
        rtol=1e-3,
        atol=0,
    )
    with pytest.raises(ValueError, match=r"takes units: spread .* or step"):
        fit_small(
            two_room,
            tmp_path / "n",
            model={"encoder": "state", "encoder_options": {"unit": "step"}, "terms": {}},
        )


@pytest.fixture(scope="module")
def saved(two_room, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("saved") / "m"
    fit_small(two_room, directory, training={"num_steps": 2})
    return directory


def copy_of(saved: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    target.mkdir()
    for name in ("model.json", "weights.safetensors"):
        (target / name).write_bytes((saved / name).read_bytes())
    return target


def test_a_model_of_another_task_is_refused(saved):
    with pytest.raises(CheckpointError, match="trained on jepabench/TwoRoom-v1, not on"):
        load_world_model(saved, task_id="jepabench/PointMaze-UMaze-v1")


def test_the_task_of_a_checkpoint_imports_no_module(saved, tmp_path, monkeypatch):
    forged = copy_of(saved, tmp_path)
    (tmp_path / "evil_world.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    content = json.loads((forged / "model.json").read_text(encoding="utf-8"))
    content["task_id"] = "evil_world:TwoRoom-v1"
    (forged / "model.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match="is not registered"):
        load_world_model(forged)


def test_cut_weights_are_refused(saved, tmp_path):
    broken = copy_of(saved, tmp_path)
    data = (broken / "weights.safetensors").read_bytes()
    (broken / "weights.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="cut or damaged"):
        load_world_model(broken)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 0}'])
def test_a_damaged_description_is_refused(saved, tmp_path, text):
    broken = copy_of(saved, tmp_path)
    (broken / "model.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError):
        load_world_model(broken)


def test_weights_that_do_not_fit_are_refused(saved, tmp_path):
    broken = copy_of(saved, tmp_path)
    content = json.loads((broken / "model.json").read_text(encoding="utf-8"))
    content["config"]["latent_dim"] = 9
    (broken / "model.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match="do not fit"):
        load_world_model(broken)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"precision": "float16"}, "float32"),
        ({"on_collapse": "rais"}, "raise"),
        ({"num_steps": 0}, "num_steps"),
        ({"num_step": 5}, "Did you mean 'num_steps'"),
    ],
)
def test_a_wrong_training_setting_is_refused(training, message):
    with pytest.raises((KeyError, ValueError), match=message):
        TrainConfig.of(training)

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from jepabench.envs.data.collect import collect
from jepabench.world_models.analysis.diagnostics import CollapseError, diagnose
from jepabench.world_models.checkpoint import CheckpointError, load_world_model
from jepabench.world_models.kinds.jepa import JEPA, JEPAConfig
from jepabench.world_models.registry import register_kind
from jepabench.world_models.training import loop
from jepabench.world_models.training.config import TrainConfig
from jepabench.world_models.training.fit import _Trainer, fit

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
    encoder_from: Path | None = None,
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
        encoder_from=encoder_from,
        progress=False,
    )


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return dict(load_world_model(directory).model.state_dict())


def test_training_learns_the_position_of_the_ball_and_saves_the_model(two_room, tmp_path):
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


def test_only_the_same_seed_gives_the_same_weights(two_room, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fit_small(two_room, tmp_path / name, seed=seed, training={"num_steps": 5})
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert any(not torch.equal(a[key], c[key]) for key in a)


def test_training_rounds_stop_once_goal_is_readable(two_room, tmp_path):
    rounds = {"num_steps": 20, "decoder_steps": 0, "max_rounds": 3}
    for name, share in (("one", 0.0), ("all", 1.0)):
        fit_small(two_room, tmp_path / name, training=rounds | {"enough_in_place": share})
    fit_small(two_room, tmp_path / "plain", training=rounds | {"max_rounds": 1})
    one, every, plain = (load_world_model(tmp_path / name) for name in ("one", "all", "plain"))
    assert [len(model.metadata["in_place"]) for model in (one, every)] == [1, 3]
    assert all(0 <= share <= 1 for share in one.metadata["in_place"][0].values())
    assert list(one.metadata["in_place"][0]) == ["0", "1"]
    assert "in_place" not in plain.metadata
    # Reading the goal does not change a training, and a further round does.
    first, longer, same = (weights(tmp_path / name) for name in ("one", "all", "plain"))
    assert all(torch.equal(first[key], same[key]) for key in same)
    assert not all(torch.equal(longer[key], same[key]) for key in same)


def test_a_model_that_does_not_see_the_goal_starts_anew_with_raised_weights(
    two_room, tmp_path, monkeypatch
):
    settings = {"num_steps": 5, "decoder_steps": 0, "max_rounds": 2}
    plain, raised = ({"sigreg": {"weight": 0.05, **more}} for more in ({}, {"raised_weight": 0.5}))
    for name, terms, encoded in (
        ("plain", plain, (0.1, 0.1)),
        ("readable", raised, (0.8, 0.1)),
        ("raised", raised, (0.1, 0.1, 0.1)),  # as many rounds as without
    ):
        readings = iter([{"0": share, "1": 0.0} for share in encoded])
        monkeypatch.setattr(_Trainer, "_read_goal", lambda *_, given=readings: next(given))
        fit_small(two_room, tmp_path / name, training=settings, model={"terms": terms})
        assert len(load_world_model(tmp_path / name).metadata["in_place"]) == len(encoded)
    plain, readable, raised = (weights(tmp_path / name) for name in ("plain", "readable", "raised"))
    assert all(torch.equal(plain[key], readable[key]) for key in plain)
    assert not all(torch.equal(plain[key], raised[key]) for key in plain)


def test_rounds_resume_where_they_were(two_room, tmp_path, monkeypatch):
    settings = {"num_steps": 10, "decoder_steps": 0, "max_rounds": 3, "enough_in_place": 1.0}
    fit_small(two_room, tmp_path / "whole", training=settings)
    real, calls = loop._train_step, []

    def interrupt(*args):
        calls.append(None)
        if len(calls) == 15:  # in the second round
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(loop, "_train_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit_small(two_room, tmp_path / "cut", training=settings)
    monkeypatch.setattr(loop, "_train_step", real)
    fit_small(two_room, tmp_path / "cut", training=settings)
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


@pytest.mark.parametrize("kind", ["jepa", "ensemble"])
def test_the_predictor_can_be_trained_further_alone(two_room, tmp_path, kind):
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
def test_predictor_only_training_needs_latent_only_losses(two_room, tmp_path, kind, changes):
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
    with pytest.raises(ValueError, match="another encoder"):
        refit("narrow", encoder_options={"width": 4, "num_keypoints": 8, "hidden": 32})


@pytest.fixture(scope="module")
def other_data(two_room, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other") / "train"
    return collect(
        "jepabench/TwoRoom-v1", folder, num_episodes=8, num_steps=8, num_workers=1, progress=False
    )


def test_an_encoder_is_shared_on_its_own_data_only(two_room, tmp_path, other_data):
    fit_small(two_room, tmp_path / "whole", training={"num_steps": 2})
    with pytest.raises(ValueError, match="another dataset"):
        fit_small(
            (other_data, two_room[1]),
            tmp_path / "other",
            training={"predictor_steps": 2},
            encoder_from=tmp_path / "whole",
        )


def test_an_unfinished_training_on_other_data_is_not_resumed(two_room, tmp_path, other_data):
    fit_small(two_room, tmp_path / "m", training={"num_steps": 2})
    (tmp_path / "m" / "model.json").unlink()  # as if it had been interrupted
    for changes in ({"seed": 1}, {"training": {"num_steps": 3}}, {"model": {"latent_dim": 9}}):
        with pytest.raises(ValueError, match="unfinished training with other data"):
            fit_small(two_room, tmp_path / "m", **({"training": {"num_steps": 2}} | changes))
    with pytest.raises(ValueError, match="unfinished training with other data"):
        fit_small((other_data, two_room[1]), tmp_path / "m", training={"num_steps": 2})
    fit_small(two_room, tmp_path / "m", training={"num_steps": 2})


def test_validation_data_are_held_out_and_of_the_same_task(two_room, tmp_path):
    with pytest.raises(ValueError, match="are the same data"):
        fit_small((two_room[0], two_room[0]), tmp_path / "m")
    other = collect(
        "jepabench/PointMaze-UMaze-v1",
        tmp_path / "maze",
        num_episodes=2,
        num_steps=4,
        num_workers=1,
        progress=False,
    )
    with pytest.raises(ValueError, match="Use two datasets of one task"):
        fit_small((two_room[0], other), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_killed_training_resumes_to_the_same_weights(two_room, tmp_path, monkeypatch):
    fit_small(two_room, tmp_path / "whole", training={"num_steps": 12})
    step = loop._train_step

    def die_at_seven(*arguments):
        if arguments[-1] == 7:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(loop, "_train_step", die_at_seven)
    with pytest.raises(KeyboardInterrupt):
        fit_small(
            two_room, tmp_path / "parts", training={"num_steps": 12, "checkpoint_seconds": 0.0}
        )
    with pytest.raises(CheckpointError, match="did not finish"):
        load_world_model(tmp_path / "parts")
    taken: list[int] = []
    monkeypatch.setattr(loop, "_train_step", lambda *a: (taken.append(a[-1]), step(*a))[1])
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


def test_after_step_is_called_and_frozen_parameters_stay_unchanged(two_room, tmp_path, monkeypatch):
    built: list[Averaged] = []
    make = Averaged.__init__
    monkeypatch.setattr(
        Averaged, "__init__", lambda self, config: (make(self, config), built.append(self))[0]
    )
    torch.manual_seed(0)
    before = Averaged(JEPAConfig(**MODEL, action_size=2)).inverse[0].weight.clone()
    built.clear()
    register_kind("averaged", Averaged)
    fit_small(two_room, tmp_path / "m", training={"num_steps": 4}, kind="averaged")
    assert built[0].seen == [0.25, 0.5, 0.75, 1.0]
    loaded = load_world_model(tmp_path / "m").model
    torch.testing.assert_close(loaded.average, loaded.encoder.head[-1].bias)
    assert torch.equal(loaded.inverse[0].weight, before)


def test_a_model_without_an_anti_collapse_term_raises(two_room, tmp_path):
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


def test_state_twin_can_scale_by_step_size(two_room, tmp_path):
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


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"precision": "float16"}, "float32"),
        ({"on_collapse": "rais"}, "raise"),
        ({"num_steps": 0}, "num_steps"),
        ({"num_steps": "two"}, "num_steps must be of type int, got 'two'"),
        ({"num_steps": True}, "num_steps must be of type int"),
        ({"batch_size": 2.5}, "batch_size must be of type int"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
        ({"diagnose_every": 0}, "diagnose_every"),
        ({"decoder_steps": -1}, "decoder_steps"),
        ({"warmup": 2.0}, "warmup must be from 0 to 1"),
        ({"num_step": 5}, "Did you mean 'num_steps'"),
    ],
)
def test_a_wrong_training_setting_is_refused(training, message):
    with pytest.raises((KeyError, ValueError), match=message):
        TrainConfig.from_settings(training)

"""Reports on submitted world models agree with direct measurements and the model's own frames."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from jepabench.agents.base import RandomAgent
from jepabench.envs import episode_specs, get_task, make, reset_to
from jepabench.evaluation.model_checks.model_report import (
    NUM_STEPS,
    imagine_beginning,
    world_report,
)
from jepabench.evaluation.model_checks.probing import probe_table
from jepabench.evaluation.model_checks.surprise import record_clips, surprise_table
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.submissions.diagnostics import (
    diagnostics_files,
    read_diagnostics,
    read_imagined,
)
from jepabench.world_models.checkpoint import (
    build_untrained,
    load_world_model,
    save_world_model,
)
from jepabench.world_models.training.decoder import train_decoder

TWO_ROOM = "jepabench/TwoRoom-v1"


@pytest.fixture(scope="module")
def folder(pixel_model, episodes, tmp_path_factory):
    """The pixel model with a decoder."""
    folder = tmp_path_factory.mktemp("with_decoder")
    decoder = train_decoder(pixel_model.model, episodes[0], num_steps=5, seed=0, progress=False)
    save_world_model(
        folder,
        kind="jepa",
        model=pixel_model.model,
        scale=pixel_model.scale,
        task_id=TWO_ROOM,
        metadata={},
        decoder=decoder,
    )
    return folder


@pytest.fixture(scope="module")
def run():
    """An episode of an agent that holds its actions as the model's data do."""
    (spec,) = episode_specs(TWO_ROOM, "test", 1, strata=("near",))
    evaluation = evaluate_episodes(RandomAgent(task_id=TWO_ROOM), [spec], agent_name="random")
    return spec, evaluation.actions["near/0"]


def test_the_report_agrees_with_direct_measurements(folder, episodes, run):
    report, frames = world_report(
        folder,
        episodes[1],
        [run],
        pixels=64,
        training_seed=3,
        num_episodes=8,
        num_starts=2,
    )
    loaded = load_world_model(folder)
    linear = probe_table(loaded, episodes[1], steps=(), kinds=("linear",))
    for said, true in zip(report["probe"], linear.to_dict("records"), strict=True):
        assert said["quantity"] == true["quantity"]
        assert (said["r2"] is None) == bool(np.isnan(true["r2"]))
        assert said["r2"] is None or said["r2"] == pytest.approx(true["r2"], abs=1e-4)
    clips = record_clips(TWO_ROOM, observation_key="pixels", known=2, num_episodes=8)
    nulls = [build_untrained(folder, seed=seed) for seed in range(3)]
    table = surprise_table(loaded, clips, untrained=nulls).set_index("event")
    for said in report["surprise"]:
        assert said["auroc"] == pytest.approx(
            table.loc[said["event"], "auroc"], abs=1e-4, nan_ok=True
        )
        assert said["kind"] == table.loc[said["event"], "kind"]

    files = diagnostics_files([report], frames) | {
        "checkpoints/TwoRoom-v1/seed3/world_model/model.json": b"{}"
    }
    row = {
        "task_id": TWO_ROOM,
        "training_seed": 3,
        "stratum": "near",
        "index": 0,
        "steps": len(run[1]),
    }
    reports = read_diagnostics(files, pd.DataFrame([row]))
    assert reports[0].model_dump() == json.loads(json.dumps(report))
    assert reports[0].gate is not None and reports[0].gate.unit == "cm"
    again = read_imagined(files, reports, 64)
    assert np.array_equal(again[TWO_ROOM, "near", 0], frames[f"{TWO_ROOM}/near/0"])


def test_imagination_uses_the_seen_frames_and_the_executed_actions(folder, run):
    loaded, (spec, actions) = load_world_model(folder), run
    frames = imagine_beginning(loaded, spec, actions, pixels=64)
    assert (
        frames is not None
        and frames.shape == (1 + NUM_STEPS, 64, 64, 3)
        and loaded.decoder is not None
    )
    env = make(TWO_ROOM, pixels=64)
    observation, _ = reset_to(env, spec)
    block, seen = env.task.action_block, [observation["pixels"]]
    for action in actions[:block]:
        observation, *_ = env.step(action)
    seen.append(observation["pixels"])
    latents = loaded.model.encode(torch.from_numpy(np.stack(seen)))
    blocks = loaded.scale.normalise(torch.from_numpy(actions[::block]))
    expected = [latents[1]]
    window = list(latents)
    for step in range(NUM_STEPS):
        window.append(
            loaded.model.predict(torch.stack(window[-2:])[None], blocks[None, step : step + 2])[0]
        )
        expected.append(window[-1])
    painted = loaded.decoder.paint(torch.stack(expected))
    assert np.abs(painted.astype(int) - frames).max() <= 1
    assert np.abs(painted[1:].astype(int) - painted[0]).max() > 0


def test_episodes_that_cannot_be_imagined_are_left_out(folder, pixel_model, run):
    loaded, (spec, actions) = load_world_model(folder), run
    block = get_task(TWO_ROOM).action_block
    assert imagine_beginning(pixel_model, spec, actions, pixels=64) is None  # it has no decoder
    assert (
        imagine_beginning(loaded, spec, actions[:block], pixels=64) is None
    )  # two frames are known, and then it ends
    short = imagine_beginning(loaded, spec, actions[: 3 * block], pixels=64)
    assert short is not None and len(short) == 3
    restless = actions.copy()
    restless[1] = -restless[0]
    assert imagine_beginning(loaded, spec, restless, pixels=64) is None
    assert imagine_beginning(replace(loaded, decoder=None), spec, actions, pixels=64) is None

"""Test that the page of a submission shows the diagnostics of its world model and their source."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jepabench.agents.base import RandomAgent
from jepabench.envs import get_task
from jepabench.envs.data.collect import collect
from jepabench.evaluation.model_checks.model_report import world_report
from jepabench.evaluation.protocol import Suite, SuiteTask
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.submissions.diagnostics import diagnostics_files
from jepabench.evaluation.submissions.submission import write_submission
from jepabench.evaluation.verification.levels import verify
from jepabench.evaluation.verification.records import write_record
from jepabench.results.board.site import Sources, build_board
from jepabench.world_models.training.fit import fit

ROOM = "jepabench/TwoRoom-v1"
SUITE = Suite(
    name="tiny",
    version=1,
    agents=("jepa-cem",),
    training_seeds=(0,),
    tasks=(SuiteTask(task_id=ROOM, strata=("near", "medium"), num_episodes=2),),
)
ABOUT = {
    "pixels": 64,
    "training_seeds": [0],
    "authors": [],
    "description": "",
    "link": "",
    "created": "2026-01-02T03:04:05Z",
    "command": "",
    "code": {"commit": "", "dirty": None},
    "versions": {"mujoco": "3.17.0", "pymunk": "7.3.1"},
    "machine": {},
    "agent": {
        "name": "jepa-cem",
        "learns": True,
        "package": "",
        "config": {},
        "per_task": {},
        "track": {"observation": "pixels", "data": "offline reward-free", "privilege": "none"},
    },
    "costs": [
        {
            "task_id": ROOM,
            "training_seed": 0,
            "transitions": 9,
            "train_seconds": 1.0,
            "parameters": 9,
            "data_fingerprint": "",
        }
    ],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """A folder of results with one submission of a briefly trained world model."""
    root = tmp_path_factory.mktemp("learned")
    data, held_out = (
        collect(
            ROOM,
            root / split,
            split=split,
            num_episodes=8,
            num_steps=6,
            num_workers=1,
            progress=False,
        )
        for split in ("train", "validation")
    )
    fit(
        dataset=data.path,
        validation=held_out.path,
        directory=root / "model",
        seed=0,
        kind="jepa",
        progress=False,
        model={"encoder": "conv", "latent_dim": 8, "history": 1, "rollout_steps": 1},
        training={"num_steps": 4, "batch_size": 8, "decoder_steps": 3, "on_collapse": "warn"},
    )
    done = evaluate_episodes(RandomAgent(task_id=ROOM), SUITE.specs(ROOM), agent_name="jepa-cem")
    episodes = list(zip(SUITE.specs(ROOM), done.actions.values(), strict=True))[
        ::2
    ]  # the first of each stratum
    report, frames = world_report(
        root / "model",
        data,
        episodes,
        pixels=64,
        training_seed=0,
        num_episodes=4,
        num_starts=2,
    )
    checkpoint = {
        f"checkpoints/TwoRoom-v1/seed0/world_model/{name}": (root / "model" / name).read_bytes()
        for name in ("model.json", "weights.safetensors")
    }
    write_submission(
        root / "submissions" / "learned",
        {**ABOUT, "name": "learned"},
        suite=SUITE,
        records=done.records,
        actions={(ROOM, 0): np.concatenate([*done.actions.values()])},
        extra=checkpoint | diagnostics_files([report], frames),
    )
    return root


@pytest.fixture(scope="module")
def site(results) -> Path:
    suite = {"version": 1, "description": "", "tasks": [asdict(task) for task in SUITE.tasks]}
    found = verify(results / "submissions" / "learned", lambda name: SUITE)
    assert (found.reason, found.badges) == ("", ("valid", "replayed"))
    write_record(results / "verified", found, {})
    entries = build_board(
        results / "site",
        Sources(
            submissions=results / "submissions",
            verified=results / "verified",
            suites={"tiny": suite},
            tasks=[get_task(ROOM)],
            num_films=1,
        ),
        progress=False,
    )
    assert not entries.refused
    return results / "site"


def test_the_page_shows_statements_and_that_they_are_unchecked(results, site):
    text = (site / "submissions" / "learned.html").read_text(encoding="utf-8")
    told = json.loads(
        (results / "submissions" / "learned" / "diagnostics.json").read_text(encoding="utf-8")
    )["worlds"][0]
    assert ">replayed</span>" in text and "not verified: no badge covers this part" in text
    assert (
        "jepabench surprise results/submissions/learned/checkpoints/TwoRoom-v1/seed0/world_model"
        in text
    )
    for row in told["probe"]:
        shown = "-" if row["r2"] is None else f"{row['r2']:.3f}"
        assert re.search(rf"<td class=\"left\">{row['quantity']}</td><td>{shown}</td>", text), row
    for row in told["surprise"]:
        assert (
            f'<td class="left">{row["event"].replace("_", " ")}</td>'
            f'<td class="left">{row["kind"]}</td>' in text
        )


def test_imagined_frames_are_above_real_frames_of_the_replay(results, site):
    (strip,) = (site / "media").glob("imagined-*.png")
    (film,) = (site / "media").glob("imagined-*.gif")
    text = (site / "submissions" / "learned.html").read_text(encoding="utf-8")
    assert strip.name in text and film.name in text and "TwoRoom-v1: near, medium" in text
    from jepabench.envs import make, reset_to

    env = make(ROOM, pixels=64)
    spec = SUITE.specs(ROOM)[2]
    observation, _ = reset_to(env, spec)
    with np.load(results / "submissions" / "learned" / "actions.npz") as file:
        actions = file[f"{ROOM}/0"]
    start = len(actions) - 2 * env.budget
    frames = [observation["pixels"]]
    for step in range(8 * env.task.action_block):
        observation, *_ = env.step(actions[start + step])
        if (step + 1) % env.task.action_block == 0:
            frames.append(observation["pixels"])
    picture = np.asarray(Image.open(strip).convert("RGB"))
    size, left, label, gap = 88, 66, 18, 3  # of jepabench.results.media.imagination
    top = label + 2 * (size + gap) + 3 * gap + size + gap  # the second episode's second row
    for column, frame in enumerate(frames):
        shown = picture[top : top + size, left + column * (size + gap) :][:, :size]
        expected = np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.NEAREST))
        assert np.array_equal(shown, expected), column


def test_the_board_limits_the_length_of_model_statements(results, site, tmp_path):
    import shutil

    from jepabench.results.board.entries import read_entries

    shutil.copytree(results / "submissions", tmp_path / "submissions")
    path = tmp_path / "submissions" / "learned" / "diagnostics.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"ball x"', '"<script>alert(1)</script>"'),
        encoding="utf-8",
    )
    found = read_entries(tmp_path / "submissions", tmp_path, {"tiny": 1})
    assert not found.current and "its quantities are ball x" in found.refused[0][1]
    old = read_entries(tmp_path / "submissions", tmp_path, {"tiny": 2})
    assert old.old[0].reports == ()

"""Take a learned agent from training to the third badge through the command line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from jepabench.evaluation.verification.sandbox import can_sandbox


def jepabench(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jepabench", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.slow
@pytest.mark.skipif(not can_sandbox(), reason="this system cannot isolate a process")
def test_a_learned_agent_is_re_run_from_its_checkpoints_alone(tmp_path):
    done = jepabench(
        "submit",
        "gcbc",
        "suite=smoke",
        "name=cloned",
        "checkpoints=yes",
        "num_workers=1",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(tmp_path / "outputs")
    folder = tmp_path / "submissions" / "cloned"
    manifest = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
    (cost,) = manifest["costs"]
    assert (
        cost["transitions"] > 0
        and cost["train_seconds"] > 0
        and cost["parameters"] > 0
        and cost["data_fingerprint"]
    )
    assert "checkpoints/TwoRoom-v1/seed0/policy/policy.safetensors" in manifest["files"]

    salt = tmp_path / "salt"
    salt.write_text("a secret of this test" * 2, encoding="utf-8")
    salt.chmod(0o600)
    again = ["verify", "submissions/cloned", "--level", "3", "--json", "--record", "verified"]
    again += ["--salt-file", str(salt)]
    done = jepabench(*again, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["badges"] == ["valid", "replayed", "re-run"]
    assert "a secret" not in (tmp_path / "verified" / "cloned.json").read_text(encoding="utf-8")

    for path in folder.glob("checkpoints/*/*/*/policy.safetensors"):
        path.write_bytes(b"")
    done = jepabench(*again, cwd=tmp_path)
    assert done.returncode == 1 and json.loads(done.stdout)["check"] == "files"


@pytest.mark.slow
def test_model_diagnostics_can_be_measured_again_from_a_submission(tmp_path):
    arguments = (
        "submit",
        "jepa-cem",
        "suite=smoke",
        "name=imagining",
        "checkpoints=yes",
        "num_workers=1",
    )
    done = jepabench(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(tmp_path / "outputs")
    done = jepabench("verify", "submissions/imagining", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["badges"] == ["valid", "replayed"], done.stdout + done.stderr
    folder = tmp_path / "submissions" / "imagining"
    (told,) = json.loads((folder / "diagnostics.json").read_text(encoding="utf-8"))["worlds"]
    assert [item["stratum"] for item in told["imagined"]] == ["near"] and (
        folder / "imagined.npz"
    ).is_file()

    model = "submissions/imagining/checkpoints/TwoRoom-v1/seed0/world_model"
    done = jepabench("surprise", model, "--output", "again", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    again = pd.read_csv(tmp_path / "again" / "surprise.csv").set_index("event")
    assert {item["event"] for item in told["surprise"]} == set(again.index)
    for item in told["surprise"]:
        assert item["auroc"] == pytest.approx(again.loc[item["event"], "auroc"], abs=2e-4), item

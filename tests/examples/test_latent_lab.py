"""Install the example package from its wheel, then train, evaluate, submit and verify."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
PACKAGE = HOME / "examples" / "latent-lab"

pytestmark = pytest.mark.slow


def run(*command, cwd, check=True):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0 or not check, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Return the folder with the commands of an environment that has both wheels."""
    folder = tmp_path_factory.mktemp("environment")
    source = folder / "latent-lab"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    for project in (HOME, source):
        build = [sys.executable, "-m", "build", "--no-isolation", "--wheel"]
        run(*build, "--outdir", folder / "wheels", project, cwd=folder)
    venv.create(folder / "venv", with_pip=True)
    site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    # Python does not read the .pth files in folders that a .pth file adds, so the editable
    # installation of the checkout stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    wheels = sorted((folder / "wheels").glob("*.whl"))
    pip = [
        folder / "venv" / "bin" / "python",
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
    ]
    run(*pip, "install", "--no-deps", "--ignore-installed", "--no-index", *wheels, cwd=folder)
    return folder / "venv" / "bin"


def test_a_package_with_model_planner_cost_and_presets_works_from_its_wheel(environment, tmp_path):
    command = environment / "jepabench"
    rows = json.loads(run(command, "list", "world-models", "--json", cwd=tmp_path).stdout)
    (row,) = [row for row in rows if row["world model"] == "blob"]
    assert row["from"] == "latent-lab 1.0.0" and row["kind"] == "blob"
    training = "world_model.blob.training.num_steps=20"
    swept = run(
        command,
        "sweep",
        "suite=smoke",
        "agent=blob-evolution",
        "agent.blob-evolution.planner.num_samples=8,16",
        training,
        cwd=tmp_path,
    )
    assert "planner.num_samples=16" in swept.stdout
    names = {path.name for path in (tmp_path / "outputs/smoke/evaluations/TwoRoom-v1").iterdir()}
    assert names == {
        f"blob-evolution+planner.num_samples={number}+world_model.training.num_steps=20"
        for number in (8, 16)
    }
    (done,) = list((tmp_path / "outputs" / "models" / "TwoRoom-v1").glob("blob-seed0-*/done.json"))
    assert json.loads(done.read_text(encoding="utf-8"))["config"]["code"] == "latent-lab 1.0.0"
    # A short training, so that the submission does not take a minute.
    own = tmp_path / "conf" / "world_model"
    own.mkdir(parents=True)
    (own / "short-blob.yaml").write_text(
        "defaults: [blob, _self_]\ntraining: {num_steps: 20}\n", encoding="utf-8"
    )
    agent = tmp_path / "conf" / "agent"
    agent.mkdir()
    (agent / "short.yaml").write_text(
        "defaults: [blob-evolution, _self_]\nname: short\nworld_model: short-blob\n",
        encoding="utf-8",
    )
    run(command, "submit", "short", "suite=smoke", "authors=A. Stranger", cwd=tmp_path)
    (folder,) = (tmp_path / "submissions").glob("short-smoke-v*")
    config = json.loads((folder / "submission.json").read_text(encoding="utf-8"))["agent"]["config"]
    assert config["code"] == "latent-lab 1.0.0"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    verified = run(command, "verify", folder, "--json", cwd=elsewhere)
    assert json.loads(verified.stdout)["badges"] == ["valid", "replayed"]


def test_the_one_line_interface_works_in_an_empty_folder(environment, tmp_path):
    code = "import jepabench; print(jepabench.evaluate('random', suite='smoke').table())"
    done = run(environment / "python", "-c", code, cwd=tmp_path)
    assert "random" in done.stdout and "TwoRoom" in done.stdout

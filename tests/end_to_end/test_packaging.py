"""Test wheel and sdist: one top-level package, beside distributions with our folder names."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
OTHERS = ("openai-agents", "envs")  # their top-level packages are `agents` and `envs`
FOLDERS = ("envs", "world_models", "agents", "evaluation", "results")

pytestmark = pytest.mark.slow


def run(*command, cwd=None):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The wheel and the sdist, both built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--sdist",
        "--outdir",
        folder,
        HOME,
    )
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


class Environment:
    """A virtual environment that sees the tests' dependencies and no editable installation."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.bin = folder / "bin"
        self.site = next((folder / "lib").glob("python*")) / "site-packages"
        # Python does not read the .pth files in folders that a .pth file adds.
        (self.site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")

    def pip(self, *arguments):
        return run(
            self.bin / "python", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments
        )

    def install(self, *packages):
        self.pip("install", "--no-deps", "--ignore-installed", *packages)

    def python(self, code, cwd):
        return run(self.bin / "python", "-c", code, cwd=cwd)

    def jepabench(self, *arguments, cwd):
        return run(self.bin / "jepabench", *arguments, cwd=cwd)


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path / "environment")


@pytest.fixture
def folder(tmp_path):
    """A working directory with a space in its name and folders called as ours are."""
    path = tmp_path / "my work"
    for name in ("envs", "agents"):
        (path / name).mkdir(parents=True)
        (path / name / "__init__.py").write_text("raise RuntimeError('not ours')", encoding="utf-8")
    return path


def top_level(names):
    return {name.split("/")[0] for name in names if ".dist-info" not in name}


def test_only_jepabench_is_at_the_top_level(distributions):
    wheel, sdist = distributions
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    assert top_level(in_wheel) == {"jepabench"}
    for name in FOLDERS:
        assert f"jepabench/{name}/__init__.py" in in_wheel
    assert any(name.endswith("licenses/LICENSE") for name in in_wheel)
    assert "jepabench/py.typed" in in_wheel
    assert "jepabench/results/checkpoints/two-room/model.json" in in_wheel
    assert "jepabench/results/tables/claims.csv" in in_wheel
    assert not any("results/submissions" in name or "verified" in name for name in in_wheel)
    assert wheel.stat().st_size < 30e6
    with tarfile.open(sdist) as archive:
        in_sdist = {member.name.partition("/")[2] for member in archive if member.isfile()}
    ours = {name for name in in_wheel if name.startswith("jepabench/")}
    assert ours <= in_sdist, sorted(ours - in_sdist)[:5]


def test_a_wheel_made_from_the_sdist_is_the_same(distributions, tmp_path):
    wheel, sdist = distributions
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    run(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--outdir",
        tmp_path / "w",
        source,
    )
    (again,) = (tmp_path / "w").glob("*.whl")
    contents = []
    for path in (wheel, again):
        with zipfile.ZipFile(path) as archive:
            contents.append(
                {name: archive.read(name) for name in archive.namelist() if "RECORD" not in name}
            )
    assert contents[0] == contents[1]


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "ours last"])
def test_works_beside_packages_of_the_same_names(distributions, environment, tmp_path, ours_first):
    packages = [[distributions[0]], list(OTHERS)]
    for group in packages if ours_first else packages[::-1]:
        environment.install(*group)
    ours = "import jepabench.agents.base, jepabench.envs.core, jepabench.evaluation.records"
    paths = f"from importlib.util import find_spec; import os; {ours}; " + (
        "print(*(os.path.dirname(find_spec(name).origin) for name in ('agents', 'envs')))"
    )
    for path in environment.python(paths, cwd=tmp_path).split():
        assert Path(path).parent == environment.site and (Path(path) / "__init__.py").exists()
    environment.pip("uninstall", "--yes", *OTHERS)
    environment.python(ours, cwd=tmp_path)
    assert not (environment.site / "agents").exists() and not (environment.site / "envs").exists()


def test_every_room_works_from_the_wheel(distributions, environment, folder):
    environment.install(distributions[0])
    assert "jepabench/TwoRoom-v1" in environment.jepabench("list", "tasks", cwd=folder)
    environment.jepabench("collect", "jepabench/TwoRoom-v1", "data", "--episodes", "2", cwd=folder)
    assert (folder / "data" / "manifest.json").exists()
    environment.jepabench(
        "evaluate", "checkpoint=two-room", "strata=near", "episodes=2", cwd=folder
    )
    out = environment.jepabench("board", "--output", "site", "--films", "0", cwd=folder)
    assert (folder / "site" / "index.html").exists() and "There are no submissions below" in out
    committed = HOME / "results"
    board = ("board", "--output", "site", "--results", committed)
    assert "no submissions" not in environment.jepabench(*board, cwd=folder)
    submission = committed / "submissions" / "random-quick-v2"
    environment.jepabench("verify", submission, "--level", "1", cwd=folder)
    environment.jepabench("new-env", "Stack", "--family", "manipulation", cwd=folder)
    made = environment.python(
        "import gymnasium, jepabench; env = gymnasium.make('jepabench/PushT-v1'); "
        "print(env.reset(seed=0)[0].keys())",
        cwd=folder,
    )
    assert "desired_goal" in made

"""Test the Hub without one: a stand-in for uploads, and the library's own cache for downloads."""

import json
import shutil
import sys

import pytest

from jepabench.envs.data.collect import collect
from jepabench.main import main
from jepabench.pipeline.checkpoints import REFERENCES, find_checkpoint
from jepabench.pipeline.hub import HubError, pull, push

hub = pytest.importorskip("huggingface_hub")
FOLDER = REFERENCES / "two-room"
SUBMISSION = REFERENCES.parent / "submissions" / "expert-quick-v2"


@pytest.fixture
def uploads(monkeypatch):
    """Record what would be uploaded, as a fake of the library's client."""
    found = {}

    class Api:
        def create_repo(self, repo, **options):
            found[repo] = options

        def upload_folder(self, *, repo_id, folder_path, allow_patterns, repo_type):
            found[repo_id]["files"] = {
                path.name for pattern in allow_patterns for path in folder_path.glob(pattern)
            }

        def upload_file(self, *, path_or_fileobj, path_in_repo, repo_id, repo_type):
            found[repo_id][path_in_repo] = path_or_fileobj.decode()

    monkeypatch.setattr(hub, "HfApi", Api)
    return found


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The offline cache of the library, with one model in it."""
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    repo = tmp_path / "hub" / "models--me--two-room"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    shutil.copytree(FOLDER, repo / "snapshots" / ("a" * 40))
    return repo


def test_a_checkpoint_is_pushed_with_a_card(uploads, capsys):
    command = ["push", str(FOLDER), "me/two-room", "--private", "--made-with", "jepabench train"]
    assert main(command) == 0
    assert capsys.readouterr().out == "hf://me/two-room\n"
    sent = uploads["me/two-room"]
    assert sent["private"] and sent["repo_type"] == "model"
    assert {"model.json", "weights.safetensors"} <= sent["files"]
    if "README.md" not in sent["files"]:
        card = sent["README.md"]
        assert "jepabench/TwoRoom-v1" in card and "Protocol" in card and "jepabench train" in card


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    common = {"num_steps": 8, "pixels": None, "num_workers": 1, "progress": False}
    collect("jepabench/TwoRoom-v1", folder / "train", num_episodes=12, **common)
    collect("jepabench/TwoRoom-v1", folder / "v", num_episodes=4, split="validation", **common)
    return folder


def add_repo(tmp_path, name, folder, kind="dataset"):
    """Put a folder into the cache as its client does: as links to the files' contents."""
    repo = tmp_path / "hub" / f"{kind}s--me--{name}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("b" * 40, encoding="utf-8")
    blobs = shutil.copytree(folder, repo / "blobs")
    for path in blobs.rglob("*"):
        link = repo / "snapshots" / ("b" * 40) / path.relative_to(blobs)
        if path.is_file():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return repo


def test_a_submission_is_pushed_with_its_numbers(uploads):
    assert main(["push", str(SUBMISSION), "me/expert"]) == 0
    sent = uploads["me/expert"]
    assert sent["repo_type"] == "dataset"
    assert {"submission.json", "episodes.parquet", "actions.npz"} <= sent["files"]
    for text in ("quick, version 2", "TwoRoom-v1, near | 100% held", "jepabench submit expert"):
        assert text in sent["README.md"]


def test_a_submission_on_the_hub_is_verified_like_its_folder(cache, uploads, tmp_path, capsys):
    folder = shutil.copytree(SUBMISSION, tmp_path / SUBMISSION.name)
    main(["push", str(folder), "me/expert"])
    assert main(["verify", str(folder), "--level", "1", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out.splitlines()[-1])
    (folder / "README.md").write_text(uploads["me/expert"]["README.md"], encoding="utf-8")
    add_repo(tmp_path, SUBMISSION.name, folder)
    assert main(["verify", f"hf://me/{SUBMISSION.name}", "--level", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    different = {name for name in found if found[name] != expected[name]}
    assert different <= {"folder", "seconds", "verified"}


def test_a_dataset_on_the_hub_trains_and_exports(cache, dataset, tmp_path, capsys):
    add_repo(tmp_path, "train", dataset / "train")
    add_repo(tmp_path, "held-out", dataset / "v")
    settings = ["training.num_steps=10", "training.on_collapse=warn"]
    folders = ["hf://me/train", "hf://me/held-out", str(tmp_path / "model")]
    assert main(["train", *folders, "--world-model", "state-twin", *settings]) == 0
    assert main(["export", "hf://me/train", str(tmp_path / "train.h5")]) == 0
    assert main(["probe", str(tmp_path / "model"), "hf://me/held-out", "--frames", "20"]) == 0
    capsys.readouterr()
    # Another kind than the command takes
    folders[0] = "hf://me/two-room"
    with pytest.raises(SystemExit):
        main(["train", *folders])
    error = capsys.readouterr().err
    assert "hf://me/two-room cannot be pulled as a dataset" in error
    assert main(["diagnose", "hf://me/train", str(dataset / "v")]) == 2
    assert "hf://me/train cannot be pulled as a checkpoint" in capsys.readouterr().err


def test_a_checkpoint_is_taken_from_the_cache(cache):
    folder = find_checkpoint("hf://me/two-room")
    weights = "weights.safetensors"
    assert (folder / weights).read_bytes() == (FOLDER / weights).read_bytes()


def test_a_pulled_folder_is_whole_or_absent(cache, tmp_path, capsys):
    assert main(["pull", "hf://me/two-room", str(tmp_path / "model")]) == 0
    assert "checkpoint" in capsys.readouterr().out
    assert (tmp_path / "model" / "model.json").is_file()
    (cache / "snapshots" / ("a" * 40) / "model.json").unlink()
    assert main(["pull", "hf://me/two-room", str(tmp_path / "other")]) == 2
    assert "no complete folder" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"hub", "model"}


def test_wrong_use_is_refused(cache, uploads, tmp_path, monkeypatch, capsys):
    for repo in ("two-room", "hf://a/b/c", "a/b c", ""):
        with pytest.raises(HubError, match="user/name"):
            pull(repo)
        with pytest.raises(HubError, match="user/name"):
            push(FOLDER, repo)
    (tmp_path / "empty").mkdir()
    with pytest.raises(HubError, match="no complete folder of jepabench"):
        push(tmp_path / "empty", "me/empty")
    assert not uploads
    with pytest.raises(HubError, match="exists already"):
        pull("hf://me/two-room", folder=tmp_path / "empty")
    assert main(["pull", "hf://me/other", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: hf://me/other cannot be pulled") and error.count("\n") == 1
    assert not (tmp_path / "new").exists()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"jepabench\[hub\]"):
        pull("hf://me/two-room")

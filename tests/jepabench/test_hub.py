"""Test the Hub without one: a stand-in for uploads, and the library's own cache for downloads."""

import shutil
import sys

import pytest

from jepabench.main import main
from jepabench.pipeline.checkpoints import REFERENCES, find_checkpoint
from jepabench.pipeline.hub import HubError, pull, push

hub = pytest.importorskip("huggingface_hub")
FOLDER = REFERENCES / "two-room"


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

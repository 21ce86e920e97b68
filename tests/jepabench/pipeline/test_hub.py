"""Test the Hub without it: a stand-in server for its own client, and the client's offline cache."""

import json
import shutil
import socket
import sys

import huggingface_hub.constants
import pytest
from hub_server import TOKEN, StandIn

from jepabench.envs.data.collect import collect
from jepabench.main import main
from jepabench.pipeline.checkpoints import REFERENCES, find_checkpoint
from jepabench.pipeline.hub import HubError, pull, push

FOLDER = REFERENCES / "two-room"
SUBMISSION = REFERENCES.parent / "submissions" / "expert-quick-v2"


def use_server(monkeypatch, url, folder):
    """Let the client talk to a server, with an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = StandIn()
    use_server(monkeypatch, server.url, tmp_path)
    yield server
    server.close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The offline cache of the library, with one model in it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repo = tmp_path / "hub" / "models--me--two-room"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    shutil.copytree(FOLDER, repo / "snapshots" / ("a" * 40))
    return repo


def test_a_checkpoint_is_pushed_with_a_card_and_pulled_again(server, tmp_path, capsys):
    command = ["push", str(FOLDER), "me/two-room", "--private", "--made-with", "jepabench train"]
    assert main(command) == 0
    assert capsys.readouterr().out == "hf://me/two-room\n"
    (sent,) = server.repos["models/me/two-room"]
    assert server.private["models/me/two-room"]
    assert {"model.json", "weights.safetensors", "README.md"} <= set(sent)
    card = sent["README.md"].decode()
    assert "jepabench/TwoRoom-v1" in card and "Protocol" in card and "jepabench train" in card
    assert main(["pull", "hf://me/two-room", str(tmp_path / "model")]) == 0
    for path in FOLDER.iterdir():
        assert (tmp_path / "model" / path.name).read_bytes() == path.read_bytes()


def test_a_folder_with_subfolders_is_pushed_whole_and_without_code(server, tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "model")
    (folder / "jepa" / "value").mkdir(parents=True)
    for name in ("jepa/value/policy.safetensors", ".cache.json", "code.py"):
        (folder / name).write_bytes(b"0")
    push(folder, "me/model")
    (sent,) = server.repos["models/me/model"]
    assert set(sent) == {
        *(path.name for path in FOLDER.iterdir()),
        "jepa/value/policy.safetensors",
        "README.md",
    }


def test_a_revision_is_pulled(server):
    push(FOLDER, "me/two-room")
    first = server.files("models/me/two-room")[1]
    server.repos["models/me/two-room"].append({"model.json": b"{}"})
    old = pull(f"hf://me/two-room@{first}")
    assert (old / "model.json").read_bytes() == (FOLDER / "model.json").read_bytes()
    assert (pull("hf://me/two-room") / "model.json").read_bytes() == b"{}"


def test_failed_requests_print_one_sentence(server, tmp_path, monkeypatch, capsys):
    def refuse(*command):
        assert main(list(command)) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: hf://me/") and error.count("\n") == 1, error
        assert not (tmp_path / "new").exists()
        return error

    push(FOLDER, "me/two-room")
    new = str(tmp_path / "new")
    assert "no such repository" in refuse("pull", "hf://me/other", new)
    assert "no revision 'v9'" in refuse("pull", "hf://me/two-room@v9", new)
    push(SUBMISSION, "me/expert")
    assert "no revision 'v9'" in refuse("pull", "hf://me/expert@v9", new)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "hf auth login" in refuse("push", str(FOLDER), "me/new")
    assert set(server.repos) == {"models/me/two-room", "datasets/me/expert"}
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        use_server(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path)
        assert "cannot be reached" in refuse("push", str(FOLDER), "me/new")
        assert "cannot be reached" in refuse("pull", "hf://me/other", new)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        assert "cannot be reached" in refuse("pull", "hf://me/other", new)


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


def test_a_submission_is_pushed_with_its_numbers(server):
    assert main(["push", str(SUBMISSION), "me/expert"]) == 0
    (sent,) = server.repos["datasets/me/expert"]
    assert {"submission.json", "episodes.parquet", "actions.npz"} <= set(sent)
    for text in ("quick, version 2", "TwoRoom-v1, near | 100% held", "jepabench submit expert"):
        assert text in sent["README.md"].decode()


def test_a_submission_on_the_hub_is_verified_like_its_folder(server, tmp_path, capsys):
    folder = shutil.copytree(SUBMISSION, tmp_path / SUBMISSION.name)
    push(folder, f"me/{SUBMISSION.name}")
    assert main(["verify", str(folder), "--level", "1", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out.splitlines()[-1])
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
    assert "not a checkpoint" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"hub", "model"}


def test_wrong_use_is_refused(cache, tmp_path, monkeypatch, capsys):
    for repo in ("two-room", "hf://a/b/c", "a/b c", ""):
        with pytest.raises(HubError, match="user/name"):
            pull(repo)
        with pytest.raises(HubError, match="user/name"):
            push(FOLDER, repo)
    (tmp_path / "empty").mkdir()
    with pytest.raises(HubError, match="not a checkpoint, dataset or submission"):
        push(tmp_path / "empty", "me/empty")
    with pytest.raises(HubError, match="exists already"):
        pull("hf://me/two-room", folder=tmp_path / "empty")
    assert main(["pull", "hf://me/other", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: hf://me/other cannot be pulled") and error.count("\n") == 1
    assert not (tmp_path / "new").exists()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"jepabench\[hub\]"):
        pull("hf://me/two-room")

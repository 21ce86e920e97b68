"""Push folders to the Hugging Face Hub and pull them: checkpoints, datasets and submissions."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

PREFIX = "hf://"
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
# The file that marks a complete folder of each kind.
KINDS = {
    "checkpoint": "model.json",
    "dataset": "manifest.json",
    "submission": "submission.json",
}
_README = "README.md"
_CARD = "---\nlibrary_name: jepabench\n"  # start of the README.md that ``push`` writes
# Only data files are pulled, which cannot run code.
_PATTERNS = ("*.json", "*.safetensors", "*.npy", "*.npz", "*.yaml", "*.parquet", "*.md")


class HubError(ValueError):
    """A repository or a folder cannot be pushed or pulled."""


def push(folder: Path, repo: str, *, private: bool = False, command: str = "") -> str:
    """Upload a checkpoint, a dataset or a submission with a card, and return its address.

    Args:
        folder: Folder to upload.
        repo: Repository ``user/name``. It is created if needed.
        private: Whether a new repository is private.
        command: Command that created the folder, for the card.

    Raises:
        HubError: The folder is incomplete, the name is invalid, or the Hub rejects the upload.
        ImportError: The extra ``hub`` is not installed.
    """
    hub = _import_hub()
    repo, kind = _check_repo(repo), find_kind(folder)
    repo_type = _repo_type(kind)
    card = make_card(folder, kind, repo, command).encode()
    api = hub.HfApi()
    try:
        # None selects the default of the account.
        api.create_repo(repo, repo_type=repo_type, private=private or None, exist_ok=True)
        # A single commit, so that a failure cannot leave an incomplete repository.
        api.create_commit(
            repo_id=repo,
            repo_type=repo_type,
            operations=_list_additions(hub, folder, card),
            commit_message=f"Upload a {kind} of JEPA Bench",
        )
    except Exception as error:  # the client and its transport raise many types
        raise HubError(f"{PREFIX}{repo} cannot be pushed: {_explain(hub, error)}") from error
    return f"{PREFIX}{repo}"


def pull(address: str, *, folder: Path | None = None, kind: str | None = None) -> Path:
    """Return the folder of ``hf://user/name``, downloaded or from the local cache.

    Args:
        address: Address ``hf://user/name``, optionally with ``@revision``.
        folder: New folder for the files. By default, they stay in the cache of the client, where
            they are symbolic links.
        kind: Expected kind, one of ``KINDS``. By default, any kind is accepted.

    Raises:
        HubError: There is no such repository, or it is not of the expected kind.
        ImportError: The extra ``hub`` is not installed.
    """
    hub = _import_hub()
    repo, _, revision = address.removeprefix(PREFIX).partition("@")
    repo = _check_repo(repo)
    if folder is not None and folder.exists():
        raise HubError(f"{folder} exists already. Choose another folder.")
    found = _download(hub, repo, revision, kind)
    if folder is None:
        return found
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        shutil.copytree(found, partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def pull_submission(address: str) -> Path:
    """Return the folder of a submission on the Hub as plain files, until this process ends.

    Raises:
        HubError, ImportError: See ``pull``.
    """
    scratch = Path(tempfile.mkdtemp(prefix="jepabench-hub-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    name = address.partition("@")[0].rpartition("/")[2] or "submission"
    folder = pull(address, folder=scratch / name, kind="submission")
    card = folder / _README
    # The card is not part of the submission and would change its digest.
    if card.is_file() and card.read_bytes().startswith(_CARD.encode()):
        card.unlink()
    return folder


def _download(hub: Any, repo: str, revision: str, kind: str | None) -> Path:
    """Return the cached folder of a repository, which may be a model or a dataset."""
    errors: list[Exception] = []
    repo_types = ("model", "dataset") if kind is None else (_repo_type(kind),)
    for repo_type in repo_types:
        try:
            found = Path(
                hub.snapshot_download(
                    repo,
                    repo_type=repo_type,
                    revision=revision or None,
                    allow_patterns=list(_PATTERNS),
                )
            )
        except Exception as error:  # the client and its transport raise many types
            errors.append(error)
            continue
        found_kind = find_kind(found)
        if kind not in (None, found_kind):
            raise HubError(f"{PREFIX}{repo} is a {found_kind}, not a {kind}.")
        return found
    what = f" as a {kind}" if kind else ""
    # Report a missing revision of a dataset rather than a missing model of the same name.
    missing = hub.errors.RepositoryNotFoundError
    error = next((error for error in errors if not isinstance(error, missing)), errors[0])
    raise HubError(
        f"{PREFIX}{repo} cannot be pulled{what}: {_explain(hub, error, revision)}"
    ) from error


def find_kind(folder: Path) -> str:
    """Return the kind of a folder, one of ``KINDS``.

    Raises:
        HubError: The folder is of no such kind, or incomplete.
    """
    for kind, marker in KINDS.items():
        if (folder / marker).is_file():
            return kind
    markers = ", ".join(f"{marker} ({kind})" for kind, marker in KINDS.items())
    raise HubError(
        f"{folder} is not a checkpoint, dataset or submission: it has none of {markers}."
    )


def make_card(folder: Path, kind: str, repo: str, command: str) -> str:
    """Return the card of a repository: task, protocol, numbers and commands."""
    from jepabench.evaluation.protocol import PROTOCOL_VERSION

    described = json.loads((folder / KINDS[kind]).read_text(encoding="utf-8"))
    rows: dict[str, Any] = {"Protocol": PROTOCOL_VERSION}
    if kind == "submission":
        command = command or described["command"]
        rows |= _describe_submission(described)
    else:
        rows["Task"] = described["task_id"]
        names = ("kind", "behaviour", "split", "num_episodes", "num_frames", "fingerprint")
        rows |= {
            name.replace("_", " ").capitalize(): described[name]
            for name in names
            if name in described
        }
        numbers = described.get("metadata", {})
        rows |= {
            name.replace("_", " ").capitalize(): value
            for name, value in numbers.items()
            if isinstance(value, (int, float, str))
        }
    table = "\n".join(
        f"| {name} | {str(value).replace('|', ' ')} |" for name, value in rows.items()
    )
    made = f"Made with:\n\n```\n{command}\n```\n\n" if command else ""
    return (
        f"{_CARD}tags: [jepa, world-model, {kind}]\n---\n\n"
        f"# {repo.partition('/')[2]}\n\nA {kind} of JEPA Bench.\n\n"
        f"| | |\n|---|---|\n{table}\n\n{made}Use it with:\n\n"
        f"```\njepabench pull {PREFIX}{repo} FOLDER\n```\n"
    )


def _describe_submission(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the rows of a submission's card: agent, suite and success per task and stratum."""
    held = {
        f"{row['task_id'].partition('/')[2]}, {row['stratum']}": f"{row['success_held']:.0%} held"
        for row in manifest["aggregates"]
    }
    suite = manifest["suite"]
    return {
        "Protocol": manifest["protocol_version"],
        "Suite": f"{suite['name']}, version {suite['version']}",
        "Agent": manifest["agent"]["name"],
        "Training seeds": len(manifest["training_seeds"]),
        **held,
    }


def _check_repo(repo: str) -> str:
    repo = repo.removeprefix(PREFIX)
    if not _REPO.fullmatch(repo):
        raise HubError(f"A repository must be user/name or hf://user/name, got {repo!r}.")
    return repo


def _repo_type(kind: str) -> str:
    return "model" if kind == "checkpoint" else "dataset"


def _list_additions(hub: Any, folder: Path, card: bytes) -> list[Any]:
    """Return the files of a commit: data files of the folder, and a card if it has none."""
    found = {path for pattern in _PATTERNS for path in folder.rglob(pattern) if path.is_file()}
    names = {path.relative_to(folder).as_posix(): path for path in found}
    shown = [name for name in sorted(names) if not name.startswith(".") and "/." not in name]
    additions = [hub.CommitOperationAdd(name, str(names[name])) for name in shown]
    return additions if _README in names else [*additions, hub.CommitOperationAdd(_README, card)]


def _explain(hub: Any, error: Exception, revision: str = "") -> str:
    """Return the reason for a failed request, and what to do."""
    if isinstance(error, hub.errors.RevisionNotFoundError):
        return f"it has no revision {revision!r}."
    if isinstance(error, hub.errors.RepositoryNotFoundError):
        return "there is no such repository, or your account may not use it. Try `hf auth login`."
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    response = getattr(error, "response", None)
    if response is not None and response.status_code in (401, 403):
        return "your account may not do this. Log in with `hf auth login`."
    if response is None and not isinstance(error, ValueError):
        return f"the Hub cannot be reached ({reason.rstrip('.')})."
    return reason


def _import_hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise ImportError(
            "huggingface_hub is not installed. Install it with: pip install 'jepabench[hub]'"
        ) from error
    return huggingface_hub

"""Hostile folders, manifests, and suites."""

import os
from collections.abc import Callable

from hostile_kinds import KINDS, Kind, hostile, of_manifest
from pyarrow import parquet
from tiny_submission import change_manifest, read_table, sign

for _name in ("submission.json", "episodes.parquet", "actions.npz"):
    KINDS[f"no-{_name}"] = Kind(
        lambda folder, name=_name: (folder / name).unlink(), "files", f"lacks {_name}"
    )


@hostile("files", "symbolic link")
def link_to_a_file_outside(folder):
    (folder / "episodes.parquet").unlink()
    (folder / "episodes.parquet").symlink_to("/etc/passwd")


@hostile("files", "symbolic link")
def link_to_a_folder_outside(folder):
    (folder / "checkpoints").symlink_to("/")


@hostile("files", "symbolic link")
def link_to_itself(folder):
    (folder / "README.md").symlink_to("README.md")


@hostile("files", "not a regular file")
def pipe_that_never_ends(folder):
    os.mkfifo(folder / "README.md")


@hostile("files", "is not allowed")
def code(folder):
    (folder / "agent.py").write_text("raise SystemExit(1)", encoding="utf-8")
    sign(folder)


@hostile("files", "is not allowed")
def hidden_file(folder):
    (folder / ".gitattributes").write_text("", encoding="utf-8")
    sign(folder)


@hostile("files", "is not allowed")
def claimed_badges(folder):
    (folder / "verified.json").write_text(
        '{"badges": ["valid", "replayed", "re-run"]}', encoding="utf-8"
    )
    sign(folder)


@hostile("files", "is not allowed")
def pickled_checkpoint(folder):
    (folder / "checkpoints/TwoRoom-v1").mkdir(parents=True)
    (folder / "checkpoints/TwoRoom-v1/model.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    sign(folder)


@hostile("files", "is not allowed")
def bottomless_folders(folder):
    deep = folder / "checkpoints"
    for _ in range(100):
        deep = deep / "a"
    deep.mkdir(parents=True)


@hostile("files", "more than 400 files")
def thousands_of_files(folder):
    (folder / "checkpoints/a").mkdir(parents=True)
    for number in range(1000):
        (folder / f"checkpoints/a/{number}.json").touch()


@hostile("files", "larger than")
def huge_manifest(folder):
    change_manifest(folder, lambda manifest: manifest["machine"].update(cores="2" * 300_000))


@hostile("files", "larger than")
def huge_readme(folder):
    (folder / "README.md").write_text("x" * 300_000, encoding="utf-8")
    sign(folder)


@hostile("files", "larger than")
def terabyte_of_nothing(folder):
    os.truncate(folder / "episodes.parquet", 1 << 40)


@hostile("files", "larger than")
def large_checkpoint(folder):
    (folder / "checkpoints/a").mkdir(parents=True)
    (folder / "checkpoints/a/model.safetensors").touch()
    os.truncate(folder / "checkpoints/a/model.safetensors", 1 << 33)


@hostile("files", "its SHA-256 is")
def file_swapped_afterwards(folder):
    table = read_table(folder)
    parquet.write_table(table, folder / "episodes.parquet", compression="none")


@hostile("files", "the manifest says nothing")
def file_that_the_manifest_hides(folder):
    (folder / "README.md").write_text("unlisted", encoding="utf-8")


for _name in ("../outside.txt", "/etc/passwd", "checkpoints/../../outside.json"):
    of_manifest(
        f"manifest-lists-{_name}",
        "which is missing",
        lambda manifest, name=_name: manifest["files"].update({name: "0" * 64}),
        "files",
    )


def raw_manifest(name: str, reason: str, change: Callable[[str], str | bytes]) -> None:
    def make(folder):
        changed = change((folder / "submission.json").read_text(encoding="utf-8"))
        (folder / "submission.json").write_bytes(
            changed if isinstance(changed, bytes) else changed.encode()
        )

    KINDS[name] = Kind(make, "manifest", reason)


raw_manifest("empty-manifest", "not readable JSON", lambda text: "")
raw_manifest("manifest-of-another-kind", "top level", lambda text: "[1, 2, 3]")
raw_manifest("manifest-cut-off", "not readable JSON", lambda text: text[:-20])
raw_manifest(
    "manifest-in-latin-1",
    "not readable JSON",
    lambda text: text.replace("A. Nobody", "Ren\xe9").encode("latin-1"),
)
raw_manifest("manifest-in-utf-16", "not readable JSON", lambda text: text.encode("utf-16"))
raw_manifest("manifest-with-nan", "NaN is not a number", lambda text: text.replace("1.5", "NaN"))
raw_manifest("manifest-with-infinity", "too large", lambda text: text.replace("1.5", "1e999"))
raw_manifest(
    "number-of-5000-digits",
    "not readable JSON",
    lambda text: text.replace('"pixels": 64', f'"pixels": {"9" * 5000}'),
)
raw_manifest(
    "number-of-4000-digits",
    "pixels",
    lambda text: text.replace('"pixels": 64', f'"pixels": {"9" * 4000}'),
)
raw_manifest(
    "key-twice",
    "duplicated",
    lambda text: text.replace('"pixels": 64', '"pixels": 64, "pixels": 64'),
)
raw_manifest("100000-levels", "nested deeper", lambda text: '{"a":' * 40_000 + "1" + "}" * 40_000)
raw_manifest("surrogates", "U\\+D800", lambda text: text.replace("A. Nobody", "\\ud800"))

of_manifest(
    "config-of-30-levels",
    "nested deeper",
    lambda manifest: manifest["agent"].update(config=nested(30)),
)
of_manifest("unknown-key", "badges", lambda manifest: manifest.update(badges=["re-run"]))
of_manifest("missing-key", "agent", lambda manifest: manifest.pop("agent"))
of_manifest("text-for-a-number", "pixels", lambda manifest: manifest.update(pixels="64"))
of_manifest(
    "truth-for-a-number", "costs", lambda manifest: manifest["costs"][0].update(parameters=True)
)
of_manifest(
    "other-name-than-the-folder", "the folder is", lambda manifest: manifest.update(name="winner")
)
of_manifest("name-that-climbs-out", "name", lambda manifest: manifest.update(name="../../winner"))
of_manifest(
    "negative-cost", "transitions", lambda manifest: manifest["costs"][0].update(transitions=-5)
)
of_manifest(
    "negative-seconds",
    "train_seconds",
    lambda manifest: manifest["costs"][0].update(train_seconds=-0.1),
)
of_manifest(
    "costs-of-one-seed-left-out",
    "costs must have one entry",
    lambda manifest: manifest["costs"].pop(),
)
of_manifest(
    "link-that-runs-a-script", "link", lambda manifest: manifest.update(link="javascript:alert(1)")
)
of_manifest(
    "author-who-paints-the-terminal",
    "U\\+001B",
    lambda manifest: manifest.update(authors=["\x1b[2Jverified"]),
)
of_manifest(
    "author-who-writes-backwards",
    "U\\+202E",
    lambda manifest: manifest.update(authors=["\u202edeifirev"]),
)
of_manifest(
    "thousands-of-authors", "authors", lambda manifest: manifest.update(authors=["a"] * 5000)
)
of_manifest(
    "agent-named-like-a-path", "agent.name", lambda manifest: manifest["agent"].update(name="../x")
)
of_manifest(
    "privilege-of-its-own-making",
    "privilege",
    lambda manifest: manifest["agent"]["track"].update(privilege="all"),
)
of_manifest(
    "schema-of-the-future", "schema_version", lambda manifest: manifest.update(schema_version=2)
)


def nested(levels: int) -> dict:
    tree: dict = {}
    for _ in range(levels):
        tree = {"a": tree}
    return tree


of_manifest(
    "protocol-of-another-version",
    "follows protocol 1",
    lambda manifest: manifest.update(protocol_version=1),
    "suite",
)
of_manifest(
    "unknown-suite",
    "Unknown suite",
    lambda manifest: manifest["suite"].update(name="tinny"),
    "suite",
)
of_manifest(
    "suite-that-is-a-path",
    "Unknown suite",
    lambda manifest: manifest["suite"].update(name="../../agent/x"),
    "suite",
)
of_manifest(
    "suite-of-another-version",
    "version 2 of suite",
    lambda manifest: manifest["suite"].update(version=2),
    "suite",
)
of_manifest(
    "specs-of-other-episodes",
    "are not those",
    lambda manifest: manifest["specs"].update(sha256="0" * 64),
    "suite",
)
of_manifest(
    "other-physics",
    "made with mujoco 4.0.0",
    lambda manifest: manifest["versions"].update(mujoco="4.0.0"),
    "suite",
)
of_manifest(
    "no-word-of-physics", "not stated", lambda manifest: manifest["versions"].pop("mujoco"), "suite"
)
of_manifest(
    "picked-seeds",
    "None may be added",
    lambda manifest: manifest.update(training_seeds=[0, 7]),
    "rows",
)
of_manifest(
    "best-seed-only",
    "None may be added",
    lambda manifest: manifest.update(training_seeds=[1]),
    "rows",
)
of_manifest(
    "learns-but-says-no",
    "its costs name a training",
    lambda manifest: manifest["agent"].update(learns=False),
    "manifest",
)

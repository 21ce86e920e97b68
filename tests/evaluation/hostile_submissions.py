"""Kinds of submissions that must be refused: how each is made, which check must find it, and what it must say."""

import os
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from tiny_submission import (
    MAZE,
    ROOM,
    change_manifest,
    change_rows,
    read_arrays,
    read_table,
    sign,
    write_arrays,
    write_table,
)


class Kind(NamedTuple):
    make: Callable[[Path], object]
    check: str
    reason: str


KINDS: dict[str, Kind] = {}


def hostile(check: str, reason: str) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    def add(make):
        KINDS[make.__name__.replace("_", "-")] = Kind(make, check, reason)
        return make

    return add


def of_manifest(name: str, reason: str, change: Callable[[dict], object], check: str = "manifest") -> None:
    KINDS[name] = Kind(lambda folder: change_manifest(folder, change), check, reason)


def of_rows(name: str, check: str, reason: str, **columns) -> None:
    """One row, the second, is given other values."""

    def change(rows):
        for column, value in columns.items():
            rows.loc[1, column] = value

    KINDS[name] = Kind(lambda folder: change_rows(folder, change), check, reason)


# -- the folder ----------------------------------------------------------------------------------------------------

for _name in ("submission.json", "episodes.parquet", "actions.npz"):
    KINDS[f"no-{_name}"] = Kind(lambda folder, name=_name: (folder / name).unlink(), "files", f"lacks {_name}")


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


@hostile("files", "no regular file")
def pipe_that_never_ends(folder):
    os.mkfifo(folder / "README.md")


@hostile("files", "does not belong")
def code(folder):
    (folder / "agent.py").write_text("raise SystemExit(1)")
    sign(folder)


@hostile("files", "does not belong")
def hidden_file(folder):
    (folder / ".gitattributes").write_text("")
    sign(folder)


@hostile("files", "does not belong")
def claimed_badges(folder):
    (folder / "verified.json").write_text('{"badges": ["valid", "replayed", "re-run"]}')
    sign(folder)


@hostile("files", "does not belong")
def pickled_checkpoint(folder):
    (folder / "checkpoints/TwoRoom-v1").mkdir(parents=True)
    (folder / "checkpoints/TwoRoom-v1/model.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    sign(folder)


@hostile("files", "does not belong")
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
    (folder / "README.md").write_text("x" * 300_000)
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


@hostile("files", "the manifest says nothing of it")
def file_that_the_manifest_hides(folder):
    (folder / "README.md").write_text("unlisted")


for _name in ("../outside.txt", "/etc/passwd", "checkpoints/../../outside.json"):
    of_manifest(
        f"manifest-lists-{_name}",
        "which is not there",
        lambda manifest, name=_name: manifest["files"].update({name: "0" * 64}),
        "files",
    )


# -- the manifest --------------------------------------------------------------------------------------------------


def raw_manifest(name: str, reason: str, change: Callable[[str], str | bytes]) -> None:
    def make(folder):
        changed = change((folder / "submission.json").read_text())
        (folder / "submission.json").write_bytes(changed if isinstance(changed, bytes) else changed.encode())

    KINDS[name] = Kind(make, "manifest", reason)


raw_manifest("empty-manifest", "no JSON", lambda text: "")
raw_manifest("manifest-of-another-kind", "top level", lambda text: "[1, 2, 3]")
raw_manifest("manifest-cut-off", "no JSON", lambda text: text[:-20])
raw_manifest("manifest-in-latin-1", "no JSON", lambda text: text.replace("A. Nobody", "Ren\xe9").encode("latin-1"))
raw_manifest("manifest-in-utf-16", "no JSON", lambda text: text.encode("utf-16"))
raw_manifest("manifest-with-nan", "NaN is not a number", lambda text: text.replace("1.5", "NaN"))
raw_manifest("manifest-with-infinity", "too large", lambda text: text.replace("1.5", "1e999"))
raw_manifest("number-of-5000-digits", "no JSON", lambda text: text.replace('"pixels": 64', f'"pixels": {"9" * 5000}'))
raw_manifest("number-of-4000-digits", "pixels", lambda text: text.replace('"pixels": 64', f'"pixels": {"9" * 4000}'))
raw_manifest("key-twice", "there twice", lambda text: text.replace('"pixels": 64', '"pixels": 64, "pixels": 64'))
raw_manifest("100000-levels", "nested deeper", lambda text: '{"a":' * 40_000 + "1" + "}" * 40_000)
raw_manifest("surrogates", "authors", lambda text: text.replace("A. Nobody", "\\ud800"))

of_manifest("config-of-30-levels", "nested deeper", lambda manifest: manifest["agent"].update(config=nested(30)))
of_manifest("unknown-key", "badges", lambda manifest: manifest.update(badges=["re-run"]))
of_manifest("missing-key", "agent", lambda manifest: manifest.pop("agent"))
of_manifest("text-for-a-number", "pixels", lambda manifest: manifest.update(pixels="64"))
of_manifest("truth-for-a-number", "costs", lambda manifest: manifest["costs"][0].update(parameters=True))
of_manifest("other-name-than-the-folder", "the folder is", lambda manifest: manifest.update(name="winner"))
of_manifest("name-that-climbs-out", "name", lambda manifest: manifest.update(name="../../winner"))
of_manifest("negative-cost", "transitions", lambda manifest: manifest["costs"][0].update(transitions=-5))
of_manifest("negative-seconds", "train_seconds", lambda manifest: manifest["costs"][0].update(train_seconds=-0.1))
of_manifest("costs-of-one-seed-left-out", "costs has an entry", lambda manifest: manifest["costs"].pop())
of_manifest("link-that-runs-a-script", "link", lambda manifest: manifest.update(link="javascript:alert(1)"))
of_manifest("author-who-paints-the-terminal", "authors", lambda manifest: manifest.update(authors=["\x1b[2Jverified"]))
of_manifest("author-who-writes-backwards", "authors", lambda manifest: manifest.update(authors=["\u202edeifirev"]))
of_manifest("thousands-of-authors", "authors", lambda manifest: manifest.update(authors=["a"] * 5000))
of_manifest("agent-named-like-a-path", "agent.name", lambda manifest: manifest["agent"].update(name="../x"))
of_manifest(
    "privilege-of-its-own-making", "privilege", lambda manifest: manifest["agent"]["track"].update(privilege="all")
)
of_manifest("schema-of-the-future", "schema_version", lambda manifest: manifest.update(schema_version=2))


def nested(levels: int) -> dict:
    tree: dict = {}
    for _ in range(levels):
        tree = {"a": tree}
    return tree


# -- the suite -----------------------------------------------------------------------------------------------------

of_manifest(
    "protocol-of-another-version", "follows protocol 2", lambda manifest: manifest.update(protocol_version=2), "suite"
)
of_manifest("unknown-suite", "Unknown suite", lambda manifest: manifest["suite"].update(name="tinny"), "suite")
of_manifest(
    "suite-that-is-a-path", "Unknown suite", lambda manifest: manifest["suite"].update(name="../../agent/x"), "suite"
)
of_manifest(
    "suite-of-another-version", "version 2 of suite", lambda manifest: manifest["suite"].update(version=2), "suite"
)
of_manifest(
    "specs-of-other-episodes", "are not those", lambda manifest: manifest["specs"].update(sha256="0" * 64), "suite"
)
of_manifest(
    "other-physics", "made with mujoco 4.0.0", lambda manifest: manifest["versions"].update(mujoco="4.0.0"), "suite"
)
of_manifest("no-word-of-physics", "not said", lambda manifest: manifest["versions"].pop("mujoco"), "suite")
of_manifest("picked-seeds", "none may be picked", lambda manifest: manifest.update(training_seeds=[0, 7]), "rows")
of_manifest("best-seed-only", "none may be picked", lambda manifest: manifest.update(training_seeds=[1]), "rows")
of_manifest("learns-but-says-no", "none may be picked", lambda manifest: manifest["agent"].update(learns=False), "rows")


# -- rows: the file ------------------------------------------------------------------------------------------------


def raw_rows(name: str, reason: str, change: Callable[[bytes], bytes]) -> None:
    def make(folder):
        (folder / "episodes.parquet").write_bytes(change((folder / "episodes.parquet").read_bytes()))
        sign(folder)

    KINDS[name] = Kind(make, "rows", reason)


raw_rows("rows-cut-off", "can not be read", lambda content: content[: len(content) // 2])
raw_rows("rows-without-a-file", "can not be read", lambda content: b"")
raw_rows("rows-as-text", "can not be read", lambda content: b"agent,training_seed\nseeker,0\n" * 100)
raw_rows("rows-with-a-damaged-page", "", lambda content: content[:60] + bytes(60) + content[120:])
raw_rows("footer-longer-than-the-file", "can not be read", lambda content: content[:-8] + b"\xff\xff\xff\x7fPAR1")
raw_rows(
    "footer-of-noise",
    "can not be read",
    lambda content: b"PAR1" + bytes(range(256)) * 4 + struct.pack("<I", 1000) + b"PAR1",
)


@hostile("rows", "float, must be double")
def column_of_another_type(folder):
    table = read_table(folder)
    place = table.column_names.index("distance_final")
    write_table(folder, table.set_column(place, "distance_final", table["distance_final"].cast(pa.float32())))


@hostile("rows", "columns")
def column_left_out(folder):
    write_table(folder, read_table(folder).drop_columns(["violations"]))


@hostile("rows", "columns")
def column_of_its_own(folder):
    table = read_table(folder)
    write_table(folder, table.append_column("score", pa.array([1.0] * len(table))))


@hostile("rows", "")
def column_twice(folder):
    table = read_table(folder).drop_columns(["violations"])
    write_table(folder, table.append_column("steps", table["steps"]))


@hostile("rows", "nested")
def column_of_lists(folder):
    table = read_table(folder).drop_columns(["return_"])
    write_table(folder, table.append_column("return_", pa.array([[1.0]] * len(table))))


@hostile("rows", "")
def column_of_an_extension_type(folder):
    table = read_table(folder).drop_columns(["agent"])
    column = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}"] * len(table)))
    write_table(folder, table.add_column(0, "agent", column))


@hostile("rows", "lacks 1 values")
def value_left_out(folder):
    table = read_table(folder)
    steps = pa.array([None, *table["steps"].to_pylist()[1:]], pa.int64())
    write_table(folder, table.set_column(table.column_names.index("steps"), "steps", steps))


def dictionary(name: str, length: int, reason: str) -> None:
    """A name that is stored once, and unfolds to ``length`` bytes in every row."""

    def make(folder):
        table = read_table(folder)
        agents = pa.array(["x" * length] * len(table)).dictionary_encode()
        write_table(folder, table.set_column(0, "agent", agents), compression="zstd", write_statistics=False)

    KINDS[name] = Kind(make, "rows", reason)


dictionary("few-bytes-that-unfold", 30_000, "text of 30000 bytes")
dictionary("few-bytes-that-unfold-to-many", 1_000_000, "too much for 10 rows")


@hostile("rows", "rows, the suite asks for 10")
def millions_of_rows(folder):
    table = read_table(folder).slice(0, 1)
    write_table(
        folder, pa.concat_tables([table] * 10).take(pa.array(np.zeros(1_000_000, np.int64))), row_group_size=1_000_000
    )


@hostile("rows", "can not be read")
def text_that_is_no_utf_8(folder):
    table = read_table(folder)
    agents = pa.array([b"\xff\xfe"] * len(table), pa.binary()).view(pa.string())
    write_table(folder, table.set_column(0, "agent", agents))


# -- rows: what they say -------------------------------------------------------------------------------------------

of_rows("distance-that-is-nan", "rows", "NaN", distance_final=np.nan)
of_rows("distance-that-is-infinite", "rows", "NaN or infinity", distance_start=np.inf)
of_rows("unknown-task", "rows", "no episode of this suite", task_id="jepabench/TwoRoom-v9")
of_rows("task-that-is-a-module", "rows", "no episode of this suite", task_id="antigravity:TwoRoom-v1")
of_rows("task-of-another-suite", "rows", "no episode of this suite", task_id="jepabench/PushT-v1")
of_rows("episode-of-the-training-split", "rows", "no episode of this suite", split="train")
of_rows("easier-stratum", "rows", "no episode of this suite", stratum="medium")
of_rows("episode-beyond-the-suite", "rows", "no episode of this suite", index=77)
of_rows("negative-index", "rows", "no episode of this suite", index=-1)
of_rows("seed-of-its-own", "rows", "no episode of this suite", training_seed=5)
of_rows("row-of-another-agent", "rows", "no episode of this suite", agent="expert")
of_rows("no-steps", "rows", "steps is 1 or more", steps=0, first_success_step=-1, success_ever=False)
of_rows("endless-episode", "rows", "control steps, got", steps=2**62)
of_rows("held-but-never", "rows", "need success_ever", success_ever=False, first_success_step=-1, success_held=True)
of_rows("success-before-the-start", "rows", "first_success_step", first_success_step=0)
of_rows("success-after-the-end", "rows", "first_success_step", first_success_step=10_000, success_ever=True)
of_rows("more-violations-than-steps", "rows", "violations", violations=1000)
of_rows("negative-violations", "rows", "violations", violations=-1)
of_rows("negative-distance", "rows", "distances are 0 or more", distance_min=-1.0)
of_rows("nearest-is-not-nearest", "rows", "least distance", distance_min=99.0)
of_rows("dense-return", "rows", "sparse rewards", return_=-3.25)
of_rows("negative-planning-time", "rows", "planning times", planning_seconds=-1.0)
of_rows("quicker-at-its-slowest", "rows", "no less than the median", planning_ms_median=5.0, planning_ms_p95=1.0)
of_rows("negative-model-steps", "rows", "model_steps", model_steps=-1)


@hostile("rows", "there twice and as many lack")
def best_episode_twice(folder):
    change_rows(folder, lambda rows: rows.iloc[[0, 0, 2, 3, 4, 5, 6, 7, 8, 9]].reset_index(drop=True))


@hostile("rows", "9 rows, the suite asks for 10")
def worst_episode_left_out(folder):
    change_rows(folder, lambda rows: rows.drop(index=2).reset_index(drop=True))


@hostile("rows", "not in the suite's order")
def rows_in_another_order(folder):
    change_rows(folder, lambda rows: rows.iloc[::-1].reset_index(drop=True))


of_manifest(
    "forged-aggregate",
    "success_held is",
    lambda manifest: manifest["aggregates"][0].update(success_held=0.123),
    "aggregates",
)
of_manifest("aggregate-above-1", "success_held", lambda manifest: manifest["aggregates"][0].update(success_held=1.5))
of_manifest("aggregate-left-out", "2 cells", lambda manifest: manifest["aggregates"].pop(), "aggregates")
of_manifest(
    "aggregate-of-more-seeds", "seeds is", lambda manifest: manifest["aggregates"][0].update(seeds=5), "aggregates"
)


# -- actions -------------------------------------------------------------------------------------------------------


def raw_actions(name: str, reason: str, change: Callable[[bytes], bytes]) -> None:
    def make(folder):
        (folder / "actions.npz").write_bytes(change((folder / "actions.npz").read_bytes()))
        sign(folder)

    KINDS[name] = Kind(make, "actions", reason)


raw_actions("actions-cut-off", "can not be read", lambda content: content[:-40])
raw_actions("actions-of-noise", "can not be read", lambda content: bytes(range(256)) * 10)
raw_actions("actions-without-a-file", "can not be read", lambda content: b"")
raw_actions(
    "actions-with-a-damaged-stream", "can not be read", lambda content: content[:80] + bytes(30) + content[110:]
)


def of_arrays(name: str, reason: str, change: Callable[[dict], object]) -> None:
    def make(folder):
        arrays = read_arrays(folder)
        change(arrays)
        write_arrays(folder, arrays)

    KINDS[name] = Kind(make, "actions", reason)


def changed(key: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict], object]:
    return lambda arrays: arrays.update({key: change(arrays[key])})


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array):
        array[7, 1] = value
        return array

    return change


KEY = f"{ROOM}/0"
of_arrays("action-out-of-range", "not within", changed(KEY, with_value(1.5)))
of_arrays("action-that-is-nan", "not within", changed(KEY, with_value(np.nan)))
of_arrays("action-that-is-infinite", "not within", changed(KEY, with_value(-np.inf)))
of_arrays("actions-in-float64", "unfolds to", changed(KEY, lambda array: array.astype(np.float64)))
of_arrays("actions-in-float16", "unfolds to", changed(KEY, lambda array: array.astype(np.float16)))
of_arrays("actions-in-int32", "no array of float32", changed(KEY, lambda array: array.astype(np.int32)))
of_arrays("actions-of-the-other-end", "no array of float32", changed(KEY, lambda array: array.astype(">f4")))
of_arrays("actions-turned", "no array of float32", changed(KEY, lambda array: array.T.copy()))
of_arrays("actions-in-fortran-order", "no array of float32", changed(KEY, np.asfortranarray))
of_arrays("actions-flat", "no array of float32", changed(KEY, np.ravel))
of_arrays("trace-too-long", "unfolds to", changed(KEY, lambda array: np.tile(array, (5, 1))))
of_arrays("trace-too-short", "unfolds to", changed(KEY, lambda array: array[:20]))
of_arrays("bomb-of-zeros", "unfolds to", changed(KEY, lambda array: np.zeros((2_000_000, 2), np.float32)))
of_arrays("trace-left-out", "one array for each", lambda arrays: arrays.pop(f"{MAZE}/1"))
of_arrays("trace-of-its-own", "one array for each", lambda arrays: arrays.update(extra=np.zeros(3, np.float32)))
of_arrays(
    "trace-that-climbs-out", "one array for each", lambda arrays: arrays.update({"../../outside": arrays.pop(KEY)})
)
of_arrays(
    "trace-of-another-task",
    "one array for each",
    lambda arrays: arrays.update({"jepabench/PushT-v1/0": arrays.pop(KEY)}),
)


@hostile("actions", "no array of float32|unfolds to")
def pickled_actions(folder):
    arrays = read_arrays(folder)
    arrays[KEY] = np.array([Danger()] * len(arrays[KEY]) * 2, dtype=object)
    write_arrays(folder, arrays)


class Danger:
    """What no check may ever unpickle."""

    def __reduce__(self):
        return Path.touch, (Path("unpickled"),)


def archive(folder: Path, change: Callable[[zipfile.ZipFile, dict[str, bytes]], object], **options) -> None:
    """Writes the archive of actions anew, member by member."""
    with zipfile.ZipFile(folder / "actions.npz") as old:
        members = {entry.filename: old.read(entry) for entry in old.infolist()}
    with zipfile.ZipFile(folder / "actions.npz", "w", **{"compression": zipfile.ZIP_DEFLATED, **options}) as new:
        change(new, members)
    sign(folder)


def write_all(new: zipfile.ZipFile, members: dict[str, bytes]) -> None:
    for name, content in members.items():
        new.writestr(name, content)


@hostile("actions", "is there twice")
def trace_twice(folder):
    def change(new, members):
        write_all(new, members)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            new.writestr(f"{KEY}.npy", members[f"{KEY}.npy"])

    archive(folder, change)


@hostile("actions", "unusual way")
def packed_in_an_unusual_way(folder):
    archive(folder, write_all, compression=zipfile.ZIP_LZMA)


@hostile("actions", "far more than")
def archive_of_thousands(folder):
    def change(new, members):
        write_all(new, members)
        for number in range(3000):
            new.writestr(str(number), b"")

    archive(folder, change)


@hostile("actions", "encrypted")
def encrypted_trace(folder):
    content = bytearray((folder / "actions.npz").read_bytes())
    place = content.find(b"PK\x01\x02")
    content[place + 8] |= 1
    (folder / "actions.npz").write_bytes(content)
    sign(folder)


@hostile("actions", "can not be read")
def bomb_that_gives_its_size_as_small(folder):
    """The directory of the archive says what is asked for; the stream unfolds to 400 times as much."""
    small: list[int] = []

    def change(new, members):
        small.append(len(members[f"{KEY}.npy"]))
        members[f"{KEY}.npy"] += bytes(400 * small[0])
        write_all(new, members)

    archive(folder, change)
    content = (folder / "actions.npz").read_bytes()
    large = struct.pack("<I", 401 * small[0])
    (folder / "actions.npz").write_bytes(content.replace(large, struct.pack("<I", small[0])))
    sign(folder)


def header(name: str, reason: str, text: str) -> None:
    """An array of the right number of bytes whose own header says something else."""

    def make(folder):
        def change(new, members):
            body = members[f"{KEY}.npy"][128:]
            head = text.ljust(117).encode() + b"\n"
            members[f"{KEY}.npy"] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + body
            write_all(new, members)

        archive(folder, change)

    KINDS[name] = Kind(make, "actions", reason)


header(
    "array-of-a-trillion",
    "no array of float32",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 2)}",
)
header(
    "array-of-negative-length", "no array of float32", "{'descr': '<f4', 'fortran_order': False, 'shape': (-150, 2)}"
)
header("array-of-objects", "no array of float32", "{'descr': '|O', 'fortran_order': False, 'shape': (150, 2)}")
header("array-whose-header-is-code", "no array of float32", "__import__('os').system('touch executed')")
header("array-whose-header-is-deep", "no array of float32", "(" * 90)


# -- outcomes ------------------------------------------------------------------------------------------------------

of_rows("one-flag-flipped", "replay", "success_final is True", success_final=False)
of_rows("another-first-success", "replay", "first_success_step is", first_success_step=49)
of_rows("start-made-farther", "replay", "distance_start is", distance_start=99.0)
of_rows("violations-hidden", "replay", "violations is", violations=1)
of_rows("reference-made-longer", "replay", "reference_steps is", reference_steps=200)


def flip_hidden(rows):
    """Flips the headline of an episode that was lost, wherever there is one."""
    lost = rows.index[~rows["success_held"]][0]
    rows.loc[lost, ["success_ever", "success_final", "success_held"]] = True
    rows.loc[lost, "first_success_step"] = max(1, rows.loc[lost, "first_success_step"])


KINDS["one-loss-made-a-success"] = Kind(lambda folder: change_rows(folder, flip_hidden), "replay", "1 of 10 episodes")


@hostile("replay", "the budget is")
def trace_that_stops_early(folder):
    def change(rows):
        rows.loc[0, "steps"] -= 1
        rows.loc[0, "return_"] = max(rows.loc[0, "return_"], -rows.loc[0, "steps"])
        rows.loc[0, "violations"] = min(rows.loc[0, "violations"], rows.loc[0, "steps"])

    change_rows(folder, change)
    arrays = read_arrays(folder)
    arrays[KEY] = arrays[KEY][1:]
    np.savez_compressed(folder / "actions.npz", **arrays)
    sign(folder, with_aggregates=True)


@hostile("replay", "do not come to what")
def traces_swapped(folder):
    arrays = read_arrays(folder)
    arrays[KEY], arrays[f"{ROOM}/1"] = -arrays[KEY], arrays[f"{ROOM}/1"]
    write_arrays(folder, arrays)


@hostile("replay", "do not come to what")
def hand_made_actions(folder):
    arrays = read_arrays(folder)
    arrays[f"{MAZE}/1"] = np.zeros_like(arrays[f"{MAZE}/1"])
    write_arrays(folder, arrays)

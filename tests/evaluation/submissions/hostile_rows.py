"""Hostile Parquet files, and rows that lie."""

import struct
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from hostile_kinds import KINDS, Kind, hostile, of_manifest, of_rows
from tiny_submission import (
    MAZE,
    ROOM,
    change_rows,
    read_arrays,
    read_table,
    sign,
    write_arrays,
    write_table,
)


def raw_rows(name: str, reason: str, change: Callable[[bytes], bytes]) -> None:
    def make(folder):
        (folder / "episodes.parquet").write_bytes(
            change((folder / "episodes.parquet").read_bytes())
        )
        sign(folder)

    KINDS[name] = Kind(make, "rows", reason)


raw_rows("rows-cut-off", "cannot be read", lambda content: content[: len(content) // 2])
raw_rows("rows-without-a-file", "cannot be read", lambda content: b"")
raw_rows("rows-as-text", "cannot be read", lambda content: b"agent,training_seed\nseeker,0\n" * 100)
raw_rows("rows-with-a-damaged-page", "", lambda content: content[:60] + bytes(60) + content[120:])
raw_rows(
    "footer-longer-than-the-file",
    "cannot be read",
    lambda content: content[:-8] + b"\xff\xff\xff\x7fPAR1",
)
raw_rows(
    "footer-of-noise",
    "cannot be read",
    lambda content: b"PAR1" + bytes(range(256)) * 4 + struct.pack("<I", 1000) + b"PAR1",
)


@hostile("rows", "float, must be double")
def column_of_another_type(folder):
    table = read_table(folder)
    place = table.column_names.index("distance_final")
    write_table(
        folder,
        table.set_column(place, "distance_final", table["distance_final"].cast(pa.float32())),
    )


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
    """A name that is stored once, and unpacks to ``length`` bytes in every row."""

    def make(folder):
        table = read_table(folder)
        agents = pa.array(["x" * length] * len(table)).dictionary_encode()
        write_table(
            folder, table.set_column(0, "agent", agents), compression="zstd", write_statistics=False
        )

    KINDS[name] = Kind(make, "rows", reason)


dictionary("few-bytes-that-unfold", 30_000, "text of 30000 bytes")
dictionary("few-bytes-that-unfold-to-many", 1_000_000, "too much for 10 rows")


@hostile("rows", "rows, the suite asks for 10")
def millions_of_rows(folder):
    table = read_table(folder).slice(0, 1)
    write_table(
        folder,
        pa.concat_tables([table] * 10).take(pa.array(np.zeros(1_000_000, np.int64))),
        row_group_size=1_000_000,
    )


@hostile("rows", "cannot be read")
def text_that_is_no_utf_8(folder):
    table = read_table(folder)
    agents = pa.array([b"\xff\xfe"] * len(table), pa.binary()).view(pa.string())
    write_table(folder, table.set_column(0, "agent", agents))


of_rows("distance-that-is-nan", "rows", "NaN", distance_final=np.nan)
of_rows("distance-that-is-infinite", "rows", "NaN or infinity", distance_start=np.inf)
of_rows("unknown-task", "rows", "not an episode of this suite", task_id="jepabench/TwoRoom-v9")
of_rows(
    "task-that-is-a-module",
    "rows",
    "not an episode of this suite",
    task_id="antigravity:TwoRoom-v1",
)
of_rows(
    "task-of-another-suite", "rows", "not an episode of this suite", task_id="jepabench/PushT-v1"
)
of_rows("episode-of-the-training-split", "rows", "not an episode of this suite", split="train")
of_rows("easier-stratum", "rows", "not an episode of this suite", stratum="medium")
of_rows("episode-beyond-the-suite", "rows", "not an episode of this suite", index=77)
of_rows("negative-index", "rows", "not an episode of this suite", index=-1)
of_rows("seed-of-its-own", "rows", "not an episode of this suite", training_seed=5)
of_rows("row-of-another-agent", "rows", "not an episode of this suite", agent="expert")
of_rows(
    "no-steps",
    "rows",
    "steps must be at least 1",
    steps=0,
    first_success_step=-1,
    success_ever=False,
)
of_rows("endless-episode", "rows", "planning_seconds must cover", steps=2**62)
of_rows(
    "held-but-never",
    "rows",
    "need success_ever",
    success_ever=False,
    first_success_step=-1,
    success_held=True,
)
of_rows("success-before-the-start", "rows", "first_success_step", first_success_step=0)
of_rows(
    "success-after-the-end",
    "rows",
    "first_success_step",
    first_success_step=10_000,
    success_ever=True,
)
of_rows("more-violations-than-steps", "rows", "violations", violations=1000)
of_rows("negative-violations", "rows", "violations", violations=-1)
of_rows("negative-distance", "rows", "distances must be at least 0", distance_min=-1.0)
of_rows("nearest-is-not-nearest", "rows", "smallest distance", distance_min=99.0)
of_rows("dense-return", "rows", "sparse rewards", return_=-3.25)
of_rows("negative-planning-time", "rows", "planning times", planning_seconds=-1.0)
of_rows(
    "quicker-at-its-slowest",
    "rows",
    "must not be below the median",
    planning_ms_median=5.0,
    planning_ms_p95=1.0,
)
of_rows("negative-model-steps", "rows", "model_steps", model_steps=-1)


@hostile("rows", "duplicated and as many are missing")
def best_episode_twice(folder):
    change_rows(
        folder, lambda rows: rows.iloc[[0, 0, 2, 3, 4, 5, 6, 7, 8, 9]].reset_index(drop=True)
    )


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
of_manifest(
    "aggregate-above-1",
    "success_held",
    lambda manifest: manifest["aggregates"][0].update(success_held=1.5),
)
of_manifest(
    "aggregate-left-out", "2 cells", lambda manifest: manifest["aggregates"].pop(), "aggregates"
)
of_manifest(
    "aggregate-of-more-seeds",
    "seeds is",
    lambda manifest: manifest["aggregates"][0].update(seeds=5),
    "aggregates",
)


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


KINDS["one-loss-made-a-success"] = Kind(
    lambda folder: change_rows(folder, flip_hidden), "replay", "1 of 10 episodes"
)


@hostile("replay", "the budget is")
def trace_that_stops_early(folder):
    def change(rows):
        rows.loc[0, "steps"] -= 1
        rows.loc[0, "return_"] = max(rows.loc[0, "return_"], -rows.loc[0, "steps"])
        rows.loc[0, "violations"] = min(rows.loc[0, "violations"], rows.loc[0, "steps"])

    change_rows(folder, change)
    arrays = read_arrays(folder)
    arrays[f"{ROOM}/0"] = arrays[f"{ROOM}/0"][1:]
    np.savez_compressed(folder / "actions.npz", **arrays)
    sign(folder, with_aggregates=True)


@hostile("replay", "differ from their row")
def traces_swapped(folder):
    arrays = read_arrays(folder)
    arrays[f"{ROOM}/0"], arrays[f"{ROOM}/1"] = -arrays[f"{ROOM}/0"], arrays[f"{ROOM}/1"]
    write_arrays(folder, arrays)


@hostile("replay", "differ from their row")
def hand_made_actions(folder):
    arrays = read_arrays(folder)
    arrays[f"{MAZE}/1"] = np.zeros_like(arrays[f"{MAZE}/1"])
    write_arrays(folder, arrays)

"""Hostile checkpoints, costs of rows, and training seeds."""

import json
import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
from hostile_kinds import KINDS, Kind, hostile, of_rows
from tiny_submission import MAZE, ROOM, change_manifest, read_arrays, read_table, sign, write_table
from tiny_submission import write_arrays as write_actions

HOME = "checkpoints/TwoRoom-v1/seed0/world_model"


def of_checkpoint(name: str, reason: str, path: str, content: bytes) -> None:
    def make(folder):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        sign(folder)

    KINDS[name] = Kind(make, "checkpoints", reason)


def of_description(name: str, reason: str, content: str) -> None:
    of_checkpoint(name, reason, f"{HOME}/model.json", content.encode())


of_description("empty-description", "is empty", "{}")
of_description("description-without-a-task", "does not name its task", '{"kind": "jepa"}')
of_description("description-of-a-module", "task_id is 'evil:X-v1'", '{"task_id": "evil:X-v1"}')
of_description("description-of-another-task", "task_id is", json.dumps({"task_id": MAZE}))
of_description("description-as-a-list", "not a JSON object", "[1]")
of_description("description-key-twice", "is duplicated", f'{{"task_id": "{ROOM}", "task_id": "x"}}')
of_description("description-of-50000-levels", "nested deeper", "[" * 50_000 + "]" * 50_000)


def tensors(header: str, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + data


def of_tensors(name: str, reason: str, content: bytes) -> None:
    of_checkpoint(name, reason, f"{HOME}/weights.safetensors", content)


def entry(begin: int = 0, end: int = 4, shape: str = "[1]", dtype: str = "F32") -> str:
    return f'{{"dtype": "{dtype}", "shape": {shape}, "data_offsets": [{begin}, {end}]}}'


ZERO, NAN = bytes(4), struct.pack("<f", np.nan)
of_tensors("weights-without-a-header", "no safetensors header", b"")
of_tensors("weights-of-noise", "no safetensors header", bytes(range(256)))
of_tensors("weights-pickled", "no safetensors header", b"\x80\x04cos\nsystem\n(S'true'\ntR.")
of_tensors("weights-with-an-endless-header", "no safetensors header", struct.pack("<Q", 2**60))
of_tensors("weights-twice", "is duplicated", tensors(f'{{"a": {entry()}, "a": {entry()}}}', ZERO))
of_tensors("weights-that-are-nan", "NaN or infinity", tensors(f'{{"a": {entry()}}}', NAN))
of_tensors(
    "weights-that-are-infinite",
    "NaN or infinity",
    tensors(f'{{"a": {entry(0, 2, dtype="BF16")}}}', b"\x80\x7f"),
)
of_tensors(
    "weights-of-half-nan",
    "NaN or infinity",
    tensors(f'{{"a": {entry(0, 2, dtype="F16")}}}', b"\x00\x7e"),
)
of_tensors(
    "weights-that-overlap",
    "overlap",
    tensors(f'{{"a": {entry()}, "b": {entry()}}}', ZERO),
)
of_tensors("weights-with-a-gap", "overlap", tensors(f'{{"a": {entry()}}}', ZERO + b"hidden"))
of_tensors("weights-beyond-the-end", "no valid", tensors(f'{{"a": {entry(0, 99)}}}', ZERO))
of_tensors(
    "weights-of-another-size", "has 4 bytes", tensors(f'{{"a": {entry(shape="[7]")}}}', ZERO)
)
of_tensors(
    "weights-of-negative-shape", "no valid", tensors(f'{{"a": {entry(shape="[-1]")}}}', ZERO)
)
of_tensors("weights-of-objects", "no valid", tensors(f'{{"a": {entry(dtype="O")}}}', ZERO))
of_tensors("weights-of-nothing", "no tensor", tensors("{}"))


def arrays_of(value: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, value=value)
    return buffer.getvalue()


class Danger:
    """An object that must never be unpickled."""

    def __reduce__(self):
        raise AssertionError


of_checkpoint(
    "pickled-array-of-a-checkpoint",
    "not a plain array",
    f"{HOME}/curve.npz",
    arrays_of(np.array([{"a": 1}], dtype=object)),
)
of_checkpoint("archive-of-noise", "cannot be read", f"{HOME}/curve.npz", bytes(range(256)))

of_rows("model-steps-of-2-to-62", "rows", "model_steps must be at most", model_steps=2**62)
of_rows("denormal-planning-time", "rows", "nanosecond", planning_seconds=5e-324)
of_rows("endless-planning-time", "rows", "planning_seconds must be at most", planning_seconds=1e308)
of_rows(
    "milliseconds-without-seconds",
    "rows",
    "must cover planning_ms_median|must be above 0 if",
    planning_seconds=0.0,
    planning_ms_median=50.0,
    planning_ms_p95=60.0,
)
of_rows(
    "milliseconds-beyond-the-seconds",
    "rows",
    "must cover planning_ms_median",
    planning_seconds=0.01,
    planning_ms_median=50.0,
    planning_ms_p95=60.0,
)
of_rows(
    "slowest-steps-beyond-the-seconds",
    "rows",
    "must cover planning_ms_p95",
    planning_seconds=0.1,
    planning_ms_median=0.01,
    planning_ms_p95=5000.0,
)
of_rows("model-steps-in-no-time", "rows", "must take time", model_steps=10**11)


def of_seeds(name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """The first training seed again, as the second."""

    def make(folder):
        arrays = read_arrays(folder)
        rows = read_table(folder).to_pylist()
        for task in (ROOM, MAZE):
            arrays[f"{task}/1"] = change(arrays[f"{task}/0"])
            first = [row for row in rows if row["task_id"] == task and row["training_seed"] == 0]
            second = [row for row in rows if row["task_id"] == task and row["training_seed"] == 1]
            for one, two in zip(first, second, strict=True):
                two.update({**one, "training_seed": 1})
        table = read_table(folder)
        write_table(folder, type(table).from_pylist(rows, schema=table.schema))
        write_actions(folder, arrays)
        sign(folder, with_aggregates=True)

    KINDS[name] = Kind(make, "seeds", "they are one seed")


of_seeds("one-seed-handed-in-twice", lambda array: array)
of_seeds("one-seed-with-a-little-noise", lambda array: np.clip(array * 0.9999, -1, 1))


@hostile("seeds", "have the same weights")
def weights_of_one_seed_twice(folder):
    content = tensors(f'{{"a": {entry()}}}', ZERO)
    for seed in (0, 1):
        home = folder / f"checkpoints/TwoRoom-v1/seed{seed}/policy"
        home.mkdir(parents=True)
        (home / "policy.safetensors").write_bytes(content)
    sign(folder)


def of_no_training(name: str, **changes) -> None:
    """An agent that is trained, and says that it is not, to hand in one seed."""

    def change(manifest):
        nothing = {"transitions": 0, "train_seconds": 0.0, "parameters": 0}
        manifest["costs"] = [cost | nothing for cost in manifest["costs"]]
        manifest["agent"]["learns"] = False
        manifest["agent"]["config"].update(changes)

    KINDS[name] = Kind(
        lambda folder: change_manifest(folder, change), "manifest", "name a training"
    )


of_no_training("untrained-with-a-train-section", train={"_target_": "x.train"})
of_no_training("untrained-with-a-world-model", world_model="jepa")
of_no_training("untrained-that-learns", learns=True)


@hostile("rows", "column 'Agent'|column 'agent'")
def name_column_renamed(folder):
    table = read_table(folder)
    names = ["Agent" if name == "agent" else name for name in table.column_names]
    write_table(folder, table.rename_columns(names))


@hostile("rows", "nested|columns")
def name_column_as_a_struct(folder):
    import pyarrow as pa

    table = read_table(folder)
    struct_column = pa.array([{"x": "seeker"}] * len(table))
    write_table(folder, table.set_column(0, "agent", struct_column))


@hostile("rows", "too many for 10 rows")
def rows_with_megabytes_behind(folder):
    path = folder / "episodes.parquet"
    path.write_bytes(b"PAR1" + bytes(4 << 20) + path.read_bytes()[4:])
    sign(folder)


@hostile("actions", "far more than its arrays need|cannot be read")
def actions_with_megabytes_between(folder):
    path = folder / "actions.npz"
    path.write_bytes(np.random.default_rng(0).bytes(4 << 20) + path.read_bytes())
    sign(folder)

"""What is said of world models that are not there, in numbers that are none, and in pictures that
unfold without end.
"""

import json
import shutil
from collections.abc import Callable

import numpy as np
from hostile_kinds import KINDS, Kind, hostile
from tiny_submission import ROOM, add_diagnostics, sign

FRAMES = f"{ROOM}/near/0"


def of_diagnostics(name: str, reason: str, change: Callable[[dict], object]) -> None:
    def make(folder):
        add_diagnostics(folder)
        path = folder / "diagnostics.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
        sign(folder)

    KINDS[name] = Kind(make, "diagnostics", reason)


def of_report(name: str, reason: str, change: Callable[[dict], object]) -> None:
    of_diagnostics(name, reason, lambda content: change(content["worlds"][0]))


of_diagnostics(
    "diagnostics-of-the-future", "schema_version", lambda content: content.update(schema_version=2)
)
of_diagnostics(
    "diagnostics-with-a-script", "html: Extra", lambda content: content.update(html="<script>")
)
of_diagnostics(
    "world-twice", "is duplicated", lambda content: content["worlds"].append(content["worlds"][0])
)
of_diagnostics(
    "a-hundred-worlds-and-one",
    "at most 100",
    lambda content: content.update(worlds=content["worlds"] * 101),
)
of_report(
    "world-of-its-own",
    "has no episodes of it",
    lambda report: report.update(task_id="jepabench/PushT-v1"),
)
of_report(
    "world-that-is-a-module",
    "has no episodes of it",
    lambda report: report.update(task_id="antigravity:X-v1"),
)
of_report(
    "diagnosed-seed-of-its-own", "training seed 7", lambda report: report.update(training_seed=7)
)
of_report(
    "better-than-perfect",
    "r2: Input should be less",
    lambda report: report["probe"][0].update(r2=1.5),
)
of_report(
    "worse-than-anything",
    "r2: Input should be greater",
    lambda report: report["probe"][0].update(r2=-1e300),
)
of_report("correlation-of-2", "probe.0.r: Input", lambda report: report["probe"][0].update(r=2.0))
of_report(
    "text-for-r2",
    "r2: Input should be a valid number",
    lambda report: report["probe"][0].update(r2="0.99"),
)
of_report(
    "quantity-of-its-own",
    "its quantities are",
    lambda report: report["probe"][0].update(quantity="<b>"),
)
of_report("quantity-left-out", "its quantities are", lambda report: report["probe"].pop())
of_report(
    "event-of-its-own",
    "no impossible event",
    lambda report: report["surprise"][0].update(event="<img>"),
)
of_report(
    "harmless-teleport",
    "no harmless event",
    lambda report: report["surprise"][0].update(kind="harmless"),
)
of_report(
    "event-twice", "is duplicated", lambda report: report["surprise"].append(report["surprise"][0])
)
of_report("auroc-above-1", "auroc: Input", lambda report: report["surprise"][0].update(auroc=1.01))
of_report(
    "auroc-outside-its-interval",
    "outside its own interval",
    lambda report: report["surprise"][0].update(auroc=0.95, low=0.2, high=0.3),
)
of_report(
    "auroc-without-an-interval",
    "needs auroc, low, high and pairs",
    lambda report: report["surprise"][0].update(low=None, high=None),
)
of_report(
    "auroc-of-no-pairs",
    "needs auroc, low, high and pairs",
    lambda report: report["surprise"][0].update(pairs=0),
)
of_report(
    "r2-beyond-the-correlation",
    "larger than the square",
    lambda report: report["probe"][0].update(r2=0.99, r=0.5),
)
of_report(
    "correlation-without-r2",
    "needs both",
    lambda report: report["probe"][0].update(r2=None),
)
of_report(
    "interval-turned",
    "outside its own interval",
    lambda report: report["surprise"][0].update(low=0.9, high=0.8),
)
of_report(
    "imagined-episode-twice",
    "is duplicated",
    lambda report: report["imagined"].append(report["imagined"][0]),
)
of_report(
    "imagined-episode-of-its-own",
    "is not there",
    lambda report: report["imagined"][0].update(index=77),
)
of_report(
    "imagined-beyond-the-end",
    "as long as imagined",
    lambda report: report["imagined"][0].update(known=32),
)
of_report(
    "endless-imagination", "steps: Input", lambda report: report["imagined"][0].update(steps=10**9)
)
of_report("pictures-that-nobody-lists", "if and only if", lambda report: report.update(imagined=[]))


def raw_diagnostics(name: str, reason: str, change: Callable[[str], str]) -> None:
    def make(folder):
        add_diagnostics(folder)
        path = folder / "diagnostics.json"
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
        sign(folder)

    KINDS[name] = Kind(make, "diagnostics", reason)


raw_diagnostics(
    "diagnostics-with-nan", "NaN is not a number", lambda text: text.replace("0.75", "NaN")
)
raw_diagnostics(
    "diagnostics-with-infinity", "too large", lambda text: text.replace("0.75", "1e999")
)
raw_diagnostics(
    "diagnostics-key-twice", "duplicated", lambda text: text.replace("{", '{"worlds": [],', 1)
)
raw_diagnostics(
    "diagnostics-of-50000-levels", "nested deeper", lambda text: "[" * 50_000 + "]" * 50_000
)
raw_diagnostics("diagnostics-of-another-kind", "top level", lambda text: '"all is well"')


def of_frames(name: str, reason: str, change: Callable[[dict], object]) -> None:
    def make(folder):
        add_diagnostics(folder)
        with np.load(folder / "imagined.npz") as file:
            arrays = dict(file)
        change(arrays)
        np.savez_compressed(folder / "imagined.npz", **arrays)
        sign(folder)

    KINDS[name] = Kind(make, "diagnostics", reason)


of_frames(
    "frames-of-another-size",
    "unpacks to",
    lambda arrays: arrays.update({FRAMES: arrays[FRAMES][:, :32]}),
)
of_frames(
    "frames-in-float32",
    "unpacks to",
    lambda arrays: arrays.update({FRAMES: arrays[FRAMES] * np.float32(1)}),
)
of_frames(
    "frames-in-int8",
    "not an array of uint8",
    lambda arrays: arrays.update({FRAMES: arrays[FRAMES].astype("int8")}),
)
of_frames(
    "frames-of-zeros-without-end",
    "unpacks to",
    lambda arrays: arrays.update({FRAMES: np.zeros(10**8, "u1")}),
)
of_frames(
    "frames-that-nobody-lists",
    "exactly the required arrays",
    lambda arrays: arrays.update(more=arrays[FRAMES]),
)
of_frames(
    "frames-that-climb-out",
    "exactly the required arrays",
    lambda arrays: arrays.update({"../x": arrays.pop(FRAMES)}),
)


@hostile("diagnostics", "is not in checkpoints/TwoRoom-v1/seed0/world_model/")
def model_that_nobody_can_ask(folder):
    add_diagnostics(folder)
    shutil.rmtree(folder / "checkpoints")
    sign(folder)


@hostile("diagnostics", "belongs to diagnostics.json")
def pictures_without_a_word(folder):
    add_diagnostics(folder)
    (folder / "diagnostics.json").unlink()
    sign(folder)


@hostile("diagnostics", "if and only if")
def words_without_a_picture(folder):
    add_diagnostics(folder)
    (folder / "imagined.npz").unlink()
    sign(folder)


@hostile("diagnostics", "would unpack to more than")
def pictures_as_large_as_a_wall(folder):
    add_diagnostics(folder)
    path = folder / "submission.json"
    path.write_text(
        path.read_text(encoding="utf-8")
        .replace('"pixels": 64', '"pixels": 1024')
        .replace('"pixels":64', '"pixels":1024'),
        encoding="utf-8",
    )
    content = json.loads((folder / "diagnostics.json").read_text(encoding="utf-8"))
    content["worlds"][0]["imagined"] = [
        {"stratum": "near", "index": index, "known": 2, "steps": 9} for index in range(3)
    ]
    (folder / "diagnostics.json").write_text(json.dumps(content), encoding="utf-8")
    sign(folder)


@hostile("files", "larger than")
def diagnostics_of_a_megabyte(folder):
    add_diagnostics(folder)
    (folder / "diagnostics.json").write_text(" " * (1 << 20), encoding="utf-8")
    sign(folder)


@hostile("files", "is not allowed")
def picture_of_its_own(folder):
    add_diagnostics(folder)
    (folder / "imagined.svg").write_text("<svg onload='alert(1)'/>", encoding="utf-8")
    sign(folder)

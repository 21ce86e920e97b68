"""A plan of cheap stages, for tests of what runs plans; can be made in any process."""

import hashlib
import os
import sys
import time
from functools import partial
from pathlib import Path

from tqdm import tqdm

from jepabench.pipeline.stages import Stage


class ToyPlan:
    """Two data stages, models that need one of them, and for each model evaluations.

    Args:
        folder: of the stages and of ``journal.txt``, which records each start and end of work.
        num_models: models.
        num_evaluations: of each.
        seconds: that a stage takes.
        failing: keys of stages that fail while there is a file ``broken``.
        lethal: keys of stages that kill their process the first time.
    """

    def __init__(self, folder, num_models=2, num_evaluations=2, seconds=0.0, failing=(), lethal=()):
        self.folder, self.stages = Path(folder), {}
        self.seconds, self.failing, self.lethal = seconds, failing, lethal
        for split in ("train", "validation"):
            self._add(f"data/toy/{split}", ())
        for model in range(num_models):
            self._add(f"model/toy/m/{model}", ("data/toy/train", "data/toy/validation"))
            for number in range(num_evaluations):
                self._add(f"evaluation/toy/a{number}/{model}", (f"model/toy/m/{model}",))

    def _add(self, key, needs):
        config = {"key": key, "needs": [self.stages[need].config for need in needs]}
        directory = self.folder / key
        paths = [self.stages[need].directory for need in needs]
        self.stages[key] = Stage(
            key, f"do {key}", directory, config, needs, partial(self._work, key, paths)
        )

    def _work(self, key, paths, directory):
        self._journal(f"begin {key}")
        sys.stderr.write(f"working on {key}\n")
        end = time.monotonic() + self.seconds
        with tqdm(desc=key) as bar:
            while time.monotonic() < end:
                bar.update()
                time.sleep(0.01)
        if key in self.failing and (self.folder / "broken").exists():
            raise ValueError(f"{key} is broken")
        if key in self.lethal and not (self.folder / f"died-{key.replace('/', '-')}").exists():
            (self.folder / f"died-{key.replace('/', '-')}").touch()
            os.kill(os.getpid(), 9)
        inputs = [(path / "result.txt").read_text(encoding="utf-8") for path in paths]
        (directory / "result.txt").write_text(
            hashlib.sha256("".join([key, *inputs]).encode()).hexdigest(), encoding="utf-8"
        )
        self._journal(f"end {key}")

    def _journal(self, line):
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "journal.txt").open("a", encoding="utf-8") as file:
            file.write(f"{line} {os.getpid()}\n")

    def results(self):
        return {
            key: (stage.directory / "result.txt").read_text(encoding="utf-8")
            for key, stage in self.stages.items()
        }

    def begun(self):
        """How often work began, by key."""
        lines = (self.folder / "journal.txt").read_text(encoding="utf-8").splitlines()
        keys = [line.split()[1] for line in lines if line.startswith("begin")]
        return {key: keys.count(key) for key in keys}

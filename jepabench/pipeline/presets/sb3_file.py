"""Presets of policies that Stable-Baselines3 saved, named ``sb3:model.zip``.

Only the plain text inside the zip is read here. The agent loads its pickles, which requires
``--trust``.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from jepabench.pipeline.presets.search_path import ConfigError
from jepabench.pipeline.presets.sources import digest_files

PREFIX = "sb3:"
_MOMENTS = ("vecnormalize.pkl", "vec_normalize.pkl")  # in RL Baselines3 Zoo and in SB3's examples
_SEED = "{seed}"
_MAX_TEXT = 64 * 2**20  # bytes of the description inside a zip


def preset_of_sb3(name: str) -> dict[str, Any]:
    """Return the preset of ``sb3:PATH``.

    ``{seed}`` in the path stands for the training seed, so that several trainings of an algorithm
    are evaluated as one agent. ``vecnormalize.pkl`` in the same folder is used if it exists, unless
    ``vec_normalize=FILE`` or ``vec_normalize=null`` is given.

    Raises:
        ConfigError: There is no such file, or it was not saved by Stable-Baselines3.
    """
    pattern = name.removeprefix(PREFIX)
    files = _find_files(pattern)
    text = _read_description(files[0])
    settings: dict[str, Any] = {
        "_target_": "jepabench.agents.model_free.external.sb3.SB3Agent",
        "model": pattern,
    }
    beside = [(Path(pattern).parent / moments).as_posix() for moments in _MOMENTS]
    if found := next((path for path in beside if _match(path)), None):
        settings["vec_normalize"] = found
    digest = digest_files(Path(), [str(file) for file in files])
    stem = re.sub(r"[^A-Za-z0-9-]+", "-", Path(pattern).stem.replace(_SEED, "")).strip("-")
    return {
        "name": f"sb3-{stem or 'model'}-{digest[:8]}"[:64],
        "track": {
            "observation": "pixels" if "pixels" in text else "state",
            "data": "online",
            "privilege": "none",
        },
        "learns": True,
        "per_seed": _SEED in pattern,
        "agent": settings,
        "weights": digest,
    }


def _find_files(pattern: str) -> list[Path]:
    if not pattern:
        raise ConfigError("agent=sb3: needs the file of a model, as in agent=sb3:model.zip.")
    files = _match(pattern)
    if not files:
        raise ConfigError(f"agent=sb3:{pattern}: there is no such file in {Path.cwd()}.")
    return files


def _match(pattern: str) -> list[Path]:
    """Return the files that a path with ``{seed}`` stands for, sorted."""
    if _SEED not in pattern:
        return [Path(pattern)] if Path(pattern).is_file() else []
    head = pattern.partition(_SEED)[0]
    anchor = Path(head if head.endswith("/") else Path(head).parent)
    expression = re.compile(re.escape(Path(pattern).as_posix()).replace(r"\{seed\}", r"\d+"))
    found = (path for path in sorted(anchor.rglob("*")) if path.is_file())
    return [path for path in found if expression.fullmatch(path.as_posix())]


def _read_description(path: Path) -> str:
    """Return the text of a policy's observation space, without its pickle."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if not {"data", "policy.pth"} <= names:
                raise ConfigError(
                    f"{path} was not saved by Stable-Baselines3: it lacks "
                    f"{' and '.join(sorted({'data', 'policy.pth'} - names))}."
                )
            if archive.getinfo("data").file_size > _MAX_TEXT:
                raise ConfigError(f"{path}: its description is larger than {_MAX_TEXT} bytes.")
            space = json.loads(archive.read("data")).get("observation_space", {})
    except (OSError, zipfile.BadZipFile, ValueError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is not a zip file of Stable-Baselines3: {error}") from error
    return json.dumps({key: value for key, value in space.items() if key != ":serialized:"})

"""Artifacts: what was trained for an agent beside its world model, named by its role.

A preset trains one folder. Its key ``artifact`` says what the folder is to the agent: a role, or a
mapping from roles to folders inside it. Without the key, the folder is a ``policy``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def artifact_folders(preset: Mapping[str, Any], directory: Path) -> dict[str, Path]:
    """Return the folders that an agent is built from, by role.

    Args:
        preset: of an agent, with the key ``train``.
        directory: what ``train`` filled.

    Raises:
        ValueError: a folder is not inside ``directory``.
    """
    artifact = preset.get("artifact", "policy")
    if isinstance(artifact, str):
        return {artifact: directory}
    for role, folder in artifact.items():
        if Path(folder).is_absolute() or ".." in Path(folder).parts:
            raise ValueError(
                f"The artifact {role!r} is a folder inside what `train` fills, got {folder!r}."
            )
    return {role: directory / folder for role, folder in artifact.items()}

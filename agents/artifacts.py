"""Artifacts: trained parts of an agent besides its world model, named by their roles.

A preset trains one folder. Its key ``artifact`` gives the role of the folder, or a mapping from
roles to folders inside it. Without the key, the folder is a ``policy``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def artifact_folders(preset: Mapping[str, Any], directory: Path) -> dict[str, Path]:
    """Return the folders from which an agent is built, by role.

    Args:
        preset: Preset of an agent, with the key ``train``.
        directory: Folder in which ``train`` saved its results.

    Raises:
        ValueError: A folder is not inside ``directory``.
    """
    artifact = preset.get("artifact", "policy")
    if isinstance(artifact, str):
        return {artifact: directory}
    for role, folder in artifact.items():
        if Path(folder).is_absolute() or ".." in Path(folder).parts:
            raise ValueError(
                f"The artifact {role!r} must be a folder inside the one that `train` writes, "
                f"got {folder!r}."
            )
    return {role: directory / folder for role, folder in artifact.items()}

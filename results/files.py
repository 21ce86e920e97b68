"""Files that are either whole or not there."""

from __future__ import annotations

from pathlib import Path

from jepabench.evaluation.stages.stage import written_whole


def write_whole(path: Path, content: bytes) -> Path:
    """Writes a file so that a crash leaves the old one or the new one, never a part. Makes the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        partial.write_bytes(content)
    return path

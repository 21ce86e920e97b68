"""Description of the machine that a result was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, system and the versions of Python and the main packages."""
    from importlib.metadata import version

    packages = ("jepabench", "torch", "mujoco", "gymnasium", "stable-baselines3", "numpy")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        **_describe_gpu(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{name: version(name) for name in packages},
    }


def _describe_gpu() -> dict[str, str]:
    """Return the name of the GPU that PyTorch uses, if there is one."""
    import torch

    return {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

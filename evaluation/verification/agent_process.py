"""The process of an untrusted agent, run as ``python -m``; ``remote_agent`` is the other side."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jepabench import envs  # noqa: F401  (registers the tasks)
from jepabench.envs.splits import EpisodeSpec
from jepabench.evaluation.verification.limits import Limits
from jepabench.evaluation.verification.remote_agent import write_frame


def main() -> None:
    """Make the agent that the first frame describes, then serve requests until stdin ends."""
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the agent prints is not an answer
    try:
        agent = _make(_header(asked))
        write_frame(answers, {"observation_keys": list(agent.observation_keys)})
        while True:
            _serve(agent, _header(asked), asked, answers)
    except EOFError:
        return
    except BaseException as error:
        write_frame(answers, {"error": f"{type(error).__name__}: {error}"[:2000]})
        raise


def _make(order: Mapping[str, Any]) -> Any:
    from hydra.utils import instantiate

    # The CUDA build of torch maps more address space than an agent may use. It is trusted, and the
    # limit counts from what is mapped when it is applied.
    if importlib.util.find_spec("torch"):
        importlib.import_module("torch")
    Limits(**order["limits"]).apply(sandboxed=order["sandboxed"])
    paths = {key: Path(path) for key, path in order["paths"].items()}
    return instantiate(order["config"], task_id=order["task_id"], **paths, _convert_="all")


def _serve(agent: Any, header: Mapping[str, Any], asked: BinaryIO, answers: BinaryIO) -> None:
    if "reset" in header:
        salt = bytes.fromhex(header["salt"])
        agent.reset(
            [
                EpisodeSpec(
                    task, split, stratum, index, salt if split == "private" else b"", noise_stream
                )
                for task, split, stratum, index, noise_stream in header["reset"]
            ]
        )
        write_frame(answers, {})
        return
    arrays = {key: _array(asked, *described) for key, described in header["act"].items()}
    actions = np.ascontiguousarray(agent.act(arrays, arrays.pop("active")), dtype="<f4")
    counts = [int(count) for count in agent.model_steps]
    write_frame(answers, {"size": actions.shape[-1], "model_steps": counts}, actions)


def _header(asked: BinaryIO) -> dict[str, Any]:
    length = struct.unpack("<I", _read(asked, 4))[0]
    return json.loads(_read(asked, length))


def _array(asked: BinaryIO, kind: str, shape: list[int]) -> Any:
    size = math.prod(shape) * np.dtype(kind).itemsize
    return np.frombuffer(bytearray(_read(asked, size)), dtype=kind).reshape(shape)


def _read(asked: BinaryIO, size: int) -> bytes:
    content = asked.read(size)
    if len(content) < size:
        raise EOFError
    return content


if __name__ == "__main__":
    sys.exit(main())

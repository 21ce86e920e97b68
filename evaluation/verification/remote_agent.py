"""An agent in another process, of which nothing is trusted: it is shown observations, and gives numbers back.

Both sides speak in frames: the length of a header as 4 bytes, the header in JSON, and then the arrays that it announces, as they
lie in memory. Nothing is pickled. The world stays on this side, and so does what it could be foreseen from.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.splits import EpisodeSpec
from jepabench.evaluation.rollout import AgentError
from jepabench.evaluation.verification.confinement import Limits, start

_LONGEST_HEADER = 1 << 16
_MOST_KEYS = 20
_LONGEST_START = 300.0  # seconds until its packages are imported


class RemoteAgent:
    """An agent of an untrusted configuration, in a process with limits. Use it as a context manager.

    Args:
        config: with ``_target_``; built there.
        task_id: given to the agent.
        paths: given to the agent: folders of its checkpoints.
        salt: secret of the episode names that the agent is told. Never that of the world, which it could then make for itself.
        limits: of the process.
        isolated: without network or sight of other processes (``confinement.can_isolate``).
        python_path: folders with the agent's code, if it is not installed.
        patience: seconds to wait for an answer, once it is made.

    Raises:
        AgentError: it can not be made; it dies, is silent, or says what is no answer, now or later.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        task_id: str,
        *,
        paths: Mapping[str, Path],
        salt: bytes,
        limits: Limits,
        isolated: bool,
        python_path: tuple[Path, ...] = (),
        patience: float = 600.0,
    ) -> None:
        self._salt, self._counts = salt, np.zeros(0, dtype=np.int64)
        self._patience = max(patience, _LONGEST_START)
        self._scratch = TemporaryDirectory()
        self._process = start(
            "jepabench.evaluation.verification.agent_process",
            isolated=isolated,
            python_path=python_path,
            cwd=Path(self._scratch.name),
        )
        try:
            order = {
                "config": config,
                "task_id": task_id,
                "paths": {key: str(path) for key, path in paths.items()},
                "memory": limits.memory,
                "seconds": limits.seconds,
                "file_bytes": limits.file_bytes,
            }
            keys = self._ask(order).get("observation_keys")
            if (
                not isinstance(keys, list)
                or len(keys) > _MOST_KEYS
                or not all(isinstance(key, str) for key in keys)
            ):
                raise AgentError("The agent's observation_keys are no list of names.")
        except BaseException:
            self.close()
            raise
        self.observation_keys: tuple[str, ...] = tuple(keys)
        self._patience = patience

    def __enter__(self) -> RemoteAgent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process, and whatever it has started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        self._scratch.cleanup()

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Starts B new episodes; the agent is told their names, and another secret than that of the world."""
        self._counts = np.zeros(len(specs), dtype=np.int64)
        names = [[spec.task_id, spec.split, spec.stratum, spec.index] for spec in specs]
        self._ask({"reset": names, "salt": self._salt.hex()})

    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Returns what the agent answers, float32 [B, A]; whether it is in range is for the caller to say."""
        arrays = {**observations, "active": active}
        shapes = {key: [array.dtype.str, array.shape] for key, array in arrays.items()}
        answer = self._ask(
            {"act": shapes}, *[np.ascontiguousarray(array) for array in arrays.values()]
        )
        size, counts = answer.get("size"), answer.get("model_steps")
        if not isinstance(size, int) or not 1 <= size <= 1000:
            raise AgentError(f"The agent's actions have {str(size)[:50]} entries.")
        fits = isinstance(counts, list) and len(counts) == len(active)
        if not fits or not all(type(count) is int and 0 <= count < 2**62 for count in counts or ()):
            raise AgentError("The agent's model_steps are no counts, one an episode.")
        self._counts = np.array(counts, dtype=np.int64)
        actions = np.frombuffer(self._read(len(active) * size * 4), dtype="<f4")
        return actions.reshape(len(active), size)

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """What the agent said it has spent [B]."""
        return self._counts

    def _ask(self, header: Mapping[str, Any], *arrays: NDArray[Any]) -> dict[str, Any]:
        if self._process.stdin is None:
            raise AgentError("The agent's process has no pipe.")
        try:
            write_frame(self._process.stdin, header, *arrays)
        except BrokenPipeError as error:
            raise self._died() from error
        length = struct.unpack("<I", self._read(4))[0]
        if length > _LONGEST_HEADER:
            raise AgentError(f"The agent answers with a header of {length} bytes.")
        try:
            answer = json.loads(self._read(length))
        except (ValueError, RecursionError) as error:
            raise AgentError("The agent's answer is no JSON.") from error
        if not isinstance(answer, dict):
            raise AgentError("The agent's answer is no JSON object.")
        if "error" in answer:
            raise AgentError(f"The agent failed: {str(answer['error'])[:2000]}")
        return answer

    def _read(self, size: int) -> bytes:
        if self._process.stdout is None:
            raise AgentError("The agent's process has no pipe.")
        descriptor, deadline, parts, left = (
            self._process.stdout.fileno(),
            time.monotonic() + self._patience,
            [],
            size,
        )
        while left:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AgentError(f"The agent gave no answer within {self._patience:g} s.")
            part = os.read(descriptor, min(left, 1 << 20))
            if not part:
                raise self._died()
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _died(self) -> AgentError:
        return AgentError(
            "The agent's process ended: it crashed, or went beyond its memory or processor time."
        )


def write_frame(stream: BinaryIO | Any, header: Mapping[str, Any], *arrays: NDArray[Any]) -> None:
    """Writes a header, and arrays as they lie in memory."""
    text = json.dumps(header).encode()
    stream.write(struct.pack("<I", len(text)) + text)
    for array in arrays:
        stream.write(array.tobytes())
    stream.flush()

"""An untrusted agent in another process: it receives observations and returns numbers.

Both sides exchange frames: the length of a header as 4 bytes, the header in JSON, then the arrays
that it announces, as they lie in memory. Nothing is pickled. The world stays on this side, together
with everything from which an episode could be predicted.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.splits import EpisodeSpec
from jepabench.evaluation.rollout import AgentError
from jepabench.evaluation.verification.limits import Limits
from jepabench.evaluation.verification.sandbox import start_process

_LONGEST_HEADER = 1 << 16
_MAX_KEYS = 20
_MAX_COUNT = 10**12  # model steps of an episode
_LONGEST_START = 300.0  # seconds until its packages are imported


class RemoteAgent:
    """An agent of an untrusted configuration, in a process of its own. Use it as a context manager.

    Args:
        config: With ``_target_``; instantiated in the process.
        task_id: Passed to the agent.
        paths: Passed to the agent: folders of its checkpoints.
        salt: Secret of the episode names that the agent receives; never that of the world.
        limits: Limits of the process.
        sandboxed: Confine the process (``sandbox.can_sandbox``).
        allowed_keys: Observation keys that the agent may ask for; None for any.
        python_path: Folders with the agent's code, if it is not installed.
        patience: Seconds to wait for an answer, once the agent exists.

    Raises:
        AgentError: The agent cannot be made, dies, stays silent, breaks the protocol, exceeds a
            limit or asks for other observations, now or later.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        task_id: str,
        *,
        paths: Mapping[str, Path],
        salt: bytes,
        limits: Limits,
        sandboxed: bool,
        allowed_keys: Collection[str] | None = None,
        python_path: tuple[Path, ...] = (),
        patience: float = 600.0,
    ) -> None:
        self._salt, self._counts = salt, np.zeros(0, dtype=np.int64)
        self._used: float | None = None  # processor time when the last request was answered
        self._planning: list[tuple[str, float, int]] = []  # stratum, seconds, control steps
        self._patience = max(patience, _LONGEST_START)
        self._process = start_process(
            "jepabench.evaluation.verification.agent_process",
            sandboxed=sandboxed,
            limits=limits,
            visible=tuple(paths.values()),
            python_path=python_path,
        )
        try:
            order = {
                "config": config,
                "task_id": task_id,
                "paths": {key: str(path) for key, path in paths.items()},
                "limits": asdict(limits),
                "sandboxed": sandboxed,
            }
            self.observation_keys = _checked_keys(
                self._ask(order).get("observation_keys"), allowed_keys
            )
        except BaseException:
            self.close()
            raise
        self._patience = patience

    def __enter__(self) -> RemoteAgent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and everything that it has started."""
        self._process.close()

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes. The agent receives their names and another salt than the world."""
        self._counts = np.zeros(len(specs), dtype=np.int64)
        names = [
            [spec.task_id, spec.split, spec.stratum, spec.index, spec.noise_stream]
            for spec in specs
        ]
        self._ask({"reset": names, "salt": self._salt.hex()})
        self._used = self._process.processor_seconds()
        self._planning.append((specs[0].stratum, 0.0, 0))

    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return the agent's actions, float32 [B, A]; the caller checks their range."""
        arrays = {**observations, "active": active}
        shapes = {key: [array.dtype.str, array.shape] for key, array in arrays.items()}
        answer = self._ask(
            {"act": shapes}, *[np.ascontiguousarray(array) for array in arrays.values()]
        )
        size, counts = answer.get("size"), answer.get("model_steps")
        if not isinstance(size, int) or not 1 <= size <= 1000:
            raise AgentError(f"The agent's actions have {str(size)[:50]} entries.")
        fits = isinstance(counts, list) and len(counts) == len(active)
        if not fits or not all(
            type(count) is int and 0 <= count <= _MAX_COUNT for count in counts or ()
        ):
            raise AgentError("The agent's model_steps are not one count per episode.")
        self._counts = np.array(counts, dtype=np.int64)
        actions = np.frombuffer(self._read(len(active) * size * 4), dtype="<f4")
        self._count_processor_time(int(active.sum()))
        return actions.reshape(len(active), size)

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Return the model steps that the agent reported [B]."""
        return self._counts

    @property
    def processor_ms(self) -> dict[str, list[float]] | None:
        """Return the processor time per control step of each batch of episodes [ms], by stratum.

        A batch belongs to the stratum of its first episode. The time counts everything that the
        agent's processes did from ``reset`` on, also between two requests. None where no control
        group counts processor time.
        """
        if self._used is None:
            return None
        found: dict[str, list[float]] = {}
        for stratum, seconds, steps in self._planning:
            if steps:
                found.setdefault(stratum, []).append(1000 * seconds / steps)
        return found

    def _count_processor_time(self, steps: int) -> None:
        """Add what the processes have used since the last request to the current batch."""
        used = self._process.processor_seconds()
        if used is not None and self._used is not None:
            stratum, seconds, before = self._planning[-1]
            self._planning[-1] = (stratum, seconds + used - self._used, before + steps)
        self._used = used

    def _ask(self, header: Mapping[str, Any], *arrays: NDArray[Any]) -> dict[str, Any]:
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
            raise AgentError("The agent's answer is not JSON.") from error
        if not isinstance(answer, dict):
            raise AgentError("The agent's answer is not a JSON object.")
        if exceeded := self._process.exceeded_limit():
            raise AgentError(f"The agent went beyond its limits: {exceeded}.")
        if "error" in answer:
            raise AgentError(f"The agent failed: {str(answer['error'])[:2000]}")
        return answer

    def _read(self, size: int) -> bytes:
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
        why = self._process.exceeded_limit() or "it crashed, or exceeded its memory or time"
        return AgentError(f"The agent's process ended: {why}.")


def _checked_keys(keys: Any, allowed: Collection[str] | None) -> tuple[str, ...]:
    is_names = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not is_names or len(keys) > _MAX_KEYS:
        raise AgentError("The agent's observation_keys are not a list of names.")
    for key in keys:
        if allowed is not None and key not in allowed:
            raise AgentError(
                f"The agent asks for the observation {key[:60]!r}, which its declared track does "
                f"not include; allowed are {', '.join(sorted(allowed)) or 'none'}."
            )
    return tuple(keys)


def write_frame(stream: BinaryIO | Any, header: Mapping[str, Any], *arrays: NDArray[Any]) -> None:
    """Write a header, then arrays as they lie in memory."""
    text = json.dumps(header).encode()
    stream.write(struct.pack("<I", len(text)) + text)
    for array in arrays:
        stream.write(array.tobytes())
    stream.flush()

"""Devices for training: the CPU, a GPU, or several processes with Hugging Face Accelerate.

The training loop is the same on all of them. With several processes, each takes its share of every
batch. Batch statistics (variance, SIGReg, the negatives of InfoNCE) are computed over all shares,
so that the result does not depend on the number of processes.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from jepabench.envs.errors import unknown_name
from jepabench.world_models.base import TrajectoryBatch

DEVICES = ("cpu", "cuda", "mps")


class LocalDevice:
    """This process, on the CPU."""

    rank, count = 0, 1
    device = torch.device("cpu")

    def prepare(self, losses: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Return the module and the optimiser that the training loop uses."""
        return losses, optimizer

    def broadcast(self, value: Any) -> Any:
        """Return the first process's ``value`` in all processes."""
        return value

    def move(self, batch: TrajectoryBatch) -> TrajectoryBatch:
        """Return the batch on the device of the model."""
        return batch

    def backward(self, loss: Tensor) -> None:
        """Compute gradients."""
        loss.backward()

    @contextmanager
    def on_cpu(self, model: nn.Module) -> Iterator[None]:
        """Keep the model on the CPU within the context, to evaluate or save it."""
        del model
        yield


class AcceleratedDevice(LocalDevice):
    """A GPU, or several processes that ``accelerate launch`` or ``torchrun`` started.

    Raises:
        ModuleNotFoundError: The extra ``accelerate`` is not installed.
        ValueError: PyTorch has no GPU.
    """

    def __init__(self, device: str) -> None:
        try:
            from accelerate import Accelerator
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"device={device!r}, or several processes, needs Accelerate: "
                "`pip install 'jepabench[accelerate]'`."
            ) from error
        find_device(device)
        self._accelerator = Accelerator(cpu=device == "cpu")
        self.rank, self.count = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device

    def prepare(self, losses: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Return the module and the optimiser that the training loop uses."""
        return self._accelerator.prepare(losses, optimizer)

    def broadcast(self, value: Any) -> Any:
        """Return the first process's ``value`` in all processes."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def move(self, batch: TrajectoryBatch) -> TrajectoryBatch:
        """Return the batch on the device of the model."""
        observations = {
            name: value.to(self.device, non_blocking=True)
            for name, value in batch.observations.items()
        }
        return TrajectoryBatch(
            observations, batch.actions.to(self.device), batch.state.to(self.device)
        )

    def backward(self, loss: Tensor) -> None:
        """Compute gradients, averaged over the processes."""
        self._accelerator.backward(loss)

    @contextmanager
    def on_cpu(self, model: nn.Module) -> Iterator[None]:
        """Keep the model on the CPU within the context, to evaluate or save it."""
        model.to("cpu")
        yield
        model.to(self.device)


def find_device(name: str) -> torch.device:
    """Return the device called ``name``: "cpu", "cuda" (an NVIDIA or AMD GPU) or "mps" (Apple).

    Raises:
        UnknownNameError: There is no such device.
        ValueError: PyTorch sees no such GPU.
    """
    if name not in DEVICES:
        raise unknown_name("device", name, DEVICES)
    available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if name != "cpu" and not available[name]():
        raise ValueError(f"device={name!r}, but PyTorch sees no such GPU here. Use device=cpu.")
    return torch.device(name)


def check_training_device(name: str) -> None:
    """Check, before any work, that a world model can be trained on a device.

    Raises:
        UnknownNameError: There is no such device.
        ModuleNotFoundError: The extra ``accelerate`` is not installed.
        ValueError: PyTorch sees no such GPU.
    """
    if name not in DEVICES:
        raise unknown_name("device", name, DEVICES)
    if name != "cpu" and importlib.util.find_spec("accelerate") is None:
        raise ModuleNotFoundError(
            f"device={name!r} needs Accelerate: `pip install 'jepabench[accelerate]'`."
        )
    find_device(name)


def get_rank() -> int:
    """Return the rank of this process, 0 for the first or only one."""
    return int(os.environ.get("RANK", "0"))


def select_device(device: str) -> LocalDevice:
    """Return the device to train on.

    Args:
        device: One of ``DEVICES``. The launcher of several processes sets WORLD_SIZE, from which
            they are detected.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return AcceleratedDevice(device) if several or device != "cpu" else LocalDevice()


def gather_batch(share: Tensor) -> Tensor:
    """Return the shares [B, ...] of all processes as one batch; gradients flow back through it.

    A single process returns its share.
    """
    if (
        not (distributed.is_available() and distributed.is_initialized())
        or distributed.get_world_size() == 1
    ):
        return share
    from torch.distributed.nn.functional import all_gather

    return torch.cat(list(all_gather(share.contiguous())))

"""Where a model is trained: this process on the CPU, or a GPU, or several processes, by Hugging Face Accelerate.

The training loop is the same. Each of several processes takes its share of every batch; statistics that belong to a whole batch
(variance, SIGReg, the negatives of InfoNCE ...) are taken over all shares, so that more processes compute the same thing sooner.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from jepabench.world_models.base import TrajectoryBatch


class Here:
    """This process, on the CPU."""

    rank, count = 0, 1
    device = torch.device("cpu")

    def prepare(self, losses: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Returns what the loop calls, and the optimiser that it steps."""
        return losses, optimizer

    def agreed(self, value: Any) -> Any:
        """Returns what the first process gave: where a training that goes on had come to, say."""
        return value

    def place(self, batch: TrajectoryBatch) -> TrajectoryBatch:
        """Returns the batch where the model is."""
        return batch

    def backward(self, loss: Tensor) -> None:
        """Computes gradients."""
        loss.backward()

    @contextmanager
    def on_cpu(self, model: nn.Module) -> Iterator[None]:
        """Has the model on the CPU meanwhile, for a look at it or to save it."""
        del model
        yield


class Elsewhere(Here):
    """A GPU or several processes; started by ``accelerate launch`` or ``torchrun`` where there are several.

    Raises:
        ModuleNotFoundError: the extra ``accelerate`` is not installed.
    """

    def __init__(self, device: str) -> None:
        try:
            from accelerate import Accelerator
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"device={device!r}, or several processes, needs Accelerate: `pip install 'jepabench[accelerate]'`."
            ) from error
        if device != "cpu" and not torch.cuda.is_available():
            raise ValueError(f"device={device!r}, but PyTorch sees no GPU here. Take device=cpu.")
        self._accelerator = Accelerator(cpu=device == "cpu")
        self.rank, self.count = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device

    def prepare(self, losses: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Returns what the loop calls, and the optimiser that it steps."""
        return self._accelerator.prepare(losses, optimizer)

    def agreed(self, value: Any) -> Any:
        """Returns what the first process gave: where a training that goes on had come to, say."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def place(self, batch: TrajectoryBatch) -> TrajectoryBatch:
        """Returns the batch where the model is."""
        observations = {
            name: value.to(self.device, non_blocking=True)
            for name, value in batch.observations.items()
        }
        return TrajectoryBatch(
            observations, batch.actions.to(self.device), batch.state.to(self.device)
        )

    def backward(self, loss: Tensor) -> None:
        """Computes gradients, averaged over the processes."""
        self._accelerator.backward(loss)

    @contextmanager
    def on_cpu(self, model: nn.Module) -> Iterator[None]:
        """Has the model on the CPU meanwhile, for a look at it or to save it."""
        model.to("cpu")
        yield
        model.to(self.device)


def rank() -> int:
    """Returns which of several processes this is, 0 for the first or only one."""
    return int(os.environ.get("RANK", "0"))


def where(device: str) -> Here:
    """Returns the place to train on.

    Args:
        device: "cpu" or "cuda". Several processes show themselves by WORLD_SIZE, which their launcher sets.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return Elsewhere(device) if several or device != "cpu" else Here()


def gathered(share: Tensor) -> Tensor:
    """Returns the shares [B, ...] of all processes as one batch, through which gradients flow back; alone, the share itself."""
    if (
        not (distributed.is_available() and distributed.is_initialized())
        or distributed.get_world_size() == 1
    ):
        return share
    from torch.distributed.nn.functional import all_gather

    return torch.cat(list(all_gather(share.contiguous())))

"""Exchange steps and gradients between the processes of one run.

The first process leads: it alone knows schedules, budgets, evaluations and whoever stops the run. Before each step it
says which batch comes with which learning rate; every process then takes its share of the batch, and one all-reduce
of a flat buffer makes the gradient of the whole batch out of the shares'. So all of them make the same steps, and
decide nothing on their own.
"""

import json
from dataclasses import replace
from enum import IntEnum
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from batchlab.data.stream import BatchStream
from batchlab.distributed.launch import group_of
from batchlab.distributed.rank_state import broadcast_bytes, broadcast_state, gather_states
from batchlab.models.sync_batch_norm import SyncBatchNorm, shared_norms, synchronise
from batchlab.system.device_memory import is_out_of_memory
from batchlab.training.build import Built
from batchlab.training.gradient import Source, TrainStep, accumulate
from batchlab.training.plan import part_sizes, share_of


class LeaderCommand(IntEnum):
    """What the leader announces."""

    STEP = 1
    WARM_UP = 2
    END = 3
    SEND_STATE = 4
    LOAD_STATE = 5


class Ranks:
    """One process's side of a run that several processes make together; its model is the same in all of them.

    Attributes:
        has_failed: the memory of a process did not do; all of them know, and wait for the end of the run.
    """

    def __init__(self, built: Built) -> None:
        self.rank, self.num_processes = dist.get_rank(), dist.get_world_size()
        model, self._built = built.train_step.model, built
        self._sum, self._wants_norms = GradientSum(model), built.train_step.grad_norms is not None
        self._own, self.has_failed = list[dict[str, Any]](), False
        self._norms = [module for module in model.modules() if isinstance(module, SyncBatchNorm)]

    def announce(self, start: int, batch_size: int, lr_factor: float) -> None:
        """Have the other processes make the step of this batch; their `hear` returns.

        Args:
            start: position of the batch's first example.
            batch_size: its examples, over all processes.
            lr_factor: on every parameter group's own learning rate.
        """
        self._say(LeaderCommand.STEP, start, batch_size, lr_factor)

    def announce_warm_up(self) -> None:
        """Have the other processes make the passes that come before the first step."""
        self._say(LeaderCommand.WARM_UP)

    def seed(self, seed: int) -> int:
        """Return this process's seed of what is drawn in a forward pass: the leader's is the run's."""
        return int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0]) if self.rank else seed

    def end(self) -> None:
        """End the run; the other processes wait for the next one."""
        self._say(LeaderCommand.END)

    def state_dict(self) -> dict[str, Any]:
        """Return what the other processes have for themselves; see `rank_state`."""
        self._say(LeaderCommand.SEND_STATE)
        return {"own": gather_states(self._built)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep it until `broadcast_state`, when this process has loaded the checkpoint."""
        self._own = state["own"]

    def broadcast_state(self) -> None:
        """Send this process's state, loaded from a checkpoint, to the other processes."""
        self._say(LeaderCommand.LOAD_STATE)
        broadcast_state(self._built, self._own)
        self._own = []

    def _say(self, what: LeaderCommand, start: int = 0, batch_size: int = 0, lr_factor: float = 0.0) -> None:
        _broadcast(torch.tensor([what, start, batch_size, lr_factor], dtype=torch.float64))

    def hear(self) -> tuple[LeaderCommand, int, int, float]:
        """Return what the leader announced: command, start, batch size, lr factor."""
        kind, start, batch_size, factor = _broadcast(torch.zeros(4, dtype=torch.float64)).tolist()
        return LeaderCommand(int(kind)), int(start), int(batch_size), factor

    def gradient(
        self, train_step: TrainStep, stream: Source, start: int, batch_size: int, micro_batch_size: int | None
    ) -> Tensor:
        """Set the parameters' gradients to those of the whole batch; see `gradient.whole_gradient`.

        Raises:
            torch.OutOfMemoryError: in every process, where the memory of one did not do.
        """
        offset, size = share_of(batch_size, self.rank, self.num_processes)
        if isinstance(stream, BatchStream):
            stream.expect(start + offset, size, batch_size)
        mine, loss, failed = replace(train_step, grad_norms=None), None, ""
        try:
            with shared_norms(self._norms):
                loss = accumulate(mine, stream, start + offset, part_sizes(size, micro_batch_size), batch_size)
        except (MemoryError, RuntimeError) as error:
            if self._norms or not is_out_of_memory(error):  # in the middle of a norm the others wait for this process
                raise
            failed = str(error).splitlines()[0]
        square_weight = (batch_size / size) ** 2 / self.num_processes if self._wants_norms else 0.0
        mean_loss, mean_square, num_failed = self._sum(loss, square_weight)
        if num_failed:
            self.has_failed = True
            where = f"process {self.rank}" if failed else f"{num_failed} of {self.num_processes} processes"
            raise torch.OutOfMemoryError(f"out of memory in {where}{': ' if failed else ''}{failed}")
        if train_step.grad_norms is not None:
            sizes = (share_of(batch_size, rank, self.num_processes)[1] for rank in range(self.num_processes))
            train_step.grad_norms.add_shares(mean_square, self.num_processes / sum(1 / n for n in sizes), batch_size)
        return mean_loss


class GradientSum:
    """Sums gradients over processes through one flat buffer, and what else has to be known of all of them.

    Behind the gradients stand: the loss, how many processes ran out of memory, the squared norms, and for each
    parameter how many processes have a gradient of it; one that has none anywhere keeps None, as in one process.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        sizes = [parameter.numel() for parameter in self._parameters]
        first = self._parameters[0]
        self._buffer = torch.zeros(sum(sizes) + 3 + len(sizes), device=first.device, dtype=first.dtype)
        *gradients, self._facts, self._used = self._buffer.split([*sizes, 3, len(sizes)])
        shaped = zip(gradients, self._parameters, strict=True)
        self._gradients = [gradient.view_as(parameter) for gradient, parameter in shaped]

    def __call__(self, loss: Tensor | None, square_weight: float) -> tuple[Tensor, Tensor, int]:
        """Sum over all processes; every process calls it once per gradient.

        Args:
            loss: this process's share of the mean loss; None where it ran out of memory, and has nothing to add.
            square_weight: factor on the squared norm of its gradient; 0 = the norm is not wanted.

        Returns:
            Mean loss of the whole batch and `mean_square` of `GradNormAccumulator.add_shares` (0 where not wanted), on
            the device; how many processes ran out of memory.
        """
        self._buffer.zero_()
        if loss is None:
            self._facts[1] = 1.0
        else:
            self._write(loss, square_weight)
        is_on_host = not self._buffer.is_cuda  # reading a GPU's buffer would wait for it: the hosts are asked first
        num_failed = 0 if is_on_host else count_of(loss is None)
        if not num_failed:
            dist.all_reduce(self._buffer, group=group_of(self._buffer.device))
            num_failed = int(self._facts[1].item()) if is_on_host else 0
        if not num_failed:
            self._read()
        return self._facts[0].clone(), self._facts[2].clone(), num_failed

    def _write(self, loss: Tensor, square_weight: float) -> None:
        has_gradient = [parameter.grad is not None for parameter in self._parameters]
        own = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        views = [view for view, has in zip(self._gradients, has_gradient, strict=True) if has]
        torch._foreach_copy_(views, own)  # pyright: ignore[reportPrivateImportUsage]
        if all(has_gradient):
            self._used.fill_(1.0)  # nothing is copied to a GPU, which would wait
        else:
            self._used.copy_(torch.tensor(has_gradient))
        self._facts[0] = loss
        if square_weight:
            norms = torch.stack(torch._foreach_norm(own))  # pyright: ignore[reportPrivateImportUsage]
            self._facts[2] = norms.square().sum() * square_weight

    def _read(self) -> None:
        is_used = [True] * len(self._parameters)
        if any(parameter.grad is None for parameter in self._parameters):
            is_used = (self._used > 0).tolist()  # those that have all gradients themselves know it without waiting
        for parameter, view, used in zip(self._parameters, self._gradients, is_used, strict=True):
            parameter.grad = view if used else None


def joined(built: Built) -> Built:
    """Return the run with its batches shared by the group, whose processes call it at the same time.

    Each has built it from the same configuration and seed; the weights become the leader's.
    """
    model = built.train_step.model
    if built.config.sync_batch_norm:
        synchronise(model, group_of(built.device))
    for tensor in [*model.parameters(), *model.buffers()]:
        dist.broadcast(tensor.detach(), src=0, group=group_of(built.device))
    return replace(built, train_step=replace(built.train_step, ranks=Ranks(built)))


def send(message: Any) -> None:
    """Tell the other processes something that JSON can hold; their `receive` returns it."""
    broadcast_bytes(json.dumps(message).encode())


def receive() -> Any:
    """Return what the leader sent."""
    return json.loads(broadcast_bytes())


def count_of(is_so: bool) -> int:
    """Count the processes of which something is true; each of them calls it at the same time."""
    count = torch.tensor([int(is_so)])
    dist.all_reduce(count)
    return int(count.item())


def _broadcast(tensor: Tensor) -> Tensor:
    dist.broadcast(tensor, src=0)
    return tensor

"""Compute the gradient of one batch: over its parts in this process, or over its shares in several processes.

A part of n_i examples weighs n_i/B, whether it is computed here or in another process, so that the sum is the
gradient of the whole batch's mean loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from batchlab.training.grad_norm_accumulator import GradNormAccumulator
from batchlab.training.plan import part_sizes


class Source(Protocol):
    """What gives examples by position: the run's stream, or a batch that stays."""

    def take(self, start: int, count: int, /) -> tuple[Tensor, Tensor]:
        """Return inputs and targets at positions start to start + count."""
        ...


@dataclass(frozen=True)
class TrainStep:
    """Model, loss and optimizer as one step; made by `make_train_step`, driven by `fit`."""

    model: nn.Module  # the module whose parameters are trained
    compute_loss: Callable[[Tensor, Tensor], Tensor]  # (inputs, targets) -> scalar mean loss of the examples
    backward: Callable[[Tensor], None]  # adds the gradient of a loss to the parameters'
    # (closure) -> loss; one optimizer step, the closure computing the gradient
    step: Callable[[Callable[[], Tensor]], Tensor]
    optimizer: torch.optim.Optimizer  # holds the learning rates
    # notes the norms of gradients that are added up from parts or shares; None = nobody asks
    grad_norms: GradNormAccumulator | None = None
    scaler: GradScaler | None = None  # of float16's loss; None in other precisions
    ranks: "Ranks | None" = None  # the processes that share every batch; None = this one has it all


class Ranks(Protocol):
    """The processes of one run, as `fit` sees them from the first of them; see ranks.py."""

    def announce(self, start: int, batch_size: int, lr_factor: float) -> None:
        """Have every other process make the step of this batch."""
        ...

    def announce_warm_up(self) -> None:
        """Have every other process make the passes before the first step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what the other processes have for themselves, for a checkpoint."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Keep that until `broadcast_state`."""
        ...

    def broadcast_state(self) -> None:
        """Load this process's state in every other process."""
        ...

    def seed(self, seed: int) -> int:
        """Return this process's seed of what is drawn in a forward pass, e.g. dropout, in a run of this seed."""
        ...

    def gradient(
        self, train_step: TrainStep, stream: Source, start: int, batch_size: int, micro_batch_size: int | None
    ) -> Tensor:
        """Return the mean loss of the whole batch, and set its gradient, from every process's share."""
        ...


def whole_gradient(
    train_step: TrainStep, stream: Source, start: int, batch_size: int, micro_batch_size: int | None
) -> Tensor:
    """Set the parameters' gradients to that of the mean loss of a batch; return that loss, detached, on the device.

    Args:
        train_step: model and loss.
        stream: training examples.
        start: position of the batch's first example.
        batch_size: its examples over all parts and processes.
        micro_batch_size: most examples in one forward and backward pass, or None.
    """
    train_step.optimizer.zero_grad()
    if train_step.ranks is not None:
        return train_step.ranks.gradient(train_step, stream, start, batch_size, micro_batch_size)
    return accumulate(train_step, stream, start, part_sizes(batch_size, micro_batch_size))


def accumulate(
    train_step: TrainStep, stream: Source, start: int, sizes: list[int], batch_size: int | None = None
) -> Tensor:
    """Add the gradient of a loss over consecutive examples of the stream, part by part, each weighted by n_i/B.

    Args:
        train_step: model and loss.
        stream: training examples.
        start: position of the first example.
        sizes: examples in each part, n_i.
        batch_size: B, of which these parts may be a share; None = their sum.

    Returns:
        The parts' share of the mean loss over B examples, detached, on the device: all of it where B is their sum.
    """
    whole, first, end = batch_size or sum(sizes), start + sizes[0], start + sum(sizes)
    if sizes == [whole]:
        loss = train_step.compute_loss(*stream.take(start, whole))
        train_step.backward(loss)
        return loss.detach()
    total = torch.zeros((), device=next(train_step.model.parameters()).device)
    for size in sizes:
        part = train_step.compute_loss(*stream.take(start, size)) * (size / whole)
        train_step.backward(part)
        total, start = total + part.detach(), start + size
        if train_step.grad_norms is not None and start in (first, end):
            train_step.grad_norms.add(whole - (end - start), whole)
    return total

"""Train steps, and the gradient of one batch: over its parts in this process, or over its shares in several processes.

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

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Source(Protocol):
    """What gives examples by position: the run's stream, or a batch that stays."""

    def take(self, start: int, count: int, /) -> tuple[Tensor, Tensor]:
        """Return inputs and targets at positions start to start + count."""
        ...


@dataclass(frozen=True)
class TrainStep:
    """Model, loss and optimizer as one step; made by `make_train_step`, driven by `fit`."""

    model: nn.Module  # the module whose parameters are trained
    # inputs -> logits as a step computes them, compiled where asked for; `loss.Views` where the model makes them
    forward: Callable[[Tensor], Tensor]
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
    """Set the parameters' gradients to that of the mean loss of a batch; return that loss, detached, on the device."""
    train_step.optimizer.zero_grad()
    if train_step.ranks is not None:
        return train_step.ranks.gradient(train_step, stream, start, batch_size, micro_batch_size)
    return accumulate(train_step, stream, start, part_sizes(batch_size, micro_batch_size))


def accumulate(
    train_step: TrainStep, stream: Source, start: int, sizes: list[int], batch_size: int | None = None
) -> Tensor:
    """Add the gradient of a loss over consecutive examples of the stream, part by part, each weighted by n_i/B.

    The parts, of n_i = `sizes` examples, may be a share of the batch B = `batch_size`; None = their sum.

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


def precise(model: Callable[[Tensor], Tensor], precision: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the model under autocast; as it is where numbers are float32, whose products may be TF32's."""
    if precision not in DTYPES:
        return model

    def forward(inputs: Tensor) -> Tensor:
        with torch.autocast(device.type, DTYPES[precision]):
            return model(inputs)

    return forward


def make_train_step(
    model: nn.Module,
    forward: Callable[[Tensor], Tensor],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    precision: str,
) -> TrainStep:
    """Join model, forward pass under `precision`, loss of float32 logits, and optimizer; scale float16's gradients."""

    def compute_loss(inputs: Tensor, targets: Tensor) -> Tensor:
        return loss_function(forward(inputs).float(), targets)

    if precision != "float16":
        # torch's own stub says float; every optimizer hands on what the closure returned
        return TrainStep(model, forward, compute_loss, Tensor.backward, optimizer.step, optimizer)  # pyright: ignore
    scaler = torch.amp.GradScaler()  # pyright: ignore[reportPrivateImportUsage]

    def step(gradient: Callable[[], Tensor]) -> Tensor:
        loss = gradient()
        scaler.step(optimizer)
        scaler.update()
        return loss

    def backward(loss: Tensor) -> None:
        scaler.scale(loss).backward()  # pyright: ignore[reportUnknownMemberType], torch leaves its arguments untyped

    return TrainStep(model, forward, compute_loss, backward, step, optimizer, scaler=scaler)

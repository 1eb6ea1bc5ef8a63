"""The training loop.

Every step sees exactly the scheduled number of examples, across passes, in parts of at most
`plan.micro_batch_size`; a part's gradient is weighted by its share n_i/B, so that the sum is the gradient of
the whole batch's mean loss.
"""

import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from batchlab.batches import BatchStream
from batchlab.clock import Clock
from batchlab.plan import Counts, Plan, part_sizes
from batchlab.tally import Tally

TICK_SECONDS = 0.25
"""At least so much training lies between two points that are not evaluations."""
CHECK_STEPS = 64
"""Looking at the loss waits for the device; this often it costs nothing that can be measured."""


@dataclass(frozen=True)
class Learner:
    """What learns: made by learner.py, driven by `fit`.

    Attributes:
        model: the module whose parameters are trained.
        compute_loss: (inputs, targets) -> scalar mean loss of the examples.
        backward: adds the gradient of a loss to the parameters'.
        step: (closure) -> loss; one optimizer step, the closure computing the gradient.
        optimizer: holds the learning rates.
        tally: notes the norms of gradients that are added up from parts; None = nobody asks.
    """

    model: nn.Module
    compute_loss: Callable[[Tensor, Tensor], Tensor]
    backward: Callable[[Tensor], None]
    step: Callable[[Callable[[], Tensor]], Tensor]
    optimizer: torch.optim.Optimizer
    tally: Tally | None = None


@dataclass(frozen=True)
class EvalPoint:
    """Where a run stands while its clock is stopped.

    Attributes:
        counts: steps, examples and seconds so far.
        epochs: passes over the training split so far.
        progress: share of the budget used, at most 1.
        batch_size: of the last step.
        lr: of the last step, of the first parameter group.
        train_loss: mean over the steps since the last evaluation; not finite = the run has diverged.
        is_due: an evaluation is due; otherwise the point is a sign of life.
        is_last: the budget is used up, or the run has diverged.
        train_accuracy: on a part of the training split; None until run.py evaluated.
        val_loss: on the validation split; None until run.py evaluated.
        val_accuracy: the same; None for regression.
        gradient_noise_scale: B_simple in examples, NaN where it cannot be told; None where it was not measured.
        sharpness: ``sharpness/...`` by metric name; empty where it was not measured.
    """

    counts: Counts
    epochs: float
    progress: float
    batch_size: int
    lr: float
    train_loss: float
    is_due: bool
    is_last: bool
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    gradient_noise_scale: float | None = None
    sharpness: Mapping[str, float] = field(default_factory=dict)


Schedule = Callable[[float], tuple[int, float]]
"""Progress in [0, 1] -> batch size, and the factor on every group's learning rate."""


def fit(
    learner: Learner, stream: BatchStream, plan: Plan, schedule: Schedule, clock: Clock
) -> Generator[EvalPoint, None, None]:
    """Train until the budget is used up; closing the generator ends the run earlier.

    Args:
        learner: model, loss and optimizer.
        stream: training examples by position.
        plan: budget, parts and evaluations.
        schedule: batch size and lr factor at a progress.
        clock: counts seconds of training; told of every step, stopped at every yield.

    Yields:
        A point at every evaluation, at signs of life between them, and at the end.
    """
    base_lrs = [group["lr"] for group in learner.optimizer.param_groups]
    loss_sum = torch.zeros((), device=next(learner.model.parameters()).device)
    counts, steps, drawn, processed, evaluated, factor = Counts(), 0, 0, 0, 0, 1.0
    next_tick, next_eval = time.perf_counter() + TICK_SECONDS, plan.eval_every

    def gradient() -> Tensor:
        nonlocal processed
        processed += batch_size
        learner.optimizer.zero_grad()
        return accumulate(learner, stream, drawn, part_sizes(batch_size, plan.micro_batch_size))

    learner.model.train()
    clock.start()
    while (progress := plan.progress(counts)) < 1:
        batch_size, new_factor = schedule(progress)
        if new_factor != factor:
            factor = set_lr(learner.optimizer, base_lrs, new_factor)
        loss_sum += learner.step(gradient)
        steps, drawn = steps + 1, drawn + batch_size
        clock.step(batch_size)
        counts = Counts(steps, drawn, processed, clock.seconds if plan.counted == "seconds" else 0.0)
        is_over = plan.progress(counts) >= 1 or (steps % CHECK_STEPS == 0 and not math.isfinite(loss_sum.item()))
        if is_over or drawn >= next_eval or time.perf_counter() >= next_tick:
            clock.stop()
            train_loss = loss_sum.item() / (steps - evaluated)
            is_last, counts = is_over or not math.isfinite(train_loss), replace(counts, seconds=clock.seconds)
            is_due = is_last or drawn >= next_eval
            share, epochs, lr = min(1.0, plan.progress(counts)), drawn / plan.num_train, base_lrs[0] * factor
            yield EvalPoint(counts, epochs, share, batch_size, lr, train_loss, is_due, is_last)
            if is_last:
                return
            if is_due:
                loss_sum, evaluated = torch.zeros_like(loss_sum), steps
                next_eval = (drawn // plan.eval_every + 1) * plan.eval_every
            next_tick = time.perf_counter() + TICK_SECONDS
            clock.start()


class Source(Protocol):
    """What gives examples by position: the run's stream, or a batch that stays."""

    def take(self, start: int, count: int, /) -> tuple[Tensor, Tensor]:
        """Inputs and targets at positions start to start + count."""
        ...


def accumulate(learner: Learner, stream: Source, start: int, sizes: list[int]) -> Tensor:
    """Add the gradient of the mean loss over consecutive examples of the stream, part by part.

    Args:
        learner: model and loss.
        stream: training examples.
        start: position of the first example.
        sizes: examples in each part, n_i; B is their sum.

    Returns:
        The mean loss over the B examples, detached, on the device.
    """
    if len(sizes) == 1:
        loss = learner.compute_loss(*stream.take(start, sizes[0]))
        learner.backward(loss)
        return loss.detach()
    total, batch_size = torch.zeros((), device=next(learner.model.parameters()).device), sum(sizes)
    first, end = start + sizes[0], start + batch_size
    for size in sizes:
        part = learner.compute_loss(*stream.take(start, size)) * (size / batch_size)
        learner.backward(part)
        total, start = total + part.detach(), start + size
        if learner.tally is not None and start in (first, end):
            learner.tally.add(batch_size - (end - start), batch_size)
    return total


def set_lr(optimizer: torch.optim.Optimizer, base_lrs: list[float], factor: float) -> float:
    """Set each parameter group's lr to `factor` times its own; returns the factor."""
    for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
        group["lr"] = lr * factor
    return factor

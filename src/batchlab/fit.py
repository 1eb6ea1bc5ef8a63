"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from batchlab.batches import BatchStream
from batchlab.clock import Clock
from batchlab.plan import Counts, Plan, part_sizes

TICK_SECONDS = 0.25
"""At least so much training lies between two points that are not evaluations."""
STEPS_BETWEEN_FINITE_CHECKS = 64
"""Looking at the loss waits for the device; this often it costs nothing that can be measured."""


@dataclass(frozen=True)
class Learner:
    """What learns: built by build.py, driven by `fit`.

    Attributes:
        model: the module whose parameters are trained.
        compute_loss: (inputs, targets) -> scalar mean loss of the examples.
        backward: adds the gradient of a loss to the parameters'.
        step: (closure) -> loss; one optimizer step, the closure computing the gradient.
        optimizer: holds the learning rates.
    """

    model: nn.Module
    compute_loss: Callable[[Tensor, Tensor], Tensor]
    backward: Callable[[Tensor], None]
    step: Callable[[Callable[[], Tensor]], Tensor]
    optimizer: torch.optim.Optimizer


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


Schedule = Callable[[float], tuple[int, float]]
"""Progress in [0, 1] -> batch size, and the factor on every group's learning rate."""


def fit(
    learner: Learner, stream: BatchStream, plan: Plan, schedule: Schedule, clock: Clock
) -> Iterator[EvalPoint]:
    """Train until the budget is used up; yields with the clock stopped, closing the generator ends the run.

    Every step sees exactly the scheduled number of examples, across passes, in parts of at most
    ``plan.micro_batch_size``; a part's gradient is weighted by its share n_i/B, so that the sum is the
    gradient of the whole batch's mean loss.

    Args:
        learner: model, loss and optimizer.
        stream: training examples by position.
        plan: budget, parts and evaluations.
        schedule: batch size and lr factor at a progress.
        clock: counts the seconds of training; stopped at every yield.

    Yields:
        A point at every evaluation, at signs of life between them, and at the end.
    """
    groups = [(group, group["lr"]) for group in learner.optimizer.param_groups]
    counts, next_eval, next_tick, factor = Counts(), plan.eval_every, time.perf_counter(), 1.0
    steps = drawn = processed = steps_since = 0
    loss_sum = torch.zeros((), device=next(learner.model.parameters()).device)

    def gradient() -> Tensor:
        nonlocal processed
        learner.optimizer.zero_grad()
        processed += batch_size
        return accumulate(learner, stream, drawn, part_sizes(batch_size, plan.micro_batch_size))

    learner.model.train()
    clock.start()
    while True:
        batch_size, new_factor = schedule(min(1.0, plan.progress(counts)))
        if new_factor != factor:
            factor = set_lr(groups, new_factor)
        loss_sum += learner.step(gradient)
        steps, drawn, steps_since = steps + 1, drawn + batch_size, steps_since + 1
        counts = Counts(steps, drawn, processed, clock.seconds if plan.counted == "seconds" else 0.0)

        progress, now = plan.progress(counts), time.perf_counter()
        is_finite = steps % STEPS_BETWEEN_FINITE_CHECKS != 0 or math.isfinite(loss_sum.item())
        is_last = progress >= 1 or not is_finite
        is_due = drawn >= next_eval or is_last
        if is_due or now >= next_tick:
            clock.stop()
            counts = Counts(steps, drawn, processed, clock.seconds)
            train_loss = loss_sum.item() / steps_since
            is_last = is_last or not math.isfinite(train_loss)
            lr = learner.optimizer.param_groups[0]["lr"]
            epochs = drawn / plan.num_train
            yield EvalPoint(counts, epochs, min(1.0, progress), batch_size, lr, train_loss, is_due or is_last, is_last)
            if is_last:
                return
            if is_due:
                loss_sum, steps_since = torch.zeros_like(loss_sum), 0
                next_eval = (drawn // plan.eval_every + 1) * plan.eval_every
            next_tick = time.perf_counter() + TICK_SECONDS
            learner.model.train()
            clock.start()


def accumulate(learner: Learner, stream: BatchStream, start: int, sizes: list[int]) -> Tensor:
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
    for size in sizes:
        part = learner.compute_loss(*stream.take(start, size)) * (size / batch_size)
        learner.backward(part)
        total, start = total + part.detach(), start + size
    return total


def set_lr(groups: list[tuple[dict, float]], factor: float) -> float:
    """Set each parameter group's lr to `factor` times its own; returns the factor."""
    for group, lr in groups:
        group["lr"] = lr * factor
    return factor

"""Train to the end of a budget: the loop, a generator whose clock is stopped at every yield.

Every step sees exactly the scheduled number of examples, across passes; gradient.py computes its gradient.
"""

import math
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from batchlab.data.stream import BatchStream
from batchlab.training.clock import Clock
from batchlab.training.gradient import TrainStep, whole_gradient
from batchlab.training.plan import Counts, Plan, Schedule

TICK_SECONDS = 0.25
"""At least so much training lies between two points that are not evaluations."""
CHECK_STEPS = 64
"""Looking at the loss waits for the device; this often it costs nothing that can be measured."""


@dataclass(frozen=True)
class LoopPoint:
    """Where the loop stands while its clock is stopped."""

    counts: Counts  # steps, examples and seconds so far
    epochs: float  # passes over the training split so far
    progress: float  # share of the budget used, at most 1
    batch_size: int  # of the last step
    lr: float  # of the last step, of the first parameter group
    train_loss: float  # mean over the steps since the last evaluation; not finite = the run has diverged
    is_due: bool  # an evaluation is due; otherwise the point is a sign of life
    is_last: bool  # the budget is used up, or the run has diverged


@dataclass
class LoopState:
    """Where the loop stands: `fit` starts from it, and brings it up to date before each yield."""

    counts: Counts = field(default_factory=Counts)  # steps, examples and seconds so far
    evaluated: int = 0  # steps at the last evaluation
    loss_sum: float = 0.0  # sum of the losses of the steps since then

    def state_dict(self) -> dict[str, Any]:
        """Return the counters."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the counters of another loop."""
        self.counts = Counts(**state["counts"])
        self.evaluated, self.loss_sum = state["evaluated"], state["loss_sum"]


def fit(
    train_step: TrainStep,
    stream: BatchStream,
    plan: Plan,
    schedule: Schedule,
    clock: Clock,
    state: LoopState | None = None,
) -> Generator[LoopPoint, None, None]:
    """Train from `state`, or the first step, until the budget is used up; closing the generator ends the run earlier.

    Yields:
        A point at every evaluation, at signs of life between them, and at the end.
    """
    base_lrs = [group["lr"] for group in train_step.optimizer.param_groups]
    state = LoopState() if state is None else state
    counts, evaluated, factor = state.counts, state.evaluated, 1.0
    steps, drawn, processed = counts.steps, counts.drawn, counts.processed
    loss_sum = torch.full((), state.loss_sum, device=next(train_step.model.parameters()).device)
    next_tick, next_eval = time.perf_counter() + TICK_SECONDS, (drawn // plan.eval_every + 1) * plan.eval_every

    def gradient() -> Tensor:
        nonlocal processed
        processed += batch_size
        return whole_gradient(train_step, stream, drawn, batch_size, plan.micro_batch_size)

    train_step.model.train()
    clock.start()
    while (progress := plan.progress(counts)) < 1:
        batch_size, new_factor = schedule(progress)
        if new_factor != factor:
            factor = set_lr(train_step.optimizer, base_lrs, new_factor)
        if train_step.ranks is not None:
            train_step.ranks.announce(drawn, batch_size, factor)
        loss_sum += train_step.step(gradient)
        steps, drawn = steps + 1, drawn + batch_size
        clock.step(batch_size)
        counts = Counts(steps, drawn, processed, clock.running if plan.counted == "seconds" else 0.0)
        is_over = plan.progress(counts) >= 1 or (steps % CHECK_STEPS == 0 and not math.isfinite(loss_sum.item()))
        if is_over or drawn >= next_eval or time.perf_counter() >= next_tick:
            clock.stop()
            train_loss, counts = loss_sum.item() / (steps - evaluated), replace(counts, seconds=clock.seconds)
            is_last = plan.progress(counts) >= 1 or not math.isfinite(train_loss)
            is_due = is_last or drawn >= next_eval
            share, epochs, lr = min(1.0, plan.progress(counts)), drawn / plan.num_train, base_lrs[0] * factor
            if is_due:
                loss_sum, evaluated = torch.zeros_like(loss_sum), steps
                next_eval = (drawn // plan.eval_every + 1) * plan.eval_every
            state.counts, state.evaluated, state.loss_sum = counts, evaluated, loss_sum.item()
            yield LoopPoint(counts, epochs, share, batch_size, lr, train_loss, is_due, is_last)
            if is_last:
                return
            next_tick = time.perf_counter() + TICK_SECONDS
            clock.start()


def set_lr(optimizer: torch.optim.Optimizer, base_lrs: list[float], factor: float) -> float:
    """Set each parameter group's lr to `factor` times its own; returns the factor."""
    for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
        group["lr"] = lr * factor
    return factor

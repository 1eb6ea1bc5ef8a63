"""Run a training once: warm up, drive the loop, evaluate, resume, return how it ended."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from batchlab.config.objectives import CALIBRATED, MEASURED
from batchlab.config.traits import OptimizerTraits, declared
from batchlab.data.stream import BatchStream
from batchlab.run.evaluator import Evaluator
from batchlab.system.device_memory import is_out_of_memory, peak_bytes, reset_peak
from batchlab.system.signals import check_stop
from batchlab.tasks.evaluate import NOT_A_NUMBER
from batchlab.tasks.metric import LOSS
from batchlab.training.build import Built, has_programs, is_graphed
from batchlab.training.checkpoint import Checkpointer
from batchlab.training.clock import wait_for
from batchlab.training.evaluation import Evaluation, RunHistory
from batchlab.training.gradient import TrainStep, accumulate, whole_gradient
from batchlab.training.loop import LoopPoint, LoopState, fit
from batchlab.training.plan import part_sizes
from batchlab.training.state import Stateful


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    outcome: str  # ``done``, ``diverged`` or ``out_of_memory``; the last two are outcomes, not crashes
    cause: str  # a sentence, empty for done
    finals: dict[str, float]  # every final metric by name; NaN where there is none
    weights: dict[str, Tensor]  # the model's state_dict at the end, on the host
    missing: dict[str, str] = field(default_factory=dict)  # why a metric could not be measured, by its name


def run(
    built: Built, with_test: bool = True, checkpointer: Checkpointer | None = None
) -> Generator[LoopPoint | Evaluation, None, RunResult]:
    """Train once, yielding every evaluation and signs of life between them; closing the generator stops the run.

    Args:
        built: what to run.
        with_test: whether to measure the test split at the end; a search does not, until it has chosen.
        checkpointer: of its checkpoint, from which the run goes on where there is one; None = none is kept.

    Yields:
        An `Evaluation` where one was due, else the loop's point; a resumed run begins with the evaluations before its
        checkpoint.

    Returns:
        The `RunResult`.
    """
    history, evaluator = RunHistory(), Evaluator(built)
    reset_peak(built.device)
    outcome, cause, warmup_seconds = "done", "", 0.0
    try:
        warmup_seconds = warm_up(built)
        if not is_graphed(built.config, built.device):  # whose replays allocate nothing
            reset_peak(built.device)  # the warm-up holds the weights twice
        yield from _train(built, history, evaluator, checkpointer)
        last = history.evaluations[-1].point
        if not math.isfinite(last.train_loss):
            outcome, cause = "diverged", f"the training loss was {last.train_loss} at step {last.counts.steps}"
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        outcome, cause = "out_of_memory", str(error).splitlines()[0]
    built.clock.stop()
    peak, last = max(peak_bytes(built.device), evaluator.peak), history.evaluations[-1:]
    finals = evaluator.finals(history.evaluations, outcome == "done", with_test)
    finals |= cost_metrics(built, last[0].point if last else None)
    name = "compile" if has_programs(built.config, built.device) else "warmup"
    finals[f"cost/{name}_seconds"] = warmup_seconds
    finals["cost/peak_memory_bytes"], finals["cost/total_seconds"] = peak, history.seconds
    weights = {name: value.detach().cpu() for name, value in built.train_step.model.state_dict().items()}
    return RunResult(outcome, cause, finals, weights, evaluator.missing)


def _train(
    built: Built, history: RunHistory, evaluator: Evaluator, checkpointer: Checkpointer | None
) -> Iterator[LoopPoint | Evaluation]:
    """Drive the loop to the last evaluation, from the checkpoint where there is one."""
    loop, ranks = LoopState(), built.train_step.ranks
    parts: dict[str, Stateful] = {"loop": loop, "history": history, "evaluator": evaluator}
    parts |= {} if ranks is None else {"ranks": ranks}
    if checkpointer is not None and checkpointer.resume(parts):
        if ranks is not None:
            ranks.broadcast_state()
        yield from history.replay(built.clock)
    for point in fit(built.train_step, built.stream, built.plan, built.schedule, built.clock, loop):
        if point.is_due:
            evaluation = evaluator(point, history.evaluations)
            history.add(evaluation, built.clock)
            yield evaluation
            if evaluation.is_last:
                return
        else:
            yield point
        if checkpointer is not None:
            checkpointer.offer(parts)


def run_to_end(
    training: Generator[LoopPoint | Evaluation, None, RunResult],
    see: Callable[[LoopPoint | Evaluation], object] = lambda point: None,
) -> RunResult:
    """Drive what `run` returned to its end, `see` every point while the clock is stopped, and return the result."""
    while True:
        check_stop()
        try:
            point = next(training)
        except StopIteration as stop:
            return stop.value
        see(point)


def stopped_result(built: Built, at: LoopPoint | Evaluation, reason: str) -> RunResult:
    """Return the result of a run that its caller stopped: what it cost, and where it stood, which is no final value.

    The reason is ``pruned`` or ``stopped``.
    """
    metrics, point = (at.metrics, at.point) if isinstance(at, Evaluation) else ({}, at)
    finals = cost_metrics(built, point) | {"cost/peak_memory_bytes": peak_bytes(built.device)}
    for name in {LOSS.name, built.score.name}:
        finals[f"final/val_{name}"] = metrics.get(f"val/{name}", NOT_A_NUMBER)
    return RunResult(reason, f"at {point.progress:.0%} of its budget", finals, {})


def warm_up(built: Built) -> float:
    """Step once at each batch size that has a program of its own, so that the first timed step is like the others.

    Returns seconds; with torch.compile this is the compilation.
    """
    started = time.perf_counter()
    if built.train_step.ranks is not None:
        built.train_step.ranks.announce_warm_up()
    step_aside(built)
    wait_for(built.device)
    return time.perf_counter() - started


def step_aside(built: Built) -> None:
    """Make a step of the first and of the largest batch, of every one where programs are compiled for their size.

    Every process of the run does it at the same time. Nothing of it stays: weights, buffers, the optimizer's state,
    gradients and random numbers are put back, those of a process to its own. An optimizer whose steps take as many
    passes as they need makes no step, only the gradient.
    """
    train_step, plan = replace(built.train_step, grad_norms=None), built.plan
    tensors = [*train_step.model.parameters(), *train_step.model.buffers()]
    before = [each.detach().to("cpu", copy=True) for each in tensors]
    stateful = [each for each in (train_step.optimizer, train_step.scaler) if each is not None]
    states = [each.state_dict() for each in stateful]
    for each, state in zip(stateful, states, strict=True):
        each.load_state_dict(deepcopy(state))  # a checkpoint may hold the tensors that are there
    train_step.model.train()
    sizes = built.batch_sizes if has_programs(built.config, built.device) else {plan.batch_size, built.batch_sizes[-1]}
    for size in sorted(sizes, reverse=True):  # the largest first: the allocator serves the others from its blocks
        gradient = partial(_gradient_of_shapes, train_step, built.stream, size, plan.micro_batch_size)
        gradient() if declared(OptimizerTraits, built.config.optimizer).multi_pass else train_step.step(gradient)
    with torch.no_grad():
        for each, value in zip(tensors, before, strict=True):
            each.copy_(value)
    train_step.optimizer.zero_grad()
    for each, state in zip(stateful, states, strict=True):
        each.load_state_dict(state)
    torch.manual_seed(built.seed if train_step.ranks is None else train_step.ranks.seed(built.seed))


def _gradient_of_shapes(
    train_step: TrainStep, stream: BatchStream, batch_size: int, micro_batch_size: int | None
) -> Tensor:
    """Compute a gradient with one pass of each size that the parts of a batch have; of processes all parts."""
    if train_step.ranks is not None:
        return whole_gradient(train_step, stream, 0, batch_size, micro_batch_size)
    train_step.optimizer.zero_grad()
    return accumulate(train_step, stream, 0, sorted(set(part_sizes(batch_size, micro_batch_size))))


def cost_metrics(built: Built, last: LoopPoint | None) -> dict[str, float]:
    """Return what the training itself took: seconds measured and, where it counts them, as if alone; steps, examples.

    Without a last point of the loop steps and examples are NaN.
    """
    seconds = built.clock.measured
    calibrated = {CALIBRATED: built.clock.seconds} if built.clock.is_calibrated else {}
    num_examples = float(last.counts.processed) if last else NOT_A_NUMBER
    return calibrated | {
        MEASURED: seconds,
        "cost/num_steps": float(last.counts.steps) if last else NOT_A_NUMBER,
        "cost/num_examples": num_examples,
        "cost/examples_per_second": num_examples / seconds if seconds > 0 else NOT_A_NUMBER,
    }

"""One run: drives the loop, evaluates while the clock stands, and says how it ended."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from batchlab.config.objectives import CALIBRATED, MEASURED
from batchlab.data.dataset import Split
from batchlab.data.stream import in_order, sampled
from batchlab.data.transforms import Prepare
from batchlab.measures.measurer import Measurer
from batchlab.measures.noise_meter import NoiseMeter
from batchlab.run.target import reached, target_metrics
from batchlab.system.device_memory import is_out_of_memory, peak_bytes, reset_peak
from batchlab.system.signals import check_stop
from batchlab.tasks.predictions import NOT_A_NUMBER, Predictions, class_metrics, predict
from batchlab.training.build import Built
from batchlab.training.checkpoint import Checkpointer
from batchlab.training.gradient import accumulate, whole_gradient
from batchlab.training.loop import EvalPoint, LoopState, fit
from batchlab.training.plan import part_sizes
from batchlab.training.state import RunHistory

TRAIN_SAMPLE = 2000
"""Training examples, drawn once by the seed, on which the curve train/accuracy is measured."""
FINAL_TRAIN_SAMPLE = 10_000
"""Training examples, drawn the same way, on which final/train_loss is measured."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        outcome: ``done``, ``diverged`` or ``out_of_memory``; the last two are outcomes, not crashes.
        cause: a sentence, empty for done.
        finals: every final metric by name; NaN where there is none.
        weights: the model's state_dict at the end, on the host.
        missing: why a metric could not be measured, by its name.
    """

    outcome: str
    cause: str
    finals: dict[str, float]
    weights: dict[str, Tensor]
    missing: dict[str, str] = field(default_factory=dict)


def run(  # noqa: C901, one screen from warm-up to the last metric
    built: Built, with_test: bool = True, checkpointer: Checkpointer | None = None
) -> Generator[EvalPoint, None, RunResult]:
    """Train once, yielding every point with its evaluation; the caller may close the generator to stop.

    Args:
        built: what to run.
        with_test: whether to measure the test split at the end; a search does not, until it has chosen.
        checkpointer: of its checkpoint, from which the run goes on where there is one; None = none is kept.

    Yields:
        Each `EvalPoint` of the loop, with validation loss and accuracy where an evaluation was due; a run that goes on
        begins with the evaluations before its checkpoint.

    Returns:
        The `RunResult`.
    """
    loop, course = LoopState(), RunHistory()
    evaluator, measurer, meter = Evaluator(built), Measurer(built), NoiseMeter(built)
    parts = {"loop": loop, "course": course, "evaluator": evaluator, "measurer": measurer, "meter": meter}
    ranks = built.train_step.ranks
    parts |= {} if ranks is None else {"ranks": ranks}
    reset_peak(built.device)
    outcome, cause, warmup_seconds = "done", "", 0.0
    try:
        warmup_seconds = warm_up(built)
        if checkpointer is not None and checkpointer.resume(parts):
            if ranks is not None:
                ranks.broadcast_state()
            yield from course.again(built.clock)
        for at in fit(built.train_step, built.stream, built.plan, built.schedule, built.clock, loop):
            point = evaluator(at) if at.is_due and math.isfinite(at.train_loss) else at
            if point.is_due:
                course.add(point, built.clock)
            is_over = point.is_last or reached(course.points, built.plan.target_accuracy)
            if point.is_due and math.isfinite(point.train_loss):
                point = measurer(point, is_over)
            point = meter(replace(point, is_last=is_over))
            if point.is_due:
                course.points[-1] = point
            yield point
            if is_over:
                break
            if checkpointer is not None:
                checkpointer.offer(parts)
        if not math.isfinite(course.points[-1].train_loss):
            outcome, last = "diverged", course.points[-1]
            cause = f"the training loss was {last.train_loss} at step {last.counts.steps}"
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        outcome, cause = "out_of_memory", str(error).splitlines()[0]
    built.clock.stop()
    peak, is_usable = max(peak_bytes(built.device), measurer.peak), outcome == "done"
    finals = target_metrics(course.points, built.plan.target_accuracy)
    finals |= evaluator.finals(is_usable, with_test) | cost_metrics(built, course.points)
    finals |= measurer.finals(is_usable) | meter.finals(is_usable)
    finals["cost/compile_seconds" if built.config.compile else "cost/warmup_seconds"] = warmup_seconds
    finals["cost/measure_seconds"] = measurer.seconds + meter.seconds
    finals["cost/eval_seconds"], finals["cost/peak_memory_bytes"] = evaluator.seconds, peak
    finals["cost/total_seconds"] = course.seconds
    weights = {name: value.detach().cpu() for name, value in built.train_step.model.state_dict().items()}
    return RunResult(outcome, cause, finals, weights, measurer.missing | meter.reasons)


def run_to_end(
    training: Generator[EvalPoint, None, RunResult], see: Callable[[EvalPoint], object] = lambda point: None
) -> RunResult:
    """Drive a run to its end.

    Args:
        training: what `run` returned.
        see: gets every point, while the clock stands.
    """
    while True:
        check_stop()
        try:
            point = next(training)
        except StopIteration as stop:
            return stop.value
        see(point)


def stopped_result(built: Built, point: EvalPoint, reason: str) -> RunResult:
    """The result of a run that its caller stopped: what it cost, and where it stood, which is no final value.

    Args:
        built: what ran.
        point: its last.
        reason: ``pruned`` or ``stopped``.
    """
    finals = cost_metrics(built, [point]) | {"cost/peak_memory_bytes": peak_bytes(built.device)}
    del finals["cost/measure_seconds"]  # known to `run` only, which was cut off
    accuracy, loss = point.val_accuracy, point.val_loss
    finals["final/val_accuracy"] = NOT_A_NUMBER if accuracy is None else accuracy
    finals["final/val_loss"] = NOT_A_NUMBER if loss is None else loss
    return RunResult(reason, f"at {point.progress:.0%} of its budget", finals, {})


def warm_up(built: Built) -> float:
    """One forward and backward pass of each shape, so that the first timed step is like the others.

    Args:
        built: what will run.

    Returns:
        Seconds it took; with torch.compile this is the compilation.
    """
    started = time.perf_counter()
    if built.train_step.ranks is not None:
        built.train_step.ranks.announce_warm_up()
    pass_once(built)
    return time.perf_counter() - started


def pass_once(built: Built) -> None:
    """A forward and a backward pass of each shape, in every process of the run at the same time.

    Nothing of it stays: buffers, gradients and random numbers are put back, those of a process to its own.
    """
    train_step, plan = built.train_step, built.plan
    buffers = {name: buffer.clone() for name, buffer in train_step.model.named_buffers()}
    train_step.model.train()
    if train_step.ranks is not None:
        whole_gradient(train_step, built.stream, 0, plan.batch_size, plan.micro_batch_size)
    else:
        for size in sorted(set(part_sizes(plan.batch_size, plan.micro_batch_size))):
            accumulate(train_step, built.stream, 0, [size])
    for name, buffer in train_step.model.named_buffers():
        buffer.copy_(buffers[name])
    train_step.optimizer.zero_grad()
    torch.manual_seed(built.seed if train_step.ranks is None else train_step.ranks.seed(built.seed))


class Evaluator:
    """Measures a run's model on its splits, and the seconds that takes; off the training clock."""

    def __init__(self, built: Built) -> None:
        self._built, self.seconds = built, 0.0
        self._prepare = Prepare(built.dataset, built.device)
        # a memory that held the training batch holds this one too: there is no backward pass
        largest_part = built.plan.forward_sizes(built.plan.batch_size)[0]
        least = 64 if built.plan.micro_batch_size is None else 1  # where parts are limited, memory is short
        self._size = min(4096, max(least, largest_part))
        self._sample = self._train_sample(TRAIN_SAMPLE)

    def __call__(self, point: EvalPoint) -> EvalPoint:
        """The point with train/accuracy, val/loss and val/accuracy."""
        started = time.perf_counter()
        self._fit_classifier()
        val, sample = self._predict(self._built.dataset.val), self._predict(self._sample)
        self.seconds += time.perf_counter() - started
        return replace(point, val_loss=val.loss, val_accuracy=val.accuracy, train_accuracy=sample.accuracy)

    def state_dict(self) -> dict[str, float]:
        """As a checkpoint keeps it."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Count on from what another process has spent on the run."""
        self.seconds = state["seconds"]

    def finals(self, is_usable: bool, with_test: bool) -> dict[str, float]:
        """The final metrics on train, val and, where wanted, test; NaN where the run ended without a usable model."""
        started, dataset = time.perf_counter(), self._built.dataset
        names = ("train_loss", "val_loss", "val_accuracy", *(["test_accuracy"] if with_test else []))
        finals = dict.fromkeys((f"final/{name}" for name in names), NOT_A_NUMBER)
        if is_usable:
            self._fit_classifier()
            val, train = self._predict(dataset.val), self._predict(self._train_sample(FINAL_TRAIN_SAMPLE))
            finals["final/train_loss"], finals["final/val_loss"] = train.loss, val.loss
            finals |= {f"final/val_{name}": value for name, value in class_metrics(val).items()}
            if val.accuracy is not None:
                finals["final/val_accuracy"] = val.accuracy
                if with_test:
                    finals["final/test_accuracy"] = self._predict(dataset.test).accuracy or 0.0
        self.seconds += time.perf_counter() - started
        return finals

    def _train_sample(self, count: int) -> Split:
        return sampled(self._built.dataset.train, count, self._built.seed)

    def _batches(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        return in_order(split, self._prepare, self._built.device, self._size)

    def _fit_classifier(self) -> None:
        """A model that learns without labels brings a classifier, which is fitted whenever it is looked at."""
        fit_classifier = getattr(self._built.train_step.model, "fit_classifier", None)
        if fit_classifier is not None:
            fit_classifier(self._batches(self._train_sample(FINAL_TRAIN_SAMPLE)))

    def _predict(self, split: Split) -> Predictions:
        built = self._built
        return predict(built.train_step.model, built.forward, built.loss_function, self._batches(split))


def cost_metrics(built: Built, points: list[EvalPoint]) -> dict[str, float]:
    """What the training itself took: seconds measured and, where it counts them, as if alone; steps, examples."""
    counts = points[-1].counts if points else None
    seconds = built.clock.measured
    calibrated = {CALIBRATED: built.clock.seconds} if built.clock.is_calibrated else {}
    num_examples = float(counts.processed) if counts else NOT_A_NUMBER
    return calibrated | {
        MEASURED: seconds,
        "cost/num_steps": float(counts.steps) if counts else NOT_A_NUMBER,
        "cost/num_examples": num_examples,
        "cost/examples_per_second": num_examples / seconds if seconds > 0 else NOT_A_NUMBER,
        "cost/measure_seconds": 0.0,
    }

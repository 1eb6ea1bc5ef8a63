"""Evaluate a run while its clock is stopped: scores on the splits, sharpness, gradient noise."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torchmetrics.classification
import torchmetrics.regression  # noqa: F401  (a second, off the clock; what it takes in memory counts beforehand)
from torch import Tensor

from batchlab.data.dataset import Split
from batchlab.data.splits import in_order, sampled
from batchlab.data.transforms import Prepare
from batchlab.measures.measurer import Measurer
from batchlab.measures.noise_meter import NoiseMeter
from batchlab.run.target import reached, target_metrics
from batchlab.tasks.evaluate import NOT_A_NUMBER, Tally, evaluate
from batchlab.tasks.metric import LOSS, Metric
from batchlab.training.build import Built
from batchlab.training.evaluation import Evaluation
from batchlab.training.loop import LoopPoint

TRAIN_SAMPLE = 2000
"""Training examples, drawn once by the seed, on which the score along training is measured."""
FINAL_TRAIN_SAMPLE = 10_000
"""Training examples, drawn the same way, on which final/train_loss is measured."""


class Evaluator:
    """Makes the evaluations and the final metrics of one run, and counts the seconds that takes."""

    def __init__(self, built: Built) -> None:
        self._built, self._seconds, self._target = built, 0.0, built.plan.target
        self._measurer, self._meter = Measurer(built), NoiseMeter(built)
        self._prepare = Prepare(built.dataset, built.device)
        # a memory that held the training batch holds this one too: there is no backward pass
        largest_part = built.plan.forward_sizes(built.plan.batch_size)[0]
        least = 64 if built.plan.micro_batch_size is None else 1  # where parts are limited, memory is short
        self._size = min(4096, max(least, largest_part))
        self._sample = self._train_sample(TRAIN_SAMPLE)

    def __call__(self, point: LoopPoint, earlier: Sequence[Evaluation]) -> Evaluation:
        """Evaluate the model where the loop stands; with earlier evaluations it decides if a target is reached."""
        is_finite = math.isfinite(point.train_loss)
        curves = self._curves() if is_finite else {}
        score = curves.get(f"val/{self._built.score.name}")
        scores = [*(each.score for each in earlier[-1:]), score]
        is_last = point.is_last or reached(scores, self._target, self._built.score.sign)
        sharpness = self._measurer.along(is_last) if is_finite else {}
        return Evaluation(point, {**curves, **self._meter.along(point, is_last), **sharpness}, is_last, score)

    def finals(self, evaluations: Sequence[Evaluation], is_usable: bool, with_test: bool) -> dict[str, float]:
        """Return the final metrics of a run, NaN where it ended without a usable model, and the seconds of evaluating.

        `is_usable` says that the weights are those at the end of the budget.
        """
        finals = target_metrics(evaluations, self._target, self._built.score.sign)
        finals |= self._final_metrics(is_usable, with_test)
        finals |= self._measurer.finals(is_usable) | self._meter.finals(is_usable)
        finals["cost/measure_seconds"] = self._measurer.seconds + self._meter.seconds
        finals["cost/eval_seconds"] = self._seconds
        return finals

    @property
    def peak(self) -> float:
        """Return the bytes of memory that the run took before its model was measured last; 0 where it was not."""
        return self._measurer.peak

    @property
    def missing(self) -> dict[str, str]:
        """Return why a metric could not be measured, by its name."""
        return self._measurer.missing | self._meter.reasons

    def state_dict(self) -> dict[str, Any]:
        """Return what was spent and measured so far."""
        parts = {"measurer": self._measurer.state_dict(), "meter": self._meter.state_dict()}
        return {"seconds": self._seconds, **parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what another process has spent and measured."""
        self._seconds = state["seconds"]
        self._measurer.load_state_dict(state["measurer"])
        self._meter.load_state_dict(state["meter"])

    def _curves(self) -> dict[str, float]:
        """Measure what is drawn along training: the loss and the score on val, the score on a sample of train."""
        started, score = time.perf_counter(), self._built.score
        self._fit_classifier()
        drawn = tuple(dict.fromkeys((self._built.task.score, score)))
        val, sample = self._measure(self._built.dataset.val, drawn), self._measure(self._sample, drawn)
        self._seconds += time.perf_counter() - started
        train = {name: value for name, value in sample.items() if name != LOSS.name}
        return named("val/", val) | named("train/", train)

    def _final_metrics(self, is_usable: bool, with_test: bool) -> dict[str, float]:
        started, dataset, metrics = time.perf_counter(), self._built.dataset, self._built.task.metrics
        splits = {"val": dataset.val} | ({"test": dataset.test} if with_test else {})
        finals = {"final/train_loss": NOT_A_NUMBER}
        for name in splits:
            finals |= dict.fromkeys((f"final/{name}_{metric.name}" for metric in metrics), NOT_A_NUMBER)
        if is_usable:
            self._fit_classifier()
            finals["final/train_loss"] = self._measure(self._train_sample(FINAL_TRAIN_SAMPLE), ())[LOSS.name]
            for name, split in splits.items():
                finals |= named(f"final/{name}_", self._measure(split, metrics))
        self._seconds += time.perf_counter() - started
        return finals

    def _train_sample(self, count: int) -> Split:
        return sampled(self._built.dataset.train, count, self._built.seed)

    def _batches(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        return in_order(split, self._prepare, self._built.device, self._size)

    def _fit_classifier(self) -> None:
        """Fit the classifier that a model brings which learns without labels."""
        fit_classifier = getattr(self._built.train_step.model, "fit_classifier", None)
        if fit_classifier is not None:
            fit_classifier(self._batches(self._train_sample(FINAL_TRAIN_SAMPLE)))

    def _measure(self, split: Split, metrics: Sequence[Metric]) -> dict[str, float]:
        """Measure the loss and some metrics on a split."""
        built, tally = self._built, self._tally(metrics)
        return evaluate(built.train_step.model, built.forward, built.loss_function, self._batches(split), tally)

    def _tally(self, metrics: Sequence[Metric]) -> Tally:
        dataset = self._built.dataset
        return Tally(metrics, dataset.num_classes, dataset.target_std)


def named(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    """Return values with a prefix before each name."""
    return {f"{prefix}{name}": value for name, value in values.items()}

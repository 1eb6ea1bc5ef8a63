"""Evaluate a run while its clock is stopped: scores on the splits, sharpness, gradient noise."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from batchlab.data.dataset import Split
from batchlab.data.splits import in_order, sampled
from batchlab.data.transforms import Prepare
from batchlab.measures.measurer import Measurer
from batchlab.measures.noise_meter import NoiseMeter
from batchlab.run.target import reached, target_metrics
from batchlab.tasks.predictions import NOT_A_NUMBER, Predictions, class_metrics, predict
from batchlab.training.build import Built
from batchlab.training.evaluation import TRAIN_ACCURACY, VAL_ACCURACY, VAL_LOSS, Evaluation
from batchlab.training.loop import LoopPoint

TRAIN_SAMPLE = 2000
"""Training examples, drawn once by the seed, on which the curve train/accuracy is measured."""
FINAL_TRAIN_SAMPLE = 10_000
"""Training examples, drawn the same way, on which final/train_loss is measured."""


class Evaluator:
    """Makes the evaluations and the final metrics of one run, and counts the seconds that takes."""

    def __init__(self, built: Built) -> None:
        self._built, self._seconds, self._target = built, 0.0, built.plan.target_accuracy
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
        scores = self._scores() if is_finite else {}
        accuracies = [*(each.val_accuracy for each in earlier[-1:]), scores.get(VAL_ACCURACY)]
        is_last = point.is_last or reached(accuracies, self._target)
        sharpness = self._measurer.along(is_last) if is_finite else {}
        return Evaluation(point, {**scores, **self._meter.along(point, is_last), **sharpness}, is_last)

    def finals(self, evaluations: Sequence[Evaluation], is_usable: bool, with_test: bool) -> dict[str, float]:
        """Return the final metrics of a run, NaN where it ended without a usable model, and the seconds of evaluating.

        `is_usable` says that the weights are those at the end of the budget.
        """
        finals = target_metrics(evaluations, self._target) | self._final_scores(is_usable, with_test)
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

    def _scores(self) -> dict[str, float]:
        started = time.perf_counter()
        self._fit_classifier()
        val, sample = self._predict(self._built.dataset.val), self._predict(self._sample)
        self._seconds += time.perf_counter() - started
        scores = {TRAIN_ACCURACY: sample.accuracy, VAL_LOSS: val.loss, VAL_ACCURACY: val.accuracy}
        return {name: value for name, value in scores.items() if value is not None}

    def _final_scores(self, is_usable: bool, with_test: bool) -> dict[str, float]:
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

    def _predict(self, split: Split) -> Predictions:
        built = self._built
        return predict(built.train_step.model, built.forward, built.loss_function, self._batches(split))

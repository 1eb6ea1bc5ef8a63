"""When a trial with several objectives may stop: once even an optimistic end of its curve is dominated.

Optuna prunes one objective only. Here the end of a run is bounded by what finished runs of the same data, model,
lr schedule and kind of budget did from the same share of their budget on: at progress p with validation error e(p), a
run can still end at e(p) times the smallest ratio e(1)/e(p) that any of them reached which stood no more than
`REACH` times better, and at the best end of any that stood no better. Seconds go on as they went.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MIN_CURVES = 10
"""Finished curves that are comparable at a progress, below which nothing is known of the end."""
REACH = 2.0
"""A curve whose error is at most so many times smaller tells how much this one can still gain."""
FASTER = 0.9
"""The rest of a run may be so much faster than its beginning, as a share of its time."""


@dataclass(frozen=True)
class Curve:
    """Evaluations of one run, in order.

    Attributes:
        progress: share of the budget, in (0, 1].
        seconds: training seconds.
        accuracy: on the validation split.
    """

    progress: tuple[float, ...]
    seconds: tuple[float, ...]
    accuracy: tuple[float, ...]

    def as_attribute(self) -> dict[str, list[float]]:
        """As it is kept in a trial's user attributes."""
        shares = [round(value, 5) for value in self.progress]
        return {
            "progress": shares,
            "seconds": [round(value, 6) for value in self.seconds],
            "accuracy": list(self.accuracy),
        }

    @classmethod
    def of(cls, attribute: dict[str, Any]) -> "Curve":
        """The curve of an attribute."""
        return cls(tuple(attribute["progress"]), tuple(attribute["seconds"]), tuple(attribute["accuracy"]))

    def error(self, progress: float) -> float | None:
        """Validation error at a progress, linear between evaluations; None before the first."""
        place = bisect_left(self.progress, progress)
        if place == 0:
            return 1 - self.accuracy[0] if self.progress and self.progress[0] == progress else None
        if place == len(self.progress):
            return 1 - self.accuracy[-1]
        low, high = self.progress[place - 1], self.progress[place]
        share = (progress - low) / (high - low)
        return 1 - (1 - share) * self.accuracy[place - 1] - share * self.accuracy[place]


@dataclass(frozen=True)
class Front:
    """What a trial has to beat, and what is known of how curves end.

    Attributes:
        metrics: names of the objectives.
        directions: minimize or maximize.
        values: objectives of finished trials.
        curves: finished curves that are comparable.
    """

    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    values: Sequence[tuple[float, ...]]
    curves: Sequence[Curve]


def is_hopeless(front: Front, curve: Curve) -> bool:
    """Whether the optimistic end of a curve is dominated by a finished trial.

    Args:
        front: finished trials and curves.
        curve: of the running trial, at least one evaluation.

    Returns:
        False where an objective has no bound: only seconds and validation accuracy have one.
    """
    ends = [optimistic_end(metric, front.curves, curve) for metric in front.metrics]
    if any(end is None for end in ends):
        return False
    signs = [1 if direction == "minimize" else -1 for direction in front.directions]
    goal = [sign * end for sign, end in zip(signs, ends, strict=True) if end is not None]
    for values in front.values:
        rival = [sign * value for sign, value in zip(signs, values, strict=True)]
        if all(a <= b for a, b in zip(rival, goal, strict=True)) and rival != goal:
            return True
    return False


def optimistic_end(metric: str, curves: Sequence[Curve], curve: Curve) -> float | None:
    """The best value of an objective that a curve can still end with; None where nothing is known."""
    progress, seconds = curve.progress[-1], curve.seconds[-1]
    if metric == "cost/train_seconds":
        return seconds + (seconds / progress - seconds) * FASTER
    if metric == "final/val_accuracy":
        return best_accuracy(curves, progress, 1 - curve.accuracy[-1])
    return None


def best_accuracy(curves: Sequence[Curve], progress: float, error: float) -> float | None:
    """The highest accuracy that a run can still end with, learned from finished curves.

    Args:
        curves: finished.
        progress: where the run stands, in (0, 1].
        error: its validation error there.

    Returns:
        Accuracy, or None where fewer than `MIN_CURVES` can be compared.
    """
    then = [(at, 1 - each.accuracy[-1]) for each in curves if (at := each.error(progress)) is not None]
    near = [(at, end) for at, end in then if at * REACH >= error and at > 0 and not math.isnan(at + end)]
    if len(near) < MIN_CURVES:
        return None
    by_ratio = error * min(end / at for at, end in near)
    no_better = [end for at, end in near if at >= error]
    return 1 - min([by_ratio, *no_better])

"""When a trial with several objectives may stop: once even an optimistic end of its curve is dominated.

Optuna prunes one objective only. Here the end of a run is predicted from finished runs of the same data, model, lr
schedule and kind of budget: at progress p, a least-squares line gives the log of the final error from the logs of the
error now, of the lowest error so far and of the lowest error at an earlier progress, over those runs whose lowest error
was within a factor of two. The error is the distance of the score from the best there can be. The optimistic end lies
`SPREADS` standard errors of prediction below, and has to be dominated at two evaluations in a row. Seconds go on as
they went, or a tenth faster.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from batchlab.config.objectives import TIMES
from batchlab.tasks.known_tasks import metric_of_final
from batchlab.tasks.metric import distance
from batchlab.tasks.objectives import judging_objective

MIN_CURVES = 10
"""Comparable finished curves, below which nothing is said of the end."""
REACH = 2.0
"""Curves are comparable while their lowest errors differ by at most this factor."""
SPREADS = 3.0
"""Standard errors of prediction between the expected end and the optimistic one."""
EARLIER = 0.6
"""The earlier progress, as a share of the progress now."""
RIDGE = 1.0
"""Pull of the standardised coefficients towards 0, in curves: few curves do not make a steep line."""
FASTER = 0.9
"""The rest of a run may take so much less than its share of the time, as a factor."""
LEAST_ERROR = 2e-3
"""Errors of a share below this count as this; a logarithm needs it."""
LEAST = 1e-30
"""The same of other errors."""


@dataclass(frozen=True)
class Curve:
    """Evaluations of one run, in order."""

    progress: tuple[float, ...]  # share of the budget, in (0, 1]
    # training seconds by the run's own clock; where step times were measured alone, those x steps
    seconds: tuple[float, ...]
    error: tuple[float, ...]  # distance of the score on the validation split from the best there can be, above 0

    def as_attribute(self) -> dict[str, list[float]]:
        """Return what is kept in a trial's user attributes."""
        return {
            "progress": [round(value, 5) for value in self.progress],
            "seconds": [round(value, 6) for value in self.seconds],
            "error": list(self.error),
        }

    @classmethod
    def of(cls, attribute: dict[str, Any]) -> "Curve":
        """Read the curve of an attribute."""
        return cls(tuple(attribute["progress"]), tuple(attribute["seconds"]), tuple(attribute["error"]))

    def features(self, progress: float) -> tuple[float, float, float] | None:
        """Return logs of error now, lowest so far, and lowest earlier; None before the first evaluation."""
        now = self._at(self.error, progress)
        if now is None:
            return None
        earlier = self._at(self._lowest, EARLIER * progress)
        worst = max(1.0, self.error[0])
        values = (now, self._at(self._lowest, progress) or now, worst if earlier is None else earlier)
        return tuple(math.log(value) for value in values)  # type: ignore[return-value]

    @cached_property
    def _lowest(self) -> list[float]:
        return list(accumulate(self.error, min))

    def _at(self, values: Sequence[float], progress: float) -> float | None:
        """A value at a progress, linear between evaluations; None before the first."""
        place = bisect_left(self.progress, progress - 1e-9)
        if place == len(self.progress):
            return values[-1]
        if place == 0:
            return values[0] if self.progress[0] - progress < 1e-9 else None
        low, high = self.progress[place - 1], self.progress[place]
        share = (progress - low) / (high - low)
        return (1 - share) * values[place - 1] + share * values[place]


@dataclass(frozen=True)
class Front:
    """Finished trials that a trial has to beat, and their curves."""

    metrics: tuple[str, ...]  # names of the objectives
    directions: tuple[str, ...]  # minimize or maximize
    values: Sequence[tuple[float, ...]]  # objectives of finished trials; those on their Pareto front are enough
    curves: Sequence[Curve]  # finished curves that are comparable


def is_dominated(front: Front, curve: Curve) -> bool:
    """Tell whether the optimistic end of a running trial's curve is dominated by a finished trial.

    False where an objective has no bound: only seconds and a score that has a best value have one.
    """
    score = judging_objective(front.metrics)
    ends = [
        optimistic_end(metric, direction, front.curves, curve) if has_bound(metric, direction, score) else None
        for metric, direction in zip(front.metrics, front.directions, strict=True)
    ]
    known = [end for end in ends if end is not None]
    if len(known) < len(ends):
        return False
    signs = [1 if direction == "minimize" else -1 for direction in front.directions]
    goal = [sign * end for sign, end in zip(signs, known, strict=True)]
    rivals = ([sign * value for sign, value in zip(signs, values, strict=True)] for values in front.values)
    return any(rival != goal and all(a <= b for a, b in zip(rival, goal, strict=True)) for rival in rivals)


def has_bound(metric: str, direction: str, score: str | None) -> bool:
    """Tell whether the end of an objective can be bounded: of seconds, and of a score that has a best value."""
    found = metric_of_final(metric)
    return metric in TIMES or (
        metric == score and found is not None and found.unit != "loss" and direction == found.direction
    )


def error_of(direction: str, score: float) -> float:
    """Return how far a score is from the best there can be; of a share not less than `LEAST_ERROR`."""
    return max(distance(direction, score), LEAST_ERROR if direction == "maximize" else LEAST)


def optimistic_end(metric: str, direction: str, curves: Sequence[Curve], curve: Curve) -> float | None:
    """Bound the best seconds, or the best score, that a curve can still end with; None where nothing is known."""
    progress, seconds = curve.progress[-1], curve.seconds[-1]
    if metric in TIMES:
        return seconds + (seconds / progress - seconds) * FASTER
    error = least_error(curves, curve)
    return None if error is None else distance(direction, error)  # which is its own inverse


def least_error(curves: Sequence[Curve], curve: Curve) -> float | None:
    """Predict the least error that a run can still end with; None where fewer than `MIN_CURVES` are comparable."""
    progress = curve.progress[-1]
    here = curve.features(progress)
    assert here is not None
    pairs = [(features, each) for each in curves if (features := each.features(progress)) is not None]
    near = [(features, each) for features, each in pairs if abs(features[1] - here[1]) <= math.log(REACH)]
    if len(near) < MIN_CURVES:
        return None
    inputs = np.array([features for features, _ in near])
    ends = np.array([math.log(each.error[-1]) for _, each in near])
    centre, scale = inputs.mean(0), inputs.std(0) + 1e-6
    scaled, mine = (inputs - centre) / scale, (np.array(here) - centre) / scale
    normal = scaled.T @ scaled + RIDGE * np.eye(len(mine))
    weights = np.linalg.solve(normal, scaled.T @ (ends - ends.mean()))
    residuals = ends - ends.mean() - scaled @ weights
    spread = math.sqrt(float(residuals @ residuals) / (len(ends) - len(mine) - 1))
    spread *= math.sqrt(1 + 1 / len(ends) + float(mine @ np.linalg.solve(normal, mine)))
    return math.exp(ends.mean() + float(mine @ weights) - SPREADS * spread)

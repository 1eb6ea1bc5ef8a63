"""Measured arms: the numbers of each setting, seed by seed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchlab.config.objectives import direction_of
from batchlab.experiments.experiment import Check
from batchlab.laws.line import Array

CURVE_AXES = {"steps": "steps", "epochs": "progress/epochs", "examples": "progress/examples",
              "seconds": "progress/train_seconds"}  # fmt: skip
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
Curve = Mapping[str, Array]
"""Metric -> [num_evals] values; ``steps`` has the optimizer steps."""


@dataclass(frozen=True)
class MeasuredRun:
    """One run, or one probe, of a setting."""

    params: Mapping[str, Any]  # settings by dotted key, as MLflow has them
    finals: Mapping[str, float]  # metric -> value
    outcome: str  # done, diverged or out_of_memory
    curve: Callable[[], Curve]  # reads the evaluations; only called where a check needs them
    commit: str = ""  # of the code that measured it
    started: str = ""  # date, e.g. 2026-11-21.


@dataclass(frozen=True)
class Arm:
    """One arm."""

    name: str
    settings: Sequence[Sequence[MeasuredRun]]  # for each configuration its runs, in the order of seeds

    def censored_bounds(self, check: Check) -> Array:
        """Return [n, 2]: the check's metric of each seed at least and at most, of the setting that the check chooses.

        The two are equal but for a target that was not reached: it would have taken at least as long as the run was.
        """
        return np.array([metric_bounds(run, check, check.metric) for run in self.chosen(check)])

    def chosen(self, check: Check) -> Sequence[MeasuredRun]:
        """Return the runs of the setting that a check looks at: the only one, by `where`, or the best by `tune`.

        Raises:
            ValueError: where several settings fit and nothing says which.
        """
        wanted = {key: float(value) for key, value in check.where.items()}
        found = [
            runs
            for runs in self.settings
            if all(math.isclose(float(runs[0].params[key]), value) for key, value in wanted.items())
        ]
        if len(found) == 1:
            return found[0]
        if not found or check.tune is None:
            number = f"{len(found)} settings of the arm {self.name} fit"
            raise ValueError(f"{check.name}: {number}; `where` or `tune` chooses")
        metric = check.tune
        final = f"final/{metric.replace('/', '_')}" if metric in CURVES else metric
        sign = 1.0 if metric.startswith("target/") or direction_of(final) == "minimize" else -1.0

        def loss(runs: Sequence[MeasuredRun]) -> float:
            mean = sign * float(np.mean([metric_bounds(run, check, metric)[1] for run in runs]))
            return math.inf if math.isnan(mean) else mean

        return min(found, key=loss)


def metric_bounds(run: MeasuredRun, check: Check, metric: str) -> tuple[float, float]:
    """Return a metric of one run, at least and at most: a parameter, a final, off the curve, or what a target took.

    Args:
        run: which.
        check: says where curves are read, and what a failed run counts as.
        metric: ``param/<key>``; ``target/<examples, steps, epochs or seconds>`` with the check's target, or
            ``target/clock_seconds``, steps times the step time that was measured alone; a curve's name where the check
            says `at`; else a final.
    """
    if metric.startswith("param/"):
        value = float(run.params[metric.removeprefix("param/")])
    elif run.outcome != "done" and check.failed is not None:
        value = check.failed
    elif metric.startswith("target/") and check.target is not None:
        if run.outcome != "done":
            return 0.0, math.inf
        axis, factor = metric.removeprefix("target/"), 1.0
        if axis == "clock_seconds":
            axis, factor = "steps", run.finals["clock/step_seconds"]
        low, high = first_crossing(run.curve(), check.target, axis)
        return low * factor, high * factor
    elif check.at:
        ((axis, places),) = check.at.items()
        value = read_at(run.curve(), metric, axis, *np.atleast_1d(places))
    else:
        value = float(run.finals.get(metric, math.nan))
    return value, value


def read_at(curve: Curve, metric: str, axis: str, start: float, end: float | None = None) -> float:
    """Interpolate a curve at `start` on an axis, or average its evaluations from there to `end`; NaN outside."""
    x, y = curve[CURVE_AXES[axis]], curve[metric]
    if end is None:
        return float(np.interp(start, x, y, left=math.nan, right=math.nan))
    within = y[(x >= start) & (x <= end + 1e-9)]
    return float(within.mean()) if len(within) else math.nan


def first_crossing(curve: Curve, target: float, axis: str) -> tuple[float, float]:
    """Find where on an axis validation accuracy reached a target: the first of two evaluations in a row, interpolated.

    Returns:
        The place, twice; the end of the curve and infinity where it was not reached.
    """
    accuracy, x = curve["val/accuracy"], curve[CURVE_AXES[axis]]
    both = np.flatnonzero((accuracy[:-1] >= target) & (accuracy[1:] >= target))
    if not len(both):
        return float(x[-1]), math.inf
    first = int(both[0])
    place = float(x[first])
    if first and accuracy[first] > accuracy[first - 1]:
        share = (target - accuracy[first - 1]) / (accuracy[first] - accuracy[first - 1])
        place = float(x[first - 1] + max(share, 0.0) * (x[first] - x[first - 1]))
    return place, place

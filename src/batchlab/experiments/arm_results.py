"""Measured arms, the numbers of each setting, seed by seed, and the statistics that a check may ask for."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batchlab.experiments.experiment import Check
from batchlab.laws.convergence import fit_convergence
from batchlab.laws.estimate import Estimate
from batchlab.laws.line import Array
from batchlab.laws.step_time import fit_step_time
from batchlab.tasks.objectives import direction_of

CURVE_AXES = {"steps": "steps", "epochs": "progress/epochs", "examples": "progress/examples",
              "seconds": "progress/train_seconds"}  # fmt: skip
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
Curve = Mapping[str, Array]
"""Metric -> [num_evals] values; ``steps`` has the optimizer steps."""
Bounds = tuple[Array, Array]
"""At least and at most: [n] a number per seed, or [n, k]."""


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

    Return the place, twice; the end of the curve and infinity where it was not reached.
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


@dataclass(frozen=True)
class Statistic:
    """What a check computed."""

    # [n, k] at least so much, per seed and for each of k contrasts that must all hold; 1 but for an ordering
    low: Array
    high: Array  # [n, k] at most so much; differs from low where a target was not reached
    is_log: bool = False  # whether they are logarithms of a ratio


def compute(check: Check, arms: Mapping[str, Arm]) -> Statistic:
    """Compute the check's statistic, seed by seed, over the seeds that all of its arms have.

    Raises:
        KeyError: for a statistic that there is not.
    """
    other = replace(check, metric=check.minus_metric or check.metric)
    bounds = [arms[name].censored_bounds(other if place else check) for place, name in enumerate(check.arms)]
    n = min(map(len, bounds))
    rows = np.array([each[:n] for each in bounds])
    low, high = STATISTICS[check.statistic](check, rows[..., 0], rows[..., 1], arms)
    is_log = check.statistic == "ratio" and check.baseline is None
    return Statistic(low.reshape(len(low), -1), high.reshape(len(high), -1), is_log)


def difference(check: Check, low: Array, high: Array, arms: Mapping[str, Arm]) -> Bounds:
    """Take the first arm minus the second, paired by seed; without a second, the first itself."""
    return (low[0], high[0]) if check.minus is None else (low[0] - high[1], high[0] - low[1])


def ratio(check: Check, low: Array, high: Array, arms: Mapping[str, Arm]) -> Bounds:
    """Divide the first arm by the second, by seed, on the log scale; with a baseline what is above it, as it is."""
    if check.baseline is not None:
        return _share(low, high), _share(high, low)
    if check.minus is None:
        return np.log(low[0]), np.log(high[0])
    with np.errstate(divide="ignore"):
        return np.log(low[0] / high[1]), np.log(high[0] / low[1])


def _share(over: Array, under: Array) -> Array:
    """(first - baseline) / (second - baseline); the baseline is the last row."""
    return (over[0] - under[-1]) / (under[1] - under[-1])


def ordering(check: Check, low: Array, high: Array, arms: Mapping[str, Arm]) -> Bounds:
    """Take each arm minus the next one: all of them lie above 0 where the arms are ordered as they are named."""
    return (low[:-1] - high[1:]).T, (high[:-1] - low[1:]).T


def slope(check: Check, low: Array, high: Array, arms: Mapping[str, Arm]) -> Bounds:
    """Fit the slope of the log metric against the log batch size to each seed's row; NaN where a target is missing."""
    x, rows = np.log(_sizes(check, arms)), _known(low, high)
    found = np.array([np.polyfit(x, np.log(row), 1)[0] if np.isfinite(row).all() else np.nan for row in rows.T])
    return found, found


def law(check: Check, low: Array, high: Array, arms: Mapping[str, Arm]) -> Bounds:
    """Take a number of the law that is fitted to each seed's row: r_squared, or one of its own."""
    sizes, rows = _sizes(check, arms).astype(int).tolist(), zip(_known(low, high).T, low.T, strict=True)
    found = np.array([_of_law(check, sizes, row, limits) for row, limits in rows])
    return found, found


def _of_law(check: Check, sizes: list[int], row: Array, limits: Array) -> float:
    if check.law == "convergence":
        runs = {size: [value] for size, value in zip(sizes, row, strict=True)}
        fitted = fit_convergence(runs, dict(zip(sizes, limits.tolist(), strict=True)))
    else:
        fitted = fit_step_time(sizes, row[None, :])
    number = getattr(fitted, check.parameter or "r_squared")
    return number.value if isinstance(number, Estimate) else math.nan if number is None else number


def _known(low: Array, high: Array) -> Array:
    """The rows with NaN where a target was not reached."""
    return np.where(np.isfinite(high), low, np.nan)


def _sizes(check: Check, arms: Mapping[str, Arm]) -> Array:
    """[k] batch sizes of a check's arms."""
    return np.array([float(arms[name].settings[0][0].params["batch_size"]) for name in check.arms])


STATISTICS: dict[str, Callable[[Check, Array, Array, Mapping[str, Arm]], Bounds]] = {
    "difference": difference,
    "equivalence": difference,
    "ratio": ratio,
    "ordering": ordering,
    "slope": slope,
    "law": law,
}

"""Statistics that a check may ask for, a closed set; each is one number per seed, or a row of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from batchlab.experiments.arm_results import Arm
from batchlab.experiments.experiment import Check
from batchlab.laws.convergence import fit_convergence
from batchlab.laws.line import Array
from batchlab.laws.step_time import fit_step_time

Bounds = tuple[Array, Array]
"""At least and at most: [n] a number per seed, or [n, k]."""


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
    return number if isinstance(number, float) else number.value


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

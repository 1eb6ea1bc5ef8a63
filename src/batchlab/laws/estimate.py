"""A number with its 95 % interval."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

NUM_DRAWS = 2000
"""Bootstrap draws; the ends of a 95 % interval are then known to about 5 % of its width."""


@dataclass(frozen=True)
class Estimate:
    """A number and the 95 % interval around it.

    Attributes:
        value: the estimate.
        low: lower end; NaN where nothing is known of it.
        high: upper end.
        n: independent values of which it is the mean; 0 where it is no mean.
    """

    value: float
    low: float
    high: float
    n: int = 0

    @property
    def half_width(self) -> float:
        """Return half the width of the interval; NaN where nothing is known of it."""
        return (self.high - self.low) / 2

    def record(self) -> dict[str, float]:
        """Return value and ends of the interval by name, as JSON files have them."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def map(self, function: Callable[[float], float]) -> "Estimate":
        """Return the estimate of a monotone function of the number."""
        low, high = sorted((function(self.low), function(self.high)))
        return Estimate(function(self.value), low, high)


def of_draws(value: float, draws: NDArray[np.float64]) -> Estimate:
    """Estimate a statistic from its bootstrap draws, those that are finite: percentile interval around `value`."""
    finite = draws[np.isfinite(draws)]
    if len(finite) < len(draws) / 2:
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(finite, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def resampled(num_blocks: int, seed: int = 0, num_draws: int = NUM_DRAWS) -> NDArray[np.int64]:
    """Draw the indices of bootstrap samples: [num_draws, num_blocks], each row drawn with replacement."""
    return np.random.default_rng(seed).integers(0, num_blocks, (num_draws, num_blocks))


def median_of(values: NDArray[np.float64]) -> Estimate:
    """Return the median of [n] values with its bootstrap interval."""
    rows = resampled(len(values))
    return of_draws(float(np.median(values)), np.median(values[rows], axis=1))


def mean_of(values: Sequence[float]) -> Estimate:
    """Return the mean of independent values with its 95 % t interval.

    NaN values are left out of the mean and of n; one value has no interval.
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return Estimate(math.nan, math.nan, math.nan)
    mean, n = statistics.fmean(known), len(known)
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    variance = math.fsum((value - mean) ** 2 for value in known) / (n - 1)
    half_width = float(stdtrit(n - 1, 0.975)) * math.sqrt(variance / n)
    return Estimate(mean, mean - half_width, mean + half_width, n)

"""A number with its 95 % interval."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_DRAWS = 2000
"""Bootstrap draws; the ends of a 95 % interval are then known to about 5 % of its width."""


@dataclass(frozen=True)
class Estimate:
    """A number and the 95 % interval around it.

    Attributes:
        value: the estimate.
        low: lower end; NaN where nothing is known of it.
        high: upper end.
    """

    value: float
    low: float
    high: float

    def map(self, function: Callable[[float], float]) -> "Estimate":
        """The estimate of a monotone function of the number."""
        low, high = sorted((function(self.low), function(self.high)))
        return Estimate(function(self.value), low, high)


def of_draws(value: float, draws: NDArray[np.float64]) -> Estimate:
    """The estimate of a statistic from its bootstrap draws; percentile interval.

    Args:
        value: the statistic of the data themselves.
        draws: [num_draws] the statistic of resampled data; those that are not finite are left out.
    """
    finite = draws[np.isfinite(draws)]
    if len(finite) < len(draws) / 2:
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(finite, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def resampled(num_blocks: int, seed: int = 0, num_draws: int = NUM_DRAWS) -> NDArray[np.int64]:
    """Indices of bootstrap samples: [num_draws, num_blocks], each row drawn with replacement."""
    return np.random.default_rng(seed).integers(0, num_blocks, (num_draws, num_blocks))


def median_of(values: NDArray[np.float64]) -> Estimate:
    """Median of [n] values with its bootstrap interval."""
    rows = resampled(len(values))
    return of_draws(float(np.median(values)), np.median(values[rows], axis=1))

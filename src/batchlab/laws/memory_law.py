"""The memory law: peak bytes = fixed + per example · size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import linregress, t

from batchlab.laws.estimate import Estimate


@dataclass(frozen=True)
class MemoryLaw:
    """A straight line through tested sizes.

    Attributes:
        fixed_bytes: what is taken whatever the size, with the 95 % t interval of the regression.
        bytes_per_example: what each further example takes, likewise.
        r_squared: share of the variance of the bytes that the line explains.
    """

    fixed_bytes: Estimate
    bytes_per_example: Estimate
    r_squared: float

    def size_within(self, limit_bytes: float) -> float:
        """The size at which the line crosses a limit; infinite where memory does not grow, 0 where nothing fits.

        A reading of the line, to be tested before it is used.
        """
        slope, free = self.bytes_per_example.value, limit_bytes - self.fixed_bytes.value
        if free <= 0:
            return 0.0
        return free / slope if slope > 0 else math.inf


def fit_memory(sizes: Sequence[float], peak_bytes: Sequence[float]) -> MemoryLaw:
    """Least squares of peak bytes over sizes; sizes that did not run (NaN) are left out.

    Args:
        sizes: [n] examples, at least 2 different ones with a peak.
        peak_bytes: [n] peak of each, in bytes.

    Returns:
        The `MemoryLaw`; intervals are NaN at n = 2, where the line goes through both points.

    Raises:
        ValueError: where fewer than 2 different sizes have a peak.
    """
    x, y = np.asarray(sizes, dtype=np.float64), np.asarray(peak_bytes, dtype=np.float64)
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    if len(np.unique(x)) < 2:
        raise ValueError(f"a line needs 2 different sizes with a peak, there are {len(np.unique(x))}")
    line: Any = linregress(x, y)  # typed by scipy as a bare tuple
    width = float(t.ppf(0.975, len(x) - 2)) if len(x) > 2 else math.nan

    def estimate(value: float, error: float) -> Estimate:
        return Estimate(float(value), float(value - width * error), float(value + width * error))

    r_squared = 1.0 if np.ptp(y) == 0 else float(line.rvalue**2)
    slope, fixed = estimate(line.slope, line.stderr), estimate(line.intercept, line.intercept_stderr)
    return MemoryLaw(fixed, slope, r_squared)

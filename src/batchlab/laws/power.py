"""A power law y = c * x^k, by least squares in logarithms: how the best learning rate moves with the batch size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from batchlab.laws.estimate import Estimate


@dataclass(frozen=True)
class Power:
    """The fitted law.

    Attributes:
        factor: c.
        exponent: k, with its 95 % interval; NaN ends with fewer than three points.
    """

    factor: float
    exponent: Estimate

    def at(self, x: float) -> float:
        """Evaluate c * x^k."""
        return self.factor * x**self.exponent.value


def fit_power(x: Sequence[float], y: Sequence[float], widths: Sequence[float] | None = None) -> Power:
    """Fit log y = log c + k * log x.

    Args:
        x: [n] positive, at least two different values.
        y: [n] positive.
        widths: [n] of the cell around each log y, where y was the best of a grid; None = y is known exactly.

    Returns:
        The law; its interval has the residuals' part, with n - 2 degrees of freedom, and that of the grid: the best is
        anywhere in its cell, with a variance of width^2 / 12.

    Raises:
        ValueError: for fewer than two different x.
    """
    if len(set(x)) < 2:
        raise ValueError(f"a power law needs two different values, got {list(x)}")
    log_x, log_y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    centred = log_x - log_x.mean()
    exponent = float(centred @ log_y / (centred @ centred))
    intercept = float(log_y.mean() - exponent * log_x.mean())
    freedom = len(log_x) - 2
    if freedom < 1:
        return Power(float(np.exp(intercept)), Estimate(exponent, float("nan"), float("nan")))
    residuals = log_y - intercept - exponent * log_x
    error = float(np.sqrt(residuals @ residuals / freedom / (centred @ centred)))
    cells = np.zeros(len(log_x)) if widths is None else np.asarray(widths, float)
    of_grid = float(np.sqrt(centred**2 @ cells**2 / 12)) / float(centred @ centred)
    half_width = float(np.hypot(t.ppf(0.975, freedom) * error, norm.ppf(0.975) * of_grid))
    return Power(float(np.exp(intercept)), Estimate(exponent, exponent - half_width, exponent + half_width))

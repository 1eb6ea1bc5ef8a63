"""A line through points of very different size, y = a + b*x with a, b >= 0, and a power y = c * x^k."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import norm, t

from batchlab.laws.estimate import NUM_DRAWS, Estimate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """y = intercept + slope * x.

    Attributes:
        intercept: a, at least 0.
        slope: b, at least 0.
        residuals: [n] (y - fitted) / y of the points.
    """

    intercept: float
    slope: float
    residuals: Array

    def at(self, x: Array | float) -> Array:
        """Return the fitted values at [n] x."""
        return self.intercept + self.slope * np.asarray(x, dtype=np.float64)


def fit_line(x: Array, y: Array, relative_error: Array | float = 1.0) -> Line:
    """Fit by weighted least squares of ((y - a - b*x) / (y * relative_error))^2 over a, b >= 0.

    Args:
        x: [n] at least 2 different values.
        y: [n] positive.
        relative_error: [n] or one number: standard error of each point relative to it.
    """
    scale = 1.0 / (y * np.broadcast_to(relative_error, y.shape))
    # columns of one size, or the solver loses a intercept beside a slope of another order of magnitude
    unit = float(np.abs(x).max())
    (intercept, slope), _ = nnls(np.column_stack([scale, x / unit * scale]), y * scale)
    line = Line(float(intercept), float(slope / unit), np.empty(0))
    return Line(line.intercept, line.slope, (y - line.at(x)) / y)


def line_draws(
    x: Array, samples: Array, line: Line, relative_error: Array | float = 1.0, seed: int = 0
) -> NDArray[np.float64]:
    """Draw [num_draws, 2] intercepts and slopes that carry the spread of the points and their distance from the line.

    Each draw takes one sample of the points, a row of [num_samples, n], and is `shifted`; there is one row where
    nothing is known of their spread.
    """
    rows = samples[np.arange(NUM_DRAWS) % len(samples)]
    fits = (fit_line(x, y, relative_error) for y in shifted(rows, line.residuals, np.random.default_rng(seed)))
    return np.array([(each.intercept, each.slope) for each in fits])


def shifted(rows: Array, residuals: Array, random: np.random.Generator, num_fitted: int = 2) -> Array:
    """Multiply [num_draws, n] values by 1 ± the relative residual [n] of their point: the wild bootstrap.

    Residuals are widened by sqrt(n / (n - k)) for the k fitted numbers: a line that the points do not follow is not
    known better for their being known well. Of k points there are none; no value falls below a twentieth of itself.
    Signs are random.

    Source: Liu 1988 (Bootstrap procedures under some non-i.i.d. models), section 2.
    """
    n = len(residuals)
    widened = residuals * (np.sqrt(n / (n - num_fitted)) if n > num_fitted else 0.0)
    return rows * np.maximum(1 + random.choice([-1.0, 1.0], rows.shape) * widened, 0.05)


def r_squared(observed: Array, fitted: Array) -> float:
    """Return the share of the observed variance that the fit explains, 1 - RSS / TSS; NaN where nothing varies."""
    total = float(((observed - observed.mean()) ** 2).sum())
    return 1 - float(((observed - fitted) ** 2).sum()) / total if total > 0 else float("nan")


@dataclass(frozen=True)
class Power:
    """The power law y = c * x^k.

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
    """Fit log y = log c + k * log x by least squares.

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

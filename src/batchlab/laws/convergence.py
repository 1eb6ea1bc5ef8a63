"""The law of convergence: E(B) = E_min * (1 + B / B_crit), examples to a target at batch size B."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear

from batchlab.laws.estimate import NUM_DRAWS, Estimate, of_draws
from batchlab.laws.line import Array, fit_line, r_squared, shifted

ERROR_FLOOR = 0.01
"""No mean is taken as better known than to 1 %: learning rates are tuned on a grid."""
LONE_ERROR = 0.1
"""Relative standard deviation of a run where no batch size has two."""
MIN_OLYMPIC = 5
"""From so many runs on, the fastest and the slowest are left out."""


@dataclass(frozen=True)
class Convergence:
    """The fitted law.

    Attributes:
        min_examples: E_min, examples to the target at small batches.
        critical_batch_size: B_crit, at which twice E_min is needed; infinite where E does not grow.
        r_squared: of the means over batch sizes, unweighted; NaN with fewer than three.
        means: batch size -> mean examples to the target; only sizes that reached it.
        censored: batch size -> examples after which runs were stopped without reaching it.
        draws: [num_draws, 2] of E_min and E_min / B_crit.
    """

    min_examples: Estimate
    critical_batch_size: Estimate
    r_squared: float
    means: Mapping[int, float]
    censored: Mapping[int, float]
    draws: Array

    def examples(self, batch_size: float) -> Estimate:
        """Return E(B) with its interval."""
        slope = self.min_examples.value / self.critical_batch_size.value
        return of_draws(self.min_examples.value + slope * batch_size, self.draws @ np.array([1.0, batch_size]))

    @property
    def min_steps(self) -> Estimate:
        """Return S_min = E_min / B_crit, steps to the target at large batches: (S/S_min - 1)(E/E_min - 1) = 1.

        Source: McCandlish et al. 2018, equation 2.11.
        """
        return of_draws(self.min_examples.value / self.critical_batch_size.value, self.draws[:, 1])


def fit_convergence(runs: Mapping[int, Sequence[float]], limits: Mapping[int, float] | None = None) -> Convergence:
    """Fit the law to runs to a target.

    Means are olympic; each is weighted by 1 / max(its standard error, 1 %). A batch size of which more than one run (or
    its only run) did not reach the target is right-censored: the law must say at least its limit of it, and pays
    nothing for saying more.

    Args:
        runs: batch size -> examples to the target of each run, in any unit; NaN where it was not reached.
        limits: batch size -> examples after which its runs were stopped; for sizes with runs that did not reach it.

    Returns:
        The law, with bootstrap intervals over runs and residuals.

    Raises:
        ValueError: where fewer than two batch sizes reached the target.

    Source: McCandlish et al. 2018 (arXiv 1812.06162), section 2.3; MLPerf training rules (olympic means).
    """
    reached = {size: values for size in sorted(runs) if (values := usable(runs[size])) is not None}
    if len(reached) < 2:
        raise ValueError(f"the law needs two batch sizes that reach the target, {len(reached)} of {len(runs)} did")
    censored = {size: float((limits or {})[size]) for size in sorted(runs) if size not in reached}
    spread = pooled_spread(reached.values())
    means = {size: olympic_mean(values) for size, values in reached.items()}
    errors = {size: relative_error(values, spread) for size, values in reached.items()}
    law = _line(means, errors, censored)
    at = np.array(list(means), dtype=np.float64)
    observed, fitted = np.array(list(means.values())), law[0] + law[1] * at
    draws = _draws(reached, errors, censored, spread, (observed - fitted) / observed)
    critical = float(law[0] / law[1]) if law[1] > 0 else math.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(draws[:, 1] > 0, draws[:, 0] / draws[:, 1], np.inf)
    low, high = np.quantile(ratios, [0.025, 0.975], method="nearest")
    return Convergence(
        min_examples=of_draws(float(law[0]), draws[:, 0]),
        critical_batch_size=Estimate(critical, float(low), float(high)),
        r_squared=r_squared(observed, fitted) if len(means) > 2 else math.nan,
        means=means,
        censored=censored,
        draws=draws,
    )


def usable(values: Sequence[float]) -> Array | None:
    """Return the runs of one batch size that count: of five on, one that missed the target may pass for the slowest."""
    array = np.asarray(values, dtype=np.float64)
    num_missed = int(np.isnan(array).sum())
    if num_missed == 0:
        return array
    if num_missed == 1 and len(array) >= MIN_OLYMPIC:
        return np.append(array[~np.isnan(array)], np.inf)
    return None


def olympic_mean(values: Array) -> float:
    """Return the mean without the fastest and the slowest, from five values on; of fewer, the mean."""
    return float(_inner(values).mean())


def _inner(values: Array) -> Array:
    return np.sort(values)[1:-1] if len(values) >= MIN_OLYMPIC else np.asarray(values)


def relative_error(values: Array, spread: float) -> float:
    """Return the standard error of the mean over the mean; by the pooled spread where there are fewer than five."""
    inner = _inner(values)
    deviation = inner.std(ddof=1) / inner.mean() if len(values) >= MIN_OLYMPIC else spread
    return max(float(deviation / math.sqrt(len(inner))), ERROR_FLOOR)


def pooled_spread(groups: Iterable[Array]) -> float:
    """Return the relative standard deviation of a run, pooled over batch sizes; 10 % where none has two runs."""
    inner = [_inner(values) for values in groups]
    squares = sum(float(((each / each.mean() - 1) ** 2).sum()) for each in inner)
    freedom = sum(len(each) - 1 for each in inner)
    return math.sqrt(squares / freedom) if freedom else LONE_ERROR


def _line(means: Mapping[int, float], errors: Mapping[int, float], censored: Mapping[int, float]) -> Array:
    """(E_min, E_min / B_crit), both at least 0; censored sizes count where the line says less than their limit."""
    sizes, targets = np.array(list(means), dtype=np.float64), np.array(list(means.values()))
    relative = np.array(list(errors.values()))
    line = fit_line(sizes, targets, relative)
    law, active = np.array([line.intercept, line.slope]), dict[int, float]()
    for _ in censored:
        too_low = {size: limit for size, limit in censored.items() if law @ (1.0, size) < limit * (1 - 1e-9)}
        if set(too_low) <= set(active):
            break
        active |= too_low
        x = np.append(sizes, list(active))
        y = np.append(targets, list(active.values()))
        scale = 1 / (y * np.append(relative, [relative.mean()] * len(active)))
        unit = x.max()
        found = lsq_linear(np.column_stack([scale, x / unit * scale]), y * scale, (0, np.inf))
        law = found.x / (1.0, unit)
    return law


def _draws(
    reached: Mapping[int, Array],
    errors: Mapping[int, float],
    censored: Mapping[int, float],
    spread: float,
    residuals: Array,
) -> Array:
    """Fits to runs drawn with replacement (or by the pooled spread) and moved by residuals of random sign."""
    random = np.random.default_rng(0)
    num_draws = NUM_DRAWS if not censored else NUM_DRAWS // 4  # these are slower to fit
    drawn = np.array([_drawn_means(values, spread, random, num_draws) for values in reached.values()]).T
    moved = shifted(drawn, residuals, random)
    return np.array([_line(dict(zip(reached, row, strict=True)), errors, censored) for row in moved])


def _drawn_means(values: Array, spread: float, random: np.random.Generator, num_draws: int) -> Array:
    if len(values) < MIN_OLYMPIC:
        return olympic_mean(values) * np.exp(random.standard_normal(num_draws) * spread / math.sqrt(len(values)))
    inner = _inner(values)
    return inner[random.integers(0, len(inner), (num_draws, len(inner)))].mean(axis=1)

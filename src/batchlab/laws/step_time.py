"""The law of step time: t(B) = alpha + beta*B, seconds of one optimizer step at batch size B."""

import math
from dataclasses import dataclass

import numpy as np

from batchlab.laws.estimate import Estimate, of_draws, resampled
from batchlab.laws.line import Array, fit_line, line_draws, r_squared

MIN_SIZES = 4
"""So many sizes of the law's own range, and one beyond it can be told from one that only bends the line."""
BEYOND = 0.10
"""A size is beyond the law's range only if it takes so much more than the law says of it."""


@dataclass(frozen=True)
class StepTime:
    """The fitted law, and where it holds.

    Attributes:
        alpha_seconds: overhead of a step, in s.
        beta_seconds: work per example, in s.
        half_speed: alpha / beta, the batch size at half of the greatest throughput, in examples.
        r_squared: of the seconds per example over the sizes of the range; NaN with fewer than three.
        worst: largest distance of a median from the law in the range, relative to the law.
        smallest: least batch size of the range.
        largest: greatest batch size of the range.
        beyond: sizes above the range, which take longer than the law says: (batch size, measured / law).
        draws: [num_draws, 2] of alpha and beta, for whatever is computed from both.
    """

    alpha_seconds: Estimate
    beta_seconds: Estimate
    half_speed: Estimate
    r_squared: float
    worst: float
    smallest: int
    largest: int
    beyond: tuple[tuple[int, float], ...]
    draws: Array

    def seconds(self, batch_size: float) -> Estimate:
        """Return the seconds of a step at a batch size, with the law's interval."""
        alpha, beta = self.alpha_seconds.value, self.beta_seconds.value
        return of_draws(alpha + beta * batch_size, self.draws @ np.array([1.0, batch_size]))


def fit_step_time(batch_sizes: list[int], blocks: Array) -> StepTime:
    """Fit the law to repeated timings, over the sizes at which it holds.

    Relative residuals: a step of 1 ms counts as much as one of 1 s. Where memory traffic leaves the caches (or
    anything else changes), large batches take longer than a line through the others says; such sizes are found and
    named, not averaged into alpha and beta.

    Args:
        batch_sizes: [n] at least 2, in any order.
        blocks: [num_blocks, n] seconds per step; one row for published medians.

    Returns:
        The law; intervals carry the blocks' spread and the distance of the medians from the line.

    Raises:
        ValueError: for fewer than two different sizes.
    """
    if len(set(batch_sizes)) < 2:
        raise ValueError(f"a line needs two batch sizes, got {batch_sizes}")
    order = np.argsort(batch_sizes)
    sizes, blocks = np.array(batch_sizes, dtype=np.float64)[order], np.asarray(blocks)[:, order]
    seconds = np.median(blocks, axis=0)
    count = size_of_range(sizes, seconds)
    inside, line = sizes[:count], fit_line(sizes[:count], seconds[:count])
    samples = np.median(blocks[:, :count][resampled(len(blocks))], axis=1) if len(blocks) > 1 else blocks[:, :count]
    draws = line_draws(inside, samples, line)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = draws[:, 0] / draws[:, 1]
    half_speed = line.intercept / line.slope if line.slope > 0 else math.inf
    return StepTime(
        alpha_seconds=of_draws(line.intercept, draws[:, 0]),
        beta_seconds=of_draws(line.slope, draws[:, 1]),
        half_speed=of_draws(half_speed, ratios),
        r_squared=r_squared(seconds[:count] / inside, line.at(inside) / inside) if count > 2 else math.nan,
        worst=float(np.abs(seconds[:count] / line.at(inside) - 1).max()),
        smallest=int(sizes[0]),
        largest=int(inside[-1]),
        beyond=tuple((int(b), float(t / line.at(b))) for b, t in zip(sizes[count:], seconds[count:], strict=True)),
        draws=draws,
    )


def size_of_range(sizes: Array, seconds: Array) -> int:
    """Count the sizes that, from the smallest, follow one line.

    The line through all sizes is compared, by the Bayesian information criterion, with lines through the smaller ones
    that leave each of the others to itself (a parameter each, and one for the place of the border). Sizes are left out
    only where each takes at least 10 % longer than the line says, and where the line reaches beyond its half-speed
    batch: sizes at which overhead is nearly all say nothing of the slope. The [n] sizes are rising.

    Source: Schwarz 1978 (Estimating the dimension of a model), the criterion.
    """
    straight, best_count = _criterion(fit_line(sizes, seconds).residuals, 2), len(sizes)
    for count in range(MIN_SIZES, len(sizes)):
        below = fit_line(sizes[:count], seconds[:count])
        excess = seconds[count:] / below.at(sizes[count:]) - 1
        num_above = len(sizes) - count
        criterion = _criterion(np.append(below.residuals, np.zeros(num_above)), 3 + num_above)
        is_slope_known = below.slope * sizes[count - 1] > below.intercept
        if is_slope_known and excess.min() > BEYOND and criterion < straight:
            straight, best_count = criterion, count
    return best_count


def _criterion(residuals: Array, num_parameters: int) -> float:
    n = len(residuals)
    # 0.5 %: no timing is better known, and a perfect fit would win whatever it costs
    variance = max(float((residuals**2).mean()), 0.005**2)
    return n * math.log(variance) + num_parameters * math.log(n)


def crossing(first: StepTime, second: StepTime) -> Estimate:
    """Return the batch size at which two devices need the same time for a step: their laws' draws paired at random.

    (alpha_2 - alpha_1) / (beta_1 - beta_2), in examples; NaN where one is faster at every size.
    """
    draws = np.column_stack([second.draws[:, 0] - first.draws[:, 0], first.draws[:, 1] - second.draws[:, 1]])
    value = _quotient(
        second.alpha_seconds.value - first.alpha_seconds.value, first.beta_seconds.value - second.beta_seconds.value
    )
    return of_draws(value, np.array([_quotient(above, below) for above, below in draws]))


def _quotient(above: float, below: float) -> float:
    value = above / below if below else math.nan
    return value if value > 0 else math.nan


def crossing_of_table(batch_sizes: list[int], first: Array, second: Array) -> float:
    """Return the batch size at which two devices' seconds [n] cross, linear between rising sizes; NaN where never."""
    ahead = np.asarray(first) - np.asarray(second)
    for place in range(len(batch_sizes) - 1):
        if ahead[place] * ahead[place + 1] < 0:
            share = ahead[place] / (ahead[place] - ahead[place + 1])
            return float(batch_sizes[place] + share * (batch_sizes[place + 1] - batch_sizes[place]))
    return math.nan

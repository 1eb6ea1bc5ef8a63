"""The law of step time: t(B) = max(c, alpha + beta*B), seconds of one optimizer step at batch size B."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from batchlab.laws.estimate import NUM_DRAWS, Estimate, of_draws, resampled
from batchlab.laws.line import Array, Line, fit_line, line_draws, r_squared, shifted

MIN_SIZES = 4
"""So many sizes of the law's own range, and one beyond it can be told from one that only bends the line."""
BEYOND = 0.10
"""A size is beyond the law's range only if it takes so much more than the law says of it; the smallest size is on the
floor only if it takes so much more than the line says."""


@dataclass(frozen=True)
class StepTime:
    """The fitted law, and where it holds.

    Attributes:
        alpha_seconds: overhead of a step, in s.
        beta_seconds: work per example, in s.
        half_speed: the batch size at half of the greatest throughput, max(alpha, c/2) / beta, in examples.
        floor_seconds: c, what a step takes at least, where a host launches work more slowly than its device does it;
            None where no floor is seen.
        knee: (c - alpha) / beta, the batch size up to which every step takes c, in examples; None without a floor.
        r_squared: of the seconds per example over the sizes of the range; NaN with fewer than three.
        worst: largest distance of a median from the law in the range, relative to the law.
        smallest: least batch size of the range.
        largest: greatest batch size of the range.
        beyond: sizes above the range, which take longer than the law says: (batch size, measured / law).
        draws: [num_draws, 3] of alpha, beta and c (0 without a floor), for whatever is computed from them.
    """

    alpha_seconds: Estimate
    beta_seconds: Estimate
    half_speed: Estimate
    floor_seconds: Estimate | None
    knee: Estimate | None
    r_squared: float
    worst: float
    smallest: int
    largest: int
    beyond: tuple[tuple[int, float], ...]
    draws: Array

    @property
    def values(self) -> tuple[float, float, float]:
        """Return the estimates of alpha, beta and c (0 without a floor), in s."""
        floor = self.floor_seconds.value if self.floor_seconds else 0.0
        return self.alpha_seconds.value, self.beta_seconds.value, floor

    def estimates(self) -> dict[str, Estimate]:
        """Return the law's numbers by name; those of a floor only where there is one."""
        names = ("alpha_seconds", "beta_seconds", "half_speed", "floor_seconds", "knee")
        return {name: each for name in names if (each := getattr(self, name)) is not None}

    def at(self, batch_sizes: Array) -> Array:
        """Return the estimated seconds of a step at [n] batch sizes."""
        alpha, beta, floor = self.values
        return np.maximum(floor, alpha + beta * np.asarray(batch_sizes, dtype=np.float64))

    def seconds(self, batch_size: float) -> Estimate:
        """Return the seconds of a step at a batch size, with the law's interval."""
        drawn = np.maximum(self.draws[:, 2], self.draws[:, :2] @ np.array([1.0, batch_size]))
        return of_draws(float(self.at(np.array([batch_size]))[0]), drawn)


def fit_step_time(batch_sizes: list[int], blocks: Array) -> StepTime:
    """Fit the law to repeated timings, over the sizes at which it holds.

    Relative residuals: a step of 1 ms counts as much as one of 1 s. Where memory traffic leaves the caches (or
    anything else changes), large batches take longer than a line through the others says; such sizes are found and
    named, not averaged into alpha and beta. Small batches that all take the same time are the floor.

    Args:
        batch_sizes: [n] at least 2, in any order.
        blocks: [num_blocks, n] seconds per step; one row for published medians.

    Returns:
        The law; intervals carry the blocks' spread and the distance of the medians from the law.

    Raises:
        ValueError: for fewer than two different sizes.
    """
    if len(set(batch_sizes)) < 2:
        raise ValueError(f"a line needs two batch sizes, got {batch_sizes}")
    order = np.argsort(batch_sizes)
    sizes, blocks = np.array(batch_sizes, dtype=np.float64)[order], np.asarray(blocks)[:, order]
    seconds = np.median(blocks, axis=0)
    fit = best_shape(sizes, seconds)
    draws = _draws(fit, sizes, blocks)
    alphas, betas, floors = draws.T
    with np.errstate(divide="ignore", invalid="ignore"):
        half_speeds, knees = np.maximum(alphas, floors / 2) / betas, (floors - alphas) / betas
    slope = fit.line.slope or math.nan
    half_speed = max(fit.line.intercept, fit.floor / 2) / slope if fit.line.slope else math.inf
    inside, law = sizes[: fit.end], fit.at(sizes)
    return StepTime(
        alpha_seconds=of_draws(fit.line.intercept, alphas),
        beta_seconds=of_draws(fit.line.slope, betas),
        half_speed=of_draws(half_speed, half_speeds),
        floor_seconds=of_draws(fit.floor, floors) if fit.start else None,
        knee=of_draws((fit.floor - fit.line.intercept) / slope, knees) if fit.start else None,
        r_squared=r_squared(seconds[: fit.end] / inside, law[: fit.end] / inside) if fit.end > 2 else math.nan,
        worst=float(np.abs(seconds / law - 1)[: fit.end].max()),
        smallest=int(sizes[0]),
        largest=int(inside[-1]),
        beyond=tuple((int(b), float(t)) for b, t in zip(sizes[fit.end :], (seconds / law)[fit.end :], strict=True)),
        draws=draws,
    )


@dataclass(frozen=True)
class Shape:
    """A floor under the sizes before `start`, a line through those before `end`; the others are beyond the law."""

    floor: float  # 0 where start is 0
    line: Line
    start: int
    end: int

    def at(self, batch_sizes: Array) -> Array:
        """Return the fitted seconds at [n] batch sizes."""
        return np.maximum(self.floor, self.line.at(batch_sizes))


def best_shape(sizes: Array, seconds: Array) -> Shape:
    """Choose which sizes lie on the floor, on the line and beyond, by the Bayesian information criterion.

    A floor costs a parameter, so does a size that is left to itself beyond the line, and each border. Sizes are left
    out only where each takes at least 10 % longer than the law says, and where the line reaches beyond its half-speed
    batch: sizes at which overhead is nearly all say nothing of the slope. The [n] sizes are rising.

    Source: Schwarz 1978 (Estimating the dimension of a model), the criterion.
    """
    shapes = list(_shapes(sizes, seconds))
    return min(shapes, key=lambda shape: _criterion(shape, sizes, seconds))


def _shapes(sizes: Array, seconds: Array) -> Iterator[Shape]:
    """List the shapes that a law can have; the first is one line through all sizes."""
    for end in (len(sizes), *range(MIN_SIZES, len(sizes))):
        for start in (0, *range(2, end - 1)):
            if start and _num_parameters(start, len(sizes) - end) >= len(sizes):
                continue  # it would fit anything
            line = fit_line(sizes[start:end], seconds[start:end])
            floor = float(_level(seconds[:start])) if start else 0.0
            shape = Shape(floor, line, start, end)
            is_floor_seen = start == 0 or floor > (1 + BEYOND) * line.at(sizes[0])
            is_slope_known = line.slope * sizes[end - 1] > max(line.intercept, floor / 2)
            are_beyond = seconds[end:] > (1 + BEYOND) * shape.at(sizes[end:])
            if is_floor_seen and (end == len(sizes) or (is_slope_known and are_beyond.all())):
                yield shape


def _draws(fit: Shape, sizes: Array, blocks: Array) -> Array:
    """Draw [num_draws, 3] lines and floors that carry the blocks' spread and the distance of the medians from them."""
    samples = np.median(blocks[resampled(len(blocks))], axis=1) if len(blocks) > 1 else blocks
    lines = line_draws(sizes[fit.start : fit.end], samples[:, fit.start : fit.end], fit.line)
    if not fit.start:
        return np.column_stack([lines, np.zeros(len(lines))])
    flat = samples[np.arange(NUM_DRAWS) % len(samples), : fit.start]
    medians = np.median(blocks[:, : fit.start], axis=0)
    moved = shifted(flat, (medians - fit.floor) / medians, np.random.default_rng(1), num_fitted=1)
    return np.column_stack([lines, _level(moved)])


def _level(seconds: Array) -> Array:
    """Return the constant nearest to [..., n] seconds by relative distance: their mean weighted by 1/t^2."""
    return (1 / seconds).sum(axis=-1) / (seconds**-2.0).sum(axis=-1)


def _criterion(shape: Shape, sizes: Array, seconds: Array) -> float:
    n, num_above = len(sizes), len(sizes) - shape.end
    residuals = (1 - shape.at(sizes) / seconds)[: shape.end]
    # 0.5 %: no timing is better known, and a perfect fit would win whatever it costs
    variance = max(float(residuals @ residuals) / n, 0.005**2)
    return n * math.log(variance) + _num_parameters(shape.start, num_above) * math.log(n)


def _num_parameters(start: int, num_above: int) -> int:
    return 2 + (2 if start else 0) + (1 + num_above if num_above else 0)


def crossing(first: StepTime, second: StepTime) -> Estimate:
    """Return the least batch size at which two devices need the same time for a step: their draws paired at random.

    In examples; NaN where one is faster at every size. Between knees both laws are lines, so it is
    (alpha_2 - alpha_1) / (beta_1 - beta_2) with c for alpha and 0 for beta on a floor.
    """
    drawn = [_crossing(*pair) for pair in zip(first.draws, second.draws, strict=True)]
    return of_draws(_crossing(np.array(first.values), np.array(second.values)), np.array(drawn))


def _crossing(first: Array, second: Array) -> float:
    """Find where max(c, a + b*B) of two rows (a, b, c) agree, the least B > 0."""

    def differ(size: float) -> float:
        (a, b, c), (d, e, f) = first, second
        return max(c, a + b * size) - max(f, d + e * size)

    knees = [(c - a) / b for a, b, c in (first, second) if b > 0 and c > a]
    ends = [0.0, *sorted(knees)]
    for low, high in zip(ends, [*ends[1:], None], strict=True):
        far = 2 * low + 1 if high is None else high
        start, slope = differ(low), (differ(far) - differ(low)) / (far - low) if far > low else 0.0
        size = low - start / slope if slope else math.nan
        if size > 0 and low <= size and (high is None or size <= high):
            return float(size)
    return math.nan


def crossing_of_table(batch_sizes: list[int], first: Array, second: Array) -> float:
    """Return the batch size at which two devices' seconds [n] cross, linear between rising sizes; NaN where never."""
    ahead = np.asarray(first) - np.asarray(second)
    for place in range(len(batch_sizes) - 1):
        if ahead[place] * ahead[place + 1] < 0:
            share = ahead[place] / (ahead[place] - ahead[place + 1])
            return float(batch_sizes[place] + share * (batch_sizes[place + 1] - batch_sizes[place]))
    return math.nan

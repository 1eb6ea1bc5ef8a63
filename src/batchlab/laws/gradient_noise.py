"""Gradient noise: how far the gradient of a batch lies from that of all examples, and from which batch size on little.

S = tr(Sigma) is the summed variance of one example's gradient, |G|^2 the squared norm of the gradient of all
examples, and B_simple = S / |G|^2 the batch size at which noise and signal of a batch's gradient are equal. A batch
of m examples, drawn without replacement from N, has ``E|g_m|^2 = |G|^2 + S (1/m - 1/N)``; everything here solves
that line for S and |G|^2. `population` is N, infinite where G is the gradient of the distribution that the examples
come from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from batchlab.laws.estimate import Estimate, of_draws, resampled
from batchlab.laws.line import Array

SLOPE_DRAWS = 500
"""Bootstrap draws of a slope: its interval is shown, nothing is decided by its third digit."""


@dataclass(frozen=True)
class NoiseScale:
    """B_simple, and what it was computed from.

    Attributes:
        scale: in examples; value inf where no signal was seen, high inf where it may be none.
        standard_error: of the scale, in examples; NaN for fewer than two draws or without a signal.
        noise: S, summed variance of one example's gradient.
        signal: |G|^2, squared norm of the gradient of all examples; an unbiased estimate, so it may be negative.
        num_draws: independent estimates behind the interval.
        reason: why the value is not a finite number; empty where it is.
    """

    scale: Estimate
    standard_error: float
    noise: float
    signal: float
    num_draws: int
    reason: str = ""


def unknown(reason: str, noise: float = math.nan, signal: float = math.nan, num_draws: int = 0) -> NoiseScale:
    """Return a scale that cannot be told, and why."""
    return NoiseScale(Estimate(math.nan, math.nan, math.nan), math.nan, noise, signal, num_draws, reason)


def two_batch(
    small_norm: ArrayLike, big_norm: ArrayLike, small_size: ArrayLike, big_size: ArrayLike, population: float = math.inf
) -> tuple[Array, Array]:
    """Estimate S and |G|^2, unbiased, from the squared norms of a small and a big batch's gradient.

    ``S = (|G_s|^2 - |G_b|^2) / (1/B_s - 1/B_b)`` and ``|G|^2 = |G_b|^2 - S (1/B_b - 1/N)``, which for infinite N is
    ``(B_b |G_b|^2 - B_s |G_s|^2) / (B_b - B_s)``.

    Args:
        small_norm: |G_s|^2, [n] draws.
        big_norm: |G_b|^2, [n].
        small_size: B_s in examples, [n] or one number.
        big_size: B_b in examples, above B_s.
        population: N in examples.

    Returns:
        S and |G|^2 of each draw, both [n]; average them before anything is divided.

    Source: McCandlish et al. 2018, appendix A.1, equations A.2 and A.3; 1/N is ours.
    """
    small, big = np.asarray(small_norm, float), np.asarray(big_norm, float)
    one_small, one_big = 1 / np.asarray(small_size, float), 1 / np.asarray(big_size, float)
    noise = (small - big) / (one_small - one_big)
    return np.atleast_1d(noise), np.atleast_1d(big - noise * (one_big - 1 / population))


def noise_scale(noise: ArrayLike, signal: ArrayLike) -> NoiseScale:
    """Estimate B_simple as the ratio of averages, with its 95 % interval.

    The interval is that of 1/B_simple = |G|^2/S, whose denominator is the well-known one (linearised jackknife, t
    quantile), turned over; an end at or below 0 opens it above.

    Args:
        noise: S, [n] independent draws or jackknife pseudo-values.
        signal: |G|^2, [n].

    Returns:
        The scale; NaN with a reason where a draw is not finite or the gradients do not differ.
    """
    noise, signal = np.asarray(noise, float), np.asarray(signal, float)
    num, mean_noise, mean_signal = len(noise), float(np.mean(noise)), float(np.mean(signal))
    if not (math.isfinite(mean_noise) and math.isfinite(mean_signal)):
        return unknown("a gradient is not finite", mean_noise, mean_signal, num)
    if mean_noise <= 0:
        return unknown("no noise above rounding: S <= 0", mean_noise, mean_signal, num)
    inverse, half_width, error = mean_signal / mean_noise, math.nan, math.nan
    value = 1 / inverse if inverse > 0 else math.inf
    if num > 1:
        error = float(np.std((signal - inverse * noise) / mean_noise, ddof=1)) / math.sqrt(num)
        half_width = float(t.ppf(0.975, num - 1)) * error
    low, high = (math.inf if end <= 0 else 1 / end for end in (inverse + half_width, inverse - half_width))
    reason = "" if inverse > 0 else f"no signal above the noise: |G|^2 <= 0; the scale is at least {low:.3g}"
    standard_error = error * value**2 if inverse > 0 else math.nan
    return NoiseScale(Estimate(value, low, high), standard_error, mean_noise, mean_signal, num, reason)


def of_parts(
    gram: Array, sizes: Sequence[int], population: float = math.inf, squared_norms: Array | None = None
) -> NoiseScale:
    """Estimate B_simple of a sample without replacement, cut into parts; interval by leaving out one part at a time.

    Args:
        gram: [K, K] scalar products of the parts' mean gradients.
        sizes: [K] examples of each part, near-equal.
        population: N in examples; the part of the error that a sample of all N does not have is left out.
        squared_norms: [K] mean squared norm of single examples' gradients in each part, where known: S then is
            that of single examples instead of the spread between parts.

    Returns:
        The scale; NaN with a reason for fewer than two parts.
    """
    counts = np.asarray(sizes, float)
    if len(counts) < 2:
        return unknown("it takes at least two examples")
    num, (noise, signal) = len(counts), _moments(gram, counts, squared_norms)
    if num == 2:
        return noise_scale([noise], [signal + noise / population])
    rest: list[tuple[float, float]] = []
    for left_out in range(num):
        kept = np.delete(np.arange(num), left_out)
        norms = None if squared_norms is None else squared_norms[kept]
        rest.append(_moments(gram[np.ix_(kept, kept)], counts[kept], norms))
    noises, signals = (num * np.array([noise, signal]) - (num - 1) * np.array(rest)).T
    unseen = math.sqrt(max(0.0, 1 - counts.sum() / population))
    signals = signal + unseen * (signals - signals.mean())
    noises = noise + (unseen if squared_norms is not None else 1.0) * (noises - noises.mean())
    return noise_scale(noises, signals + noises / population)


def _moments(gram: Array, counts: Array, squared_norms: Array | None) -> tuple[float, float]:
    """Unbiased S and |G|^2 of an infinite population; from two parts on, or two examples with their norms."""
    total, shares = counts.sum(), counts / counts.sum()
    mean_square = float(shares @ gram @ shares)
    if squared_norms is not None:
        noise = (float(shares @ squared_norms) - mean_square) / (1 - 1 / total)
    else:
        noise = (float(counts @ np.diag(gram)) - total * mean_square) / (len(counts) - 1)
    return noise, mean_square - noise / total


def variance_law(size: ArrayLike, noise: float, population: float = math.inf) -> Array:
    """Return the expected squared distance of a batch's gradient from that of all N examples: ``S (1/m - 1/N)``."""
    return noise * (1 / np.asarray(size, float) - 1 / population)


def cosine_law(size: ArrayLike, scale: float, population: float = math.inf) -> Array:
    """Return the expected squared cosine between a batch's gradient and that of all examples.

    ``1 / (1 + B_simple (1/B - 1/N))``, which for infinite N is ``1 / (1 + B_simple/B)``. Noise that points along G is
    counted as if it did not: where it has a share a of S, small batches lie above the curve by up to a.
    """
    return 1 / (1 + scale * (1 / np.asarray(size, float) - 1 / population))


def fit_slope(sizes: ArrayLike, draws: Sequence[Array]) -> Estimate:
    """Fit the slope of log variance on log m, by least squares, with its bootstrap interval; -1 for ``S/m``.

    Of each of k >= 2 sizes m, in examples, there are draws: squared distances of gradients from that of all examples.
    """
    x = np.log(np.asarray(sizes, float))

    def slope(variances: Array) -> Array:
        y = np.log(variances)
        return (x - x.mean()) @ (y - y.mean(axis=0)) / np.sum((x - x.mean()) ** 2)

    drawn = [each[resampled(len(each), seed, SLOPE_DRAWS)].mean(axis=1) for seed, each in enumerate(draws)]
    value = slope(np.array([[each.mean()] for each in draws]))
    return of_draws(float(value[0]), slope(np.array(drawn)))

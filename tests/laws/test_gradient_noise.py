"""Gaussian gradients of known mean and covariance: what is estimated is what was put in."""

import math

import numpy as np
import pytest

from batchlab.laws.gradient_noise import cosine_law, fit_slope, noise_scale, of_parts, two_batch, variance_law

DIMENSION = 40
SPREAD = np.linspace(0.2, 1.8, DIMENSION)
"""Standard deviations of one example's gradient along each axis."""
TRACE = float(np.sum(SPREAD**2))
MEAN = np.full(DIMENSION, math.sqrt(TRACE / 30 / DIMENSION))
"""|G|^2 = S / 30: B_simple is 30 examples."""


def examples(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return MEAN + SPREAD * rng.standard_normal((*shape, DIMENSION))


def squared(vectors: np.ndarray) -> np.ndarray:
    return np.sum(vectors**2, axis=-1)


def parts_of(sample: np.ndarray, num_parts: int, **given):
    parts = np.array_split(sample, num_parts)
    means = np.array([part.mean(axis=0) for part in parts])
    return of_parts(means @ means.T, [len(part) for part in parts], **given)


def test_two_batches_are_mccandlishs_formulas():
    noise, signal = two_batch([7.0], [3.0], 4, 32)
    assert noise[0] == pytest.approx((7 - 3) / (1 / 4 - 1 / 32), rel=1e-14)
    assert signal[0] == pytest.approx((32 * 3 - 4 * 7) / (32 - 4), rel=1e-14)


def test_two_batches_are_unbiased():
    batches = examples(np.random.default_rng(0), 20_000, 16)
    noise, signal = two_batch(squared(batches[:, :4].mean(axis=1)), squared(batches.mean(axis=1)), 4, 16)
    for found, true in ((noise, TRACE), (signal, TRACE / 30)):
        assert abs(found.mean() - true) < 3.5 * found.std() / math.sqrt(len(found))  # .05 % by chance
        assert found.std() / math.sqrt(len(found)) < 0.02 * true  # else the line above says nothing


def test_two_batches_are_unbiased_without_replacement():
    rng = np.random.default_rng(1)
    population = examples(rng, 24)
    full, trace = population.mean(axis=0), squared(population - population.mean(axis=0)).sum() / 23
    drawn = population[np.argsort(rng.random((20_000, 24)), axis=1)[:, :16]]
    norms = squared(drawn[:, :4].mean(axis=1)), squared(drawn.mean(axis=1))
    noise, signal = two_batch(*norms, 4, 16, population=24)
    for found, true in ((noise, trace), (signal, squared(full))):
        assert abs(found.mean() - true) < 3.5 * found.std() / math.sqrt(len(found))
    assert abs(two_batch(*norms, 4, 16)[1].mean() - squared(full)) > 10 * signal.std() / math.sqrt(20_000)


def test_the_interval_of_draws_covers_the_truth():
    batches = examples(np.random.default_rng(2), 800, 60, 16)
    small, big = squared(batches[:, :, :4].mean(axis=2)), squared(batches.mean(axis=2))
    scales = [noise_scale(*two_batch(*norms, 4, 16)).scale for norms in zip(small, big, strict=True)]
    covered = np.mean([scale.low <= 30 <= scale.high for scale in scales])
    assert 0.92 < covered < 0.975  # 95 %, standard error .8 % over 800


@pytest.mark.parametrize("num_parts", [8, 16])
def test_the_interval_of_parts_covers_the_truth(num_parts):
    rng = np.random.default_rng(3)
    found = [parts_of(examples(rng, 512), num_parts) for _ in range(800)]
    assert 0.925 < np.mean([each.scale.low <= 30 <= each.scale.high for each in found]) < 0.985
    for of, true in (("noise", TRACE), ("signal", TRACE / 30)):
        values = np.array([getattr(each, of) for each in found])
        assert abs(values.mean() - true) < 3.5 * values.std() / math.sqrt(800)


def test_most_of_a_population_tells_more_of_it_than_of_where_it_comes_from():
    rng = np.random.default_rng(4)
    covered, widths = [], []
    for _ in range(400):
        population = examples(rng, 480)
        trace = squared(population - population.mean(axis=0)).sum() / 479
        true = trace / squared(population.mean(axis=0))
        finite, infinite = (parts_of(population[:400], 16, population=size).scale for size in (480, math.inf))
        covered.append(finite.low <= true <= finite.high)
        widths.append((finite.high - finite.low) / (infinite.high - infinite.low))
    assert 0.925 < np.mean(covered) <= 0.99
    assert np.median(widths) < 0.8


def test_single_examples_of_the_whole_population_leave_no_doubt():
    population = examples(np.random.default_rng(5), 301)
    parts = np.array_split(population, 7)
    norms = np.array([squared(part).mean() for part in parts])
    found = parts_of(population, 7, population=301, squared_norms=norms)
    trace, full = squared(population - population.mean(axis=0)).sum() / 300, squared(population.mean(axis=0))
    assert (found.noise, found.signal) == pytest.approx((trace, full), rel=1e-12)
    assert found.scale.value == pytest.approx(trace / full, rel=1e-12)
    assert found.standard_error == pytest.approx(0, abs=1e-9)
    sampled = parts_of(population, 7, squared_norms=norms)
    assert sampled.signal == pytest.approx(full - trace / 301, rel=1e-12)  # |mean g|^2 has tr(Sigma)/N in it
    assert 0 < sampled.standard_error < sampled.scale.value


def test_the_standard_error_is_the_spread_over_repetitions():
    rng = np.random.default_rng(6)
    found = []
    for _ in range(400):
        sample = examples(rng, 1024)
        norms = np.array([squared(part).mean() for part in np.array_split(sample, 32)])
        found.append(parts_of(sample, 32, squared_norms=norms))
    spread = np.std([each.scale.value for each in found])
    assert np.median([each.standard_error for each in found]) == pytest.approx(spread, rel=0.15)


def test_without_a_signal_the_interval_is_open_above():
    rng = np.random.default_rng(7)
    found = [parts_of(examples(rng, 512) - MEAN, 16) for _ in range(300)]
    assert np.mean([math.isinf(each.scale.high) for each in found]) > 0.93
    assert 0.3 < np.mean([math.isinf(each.scale.value) for each in found]) < 0.7
    none = next(each for each in found if math.isinf(each.scale.value))
    assert none.signal <= 0
    assert "no signal" in none.reason
    assert 0 < none.scale.low < math.inf


def test_what_cannot_be_told_is_nan_with_a_reason():
    for noise, signal, reason in (([1.0, math.nan], [1.0, 1.0], "finite"), ([0.0, 0.0], [1.0, 1.0], "no noise")):
        found = noise_scale(noise, signal)
        assert math.isnan(found.scale.value)
        assert reason in found.reason
    assert "two examples" in of_parts(np.ones((1, 1)), [5]).reason
    one = noise_scale([2.0], [0.5])
    assert (one.scale.value, one.reason) == (4, "")
    assert math.isnan(one.scale.low)
    assert math.isnan(one.scale.high)


def test_the_variance_law_is_that_of_draws_without_replacement():
    rng = np.random.default_rng(8)
    population = examples(rng, 30)
    full, trace = population.mean(axis=0), squared(population - population.mean(axis=0)).sum() / 29
    orders = np.argsort(rng.random((20_000, 30)), axis=1)
    for size in (1, 5, 29, 30):
        distances = squared(population[orders[:, :size]].mean(axis=1) - full)
        assert distances.mean() == pytest.approx(variance_law(size, trace, 30), rel=0.02, abs=1e-12)


def test_the_slope_of_the_law_is_minus_one_and_its_interval_has_it():
    sizes = np.array([1, 4, 16, 64])
    exact = fit_slope(sizes, [np.full(50, variance_law(size, 3.0)) for size in sizes])
    assert (exact.value, exact.low, exact.high) == pytest.approx((-1, -1, -1))
    rng = np.random.default_rng(9)
    drawn = fit_slope(sizes, [squared(examples(rng, 400, size).mean(axis=1) - MEAN) for size in sizes])
    assert drawn.low <= -1 <= drawn.high
    assert drawn.high - drawn.low < 0.05
    assert fit_slope(sizes, [np.full(50, variance_law(size, 3.0, 80)) for size in sizes]).value < -1.2


def test_the_cosine_law_is_that_of_noise_in_every_direction():
    rng, dimension = np.random.default_rng(10), 2000
    full = np.full(dimension, math.sqrt(1 / 30))
    for size in (4, 30, 200):
        batches = full + rng.standard_normal((400, dimension)) / math.sqrt(size)
        cosines = (batches @ full) ** 2 / (squared(batches) * squared(full))
        assert cosines.mean() == pytest.approx(float(cosine_law(size, 30.0)), abs=0.01)  # 1/2000 of noise lies along G
    assert cosine_law(30, 30.0) == 0.5
    assert cosine_law(100, 30.0, 100) == 1

"""The time-optimal batch size: closed form, accumulation, limits, and intervals from what is known."""

import math

import numpy as np
import pytest

from batchlab.laws.estimate import Estimate
from batchlab.laws.optimum import Costs, best_batch_size, good_range, limits_of, of_noise, seconds_to_target


def costs(alpha=1e-3, beta=1e-5, critical=900.0, num_draws=1, floor=0.0, **limits) -> Costs:
    ones = np.ones(num_draws)
    return Costs(alpha * ones, beta * ones, floor * ones, critical * ones, 10_000 * ones, **limits)


def test_the_closed_form_is_the_minimum_of_the_product():
    sizes = np.arange(1.0, 5000.0)
    seconds = 10_000 * (1 + sizes / 900) / sizes * (1e-3 + 1e-5 * sizes)
    assert best_batch_size(costs()).value == pytest.approx(sizes[seconds.argmin()], abs=1)
    assert best_batch_size(costs()).value == pytest.approx(math.sqrt(900 * 100))
    assert seconds_to_target(costs(), 300).value == pytest.approx(seconds[299])


def test_what_does_not_fit_is_accumulated():
    """Parts of 50: overhead comes again with each, so that only the optimizer's own share speaks for more parts."""
    known = costs(largest_part=50, largest_batch=5000)
    step = known.step_seconds(np.array([50.0, 51.0, 100.0, 150.0]))[0]
    assert step == pytest.approx([1.5e-3, 2.51e-3, 3e-3, 4.5e-3])
    assert best_batch_size(known).value == 50
    with_update = costs(largest_part=50, largest_batch=5000, update_seconds=0.9e-3)
    best = best_batch_size(with_update).value
    assert best == 250  # the whole part nearest to sqrt(900 * 0.9e-3 / (1e-5 + 0.1e-3 / 50)) = 260
    for size in (50, 100, 150, 200, 250, 300, 1000):
        assert seconds_to_target(with_update, best).value <= seconds_to_target(with_update, size).value


def test_on_the_floor_a_larger_batch_is_free():
    """Floor of 6 ms: the knee is at 500, above sqrt(900 * 100) = 300."""
    floored = costs(floor=6e-3)
    assert best_batch_size(floored).value == pytest.approx(500)
    sizes = np.array([100.0, 300.0, 499.0, 500.0, 600.0, 1000.0])
    seconds = floored.seconds(sizes)[0]
    assert sizes[seconds.argmin()] == 500
    assert floored.step_seconds(sizes)[0] == pytest.approx([6e-3, 6e-3, 6e-3, 6e-3, 7e-3, 11e-3])
    assert best_batch_size(costs(floor=6e-3, largest_batch=400)).value == pytest.approx(400, rel=0.02)
    assert best_batch_size(costs(floor=3e-3)).value == pytest.approx(300)  # the knee, 200, lies below
    assert costs(floor=6e-3, largest_part=100).step_seconds(np.array([200.0]))[0] == pytest.approx([12e-3])
    assert limits_of(floored, 500) == ["noise"]
    assert limits_of(floored, 200) == ["overhead"]


def test_the_data_limit_the_batch():
    assert best_batch_size(costs(largest_batch=120)).value == 120


def test_the_noise_scale_alone_leaves_a_factor_of_three():
    draws = of_noise(Estimate(400, 390, 410))
    assert draws[0] == 400
    low, high = np.quantile(draws, [0.025, 0.975])
    assert high / 400 == pytest.approx(3, rel=0.15)
    assert 400 / low == pytest.approx(3, rel=0.15)
    wide = of_noise(Estimate(400, 100, math.inf))
    assert np.quantile(wide, 0.975) > high
    ones = np.ones(len(draws))
    star = best_batch_size(Costs(1e-3 * ones, 1e-5 * ones, 0 * ones, draws, ones))
    assert star.high / star.value == pytest.approx(math.sqrt(3), rel=0.1)


def test_a_range_of_batch_sizes_is_nearly_as_good():
    low, high = good_range(costs(largest_batch=100_000))
    best = seconds_to_target(costs(), 300).value
    assert low < 300 < high
    assert seconds_to_target(costs(), low).value <= 1.1 * best
    assert seconds_to_target(costs(), low - 5).value > 1.1 * best


@pytest.mark.parametrize(
    ("known", "batch_size", "words"),
    [
        (costs(alpha=1e-5), 100, ["work"]),
        (costs(alpha=1e-3, critical=1e6), 60, ["overhead"]),
        (costs(alpha=1e-3, critical=50), 71, ["overhead", "noise"]),
        (costs(alpha=1e-3, critical=1e5, largest_part=300), 300, ["memory"]),
    ],
)
def test_what_limits_is_said_in_words(known, batch_size, words):
    assert limits_of(known, batch_size) == words

import math

import numpy as np
import pytest

from batchlab.laws.memory_law import fit_memory


def test_a_straight_line_is_found_and_read_backwards():
    sizes = [1, 2, 4, 8, 16]
    law = fit_memory(sizes, [1e9 + 3e6 * size for size in sizes])
    assert law.fixed_bytes.value == pytest.approx(1e9, rel=1e-12)
    assert law.bytes_per_example.value == pytest.approx(3e6, rel=1e-9)  # small beside the fixed part: digits are lost
    assert law.r_squared == pytest.approx(1, abs=1e-12)
    assert law.size_within(1.3e9) == pytest.approx(100, rel=1e-9)
    assert law.size_within(0.9e9) == 0


def test_sizes_that_did_not_run_do_not_count():
    with_nan = fit_memory([1, 2, 4, 8], [10.0, 20.0, 40.0, math.nan])
    assert with_nan == fit_memory([1, 2, 4], [10.0, 20.0, 40.0])


def test_intervals_cover_the_truth_as_often_as_they_say():
    """95 % of 400 intervals, give or take 4 standard errors of sqrt(.05 * .95 / 400)."""
    random, sizes, covered = np.random.default_rng(0), 2.0 ** np.arange(8), 0
    for _ in range(400):
        law = fit_memory(sizes, 100 + 5 * sizes + random.normal(0, 10, len(sizes)))
        covered += law.bytes_per_example.low <= 5 <= law.bytes_per_example.high
    assert abs(covered / 400 - 0.95) < 0.044


def test_two_sizes_give_a_line_without_an_interval_and_one_gives_none():
    law = fit_memory([1, 3], [5.0, 9.0])
    assert (law.fixed_bytes.value, law.bytes_per_example.value) == pytest.approx((3, 2))
    assert math.isnan(law.bytes_per_example.low)
    with pytest.raises(ValueError, match="2 different sizes"):
        fit_memory([4, 4], [1.0, 2.0])


def test_memory_that_does_not_grow_has_no_ceiling():
    law = fit_memory([1, 2, 4], [7.0, 7.0, 7.0])
    assert (law.bytes_per_example.value, law.r_squared) == (0, 1)
    assert law.size_within(8) == math.inf

"""Power laws by least squares in logarithms."""

import math

import numpy as np
import pytest

from batchlab.laws.line import fit_power


def test_an_exact_law_is_found():
    law = fit_power([1, 10, 100], [2.0, 2.0 * 10**0.7, 2.0 * 10**1.4])
    assert law.exponent.value == pytest.approx(0.7)
    assert law.at(1000) == pytest.approx(2.0 * 10**2.1)


def test_the_interval_holds_the_exponent_nineteen_times_in_twenty():
    random, x = np.random.default_rng(0), np.geomspace(1, 1000, 6)
    laws = [fit_power(x, x**0.5 * np.exp(0.3 * random.standard_normal(6))) for _ in range(2000)]
    held = np.mean([law.exponent.low <= 0.5 <= law.exponent.high for law in laws])
    assert held == pytest.approx(0.95, abs=0.02)  # four standard errors of 2,000 draws


def test_the_best_of_a_grid_is_no_better_known_than_its_cell():
    x, width = np.array([32.0, 128.0, 512.0]), math.log(2)
    exponent = fit_power(x, x**0.5, [width] * 3).exponent
    error = width / math.sqrt(12) / math.sqrt(2 * math.log(4) ** 2)
    assert exponent.high - exponent.value == pytest.approx(1.959964 * error, rel=1e-5)


def test_two_points_have_no_interval_and_one_no_law():
    assert math.isnan(fit_power([1, 2], [1, 2]).exponent.low)
    with pytest.raises(ValueError, match="two different"):
        fit_power([2, 2], [1, 2])

import numpy as np
import pytest

from batchlab.report.step_time_table import scaling_in_words, scaling_of


def test_a_speed_up_is_the_median_ratio_within_blocks():
    """A load that slows a whole block down leaves its ratio as it is."""
    load = np.array([1.0, 3.0, 1.0, 10.0, 1.0])[:, None]
    alone, shared = load * [[2.0, 2.0]], load * [[4.0, 1.25]]
    found = scaling_of([8, 512], alone, shared, 2)
    slow, fast = found.speed_ups.values()
    assert (slow.value, fast.value) == pytest.approx((0.5, 1.6))
    assert (fast.low, fast.high) == pytest.approx((1.6, 1.6))
    assert scaling_in_words(found).startswith("2 processes are faster than one at B = 512: at most 1.6")
    assert "at none of these batch sizes" in scaling_in_words(scaling_of([8], alone[:, :1], shared[:, :1], 2))

import numpy as np
import pytest

from batchlab.laws.step_time import fit_step_time
from batchlab.report.step_time_panel import law_lines
from batchlab.report.step_time_table import (
    Series,
    floor_in_words,
    records_of,
    scaling_in_words,
    scaling_of,
    step_time_in_words,
)


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


def test_a_floor_is_said_with_its_knee():
    sizes = [128, 512, 2048, 8192, 32_768, 131_072]
    seconds = [max(7e-4, 6e-5 + 25e-9 * size) for size in sizes]
    law = fit_step_time(sizes, np.array([seconds, seconds]))
    first, second = step_time_in_words("", law)
    assert first.startswith("t(B) = max(c, α + β·B) from B = 128 to 131072")
    assert "no step takes less than c = 0.7 [0.7, 0.7] ms: up to B = 25,600 [25,600, 25,600]" in second
    lines = law_lines(law, 131_072)
    assert lines[0][1][0] == pytest.approx(7e-4)
    assert [record["what"] for record in records_of(Series("x", [], 2, law, [], {}, 1.0, 1.0, 9))][-2:] == [
        "x floor",
        "x knee",
    ]
    line = fit_step_time([8, 64], np.array([[1e-3, 2e-3]]))
    assert floor_in_words(line) == ""

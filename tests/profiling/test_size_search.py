"""The search over sizes as arithmetic: a made-up memory says what fits."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchlab.profiling.largest_batch import says
from batchlab.profiling.size_search import (
    RESOLUTION,
    Sizes,
    SizeTest,
    largest_fitting,
    next_size,
    search_sizes,
    smallest_failing,
)


def memory_for(largest: float):
    """A made-up memory in which exactly sizes up to `largest` fit, and the list of what was asked."""
    asked = []

    def measure(size: int) -> SizeTest:
        asked.append(size)
        return SizeTest(size, 1, float(size), size <= largest, "" if size <= largest else "too large", 0.0)

    return measure, asked


@given(largest=st.integers(1, 5000), maximum=st.integers(1, 5000), unit=st.sampled_from([1, 1, 2, 12, 32]))
def test_the_answer_was_tested_lies_within_the_maximum_and_is_the_largest_up_to_the_resolution(largest, maximum, unit):
    measure, asked = memory_for(largest)
    best = largest_fitting(search_sizes(measure, Sizes(unit, maximum, unit)))
    assert all(unit <= size <= maximum and size % unit == 0 for size in asked)
    assert len(asked) == len(set(asked)) <= 2 * math.log2(5000) + 2
    truth = min(largest, maximum) // unit * unit
    if truth == 0:
        assert best is None
    else:
        assert best is not None
        assert best.size in asked
        assert truth - max(unit, truth * RESOLUTION) < best.size <= truth
        assert best.size == truth or smallest_failing(search_sizes(measure, Sizes(unit, maximum, unit))) is not None


def test_doubling_never_skips_ahead_of_twice_what_fits():
    measure, asked = memory_for(100)
    search_sizes(measure, Sizes(1, 1000))
    assert asked[:8] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert all(size <= 2 * 64 for size in asked)


def test_the_maximum_itself_is_tested_and_nothing_above_it():
    measure, asked = memory_for(math.inf)
    best = largest_fitting(search_sizes(measure, Sizes(1, 65)))
    assert (best and best.size, asked) == (65, [1, 2, 4, 8, 16, 32, 64, 65])


def test_where_the_first_size_fails_nothing_else_is_tried():
    measure, asked = memory_for(1)
    assert largest_fitting(search_sizes(measure, Sizes(2, 64))) is None
    assert asked == [2]


def test_a_maximum_below_the_smallest_size_leaves_nothing_to_test():
    assert next_size([], Sizes(32, 31, 32)) is None


def test_a_size_that_failed_once_outweighs_larger_ones_that_fitted():
    tested = [SizeTest(size, 1, 1.0, fits, "", 0.0) for size, fits in [(4, True), (8, False), (16, True)]]
    best = largest_fitting(tested)
    assert best is not None
    assert best.size == 4
    assert next_size(tested, Sizes(1, 64)) == 6


def test_earlier_tests_are_not_repeated():
    measure, asked = memory_for(100)
    known = search_sizes(measure, Sizes(1, 1000))
    asked.clear()
    for maximum in (1000, 40, 97):
        best = largest_fitting(search_sizes(measure, Sizes(1, maximum), known))
        assert best is not None
        assert best.size >= min(maximum, 97)  # within 1/32 of 100
    assert asked == []


@pytest.mark.parametrize(
    ("num_parts", "fits", "asked", "is_said"),
    [(2, True, 1, True), (1, True, 2, False), (1, False, 2, True), (2, False, 1, False), (1, True, 1, True)],
)
def test_two_parts_that_fit_speak_for_one_and_one_that_does_not_for_two(num_parts, fits, asked, is_said):
    assert says(SizeTest(8, num_parts, 1.0, fits, "", 0.0), asked) is is_said

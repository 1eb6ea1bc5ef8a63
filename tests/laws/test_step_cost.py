"""Seconds of a step at any batch size, from made-up timings that follow a known law."""

import numpy as np
import pytest

from batchlab.laws.step_cost import Timed, blocks_of, extended, fit_step_cost

ALPHA, BETA = 2e-3, 1e-5
UPDATE, PART = 5e-4, 1.5e-3


def one_part(size, noise=0.0, blocks=20):
    draws = np.random.default_rng(size).normal(0, noise, blocks)
    return Timed(size, 1, ((ALPHA + BETA * size) * np.exp(draws)).tolist())


def parts(size, count):
    return Timed(size, count, [UPDATE + count * PART + BETA * size] * 5)


def test_the_line_comes_back_and_says_the_sizes_between():
    cost = fit_step_cost([one_part(size) for size in (8, 16, 32, 64, 128)])
    assert cost.alpha_seconds.value == pytest.approx(ALPHA)
    assert cost.beta_seconds.value == pytest.approx(BETA)
    assert cost.seconds(100) == pytest.approx(ALPHA + 100 * BETA)
    assert cost.seconds(3) == pytest.approx(ALPHA + 3 * BETA)


def test_intervals_of_noisy_timings_hold_the_truth():
    cost = fit_step_cost([one_part(size, noise=0.05) for size in (8, 32, 128, 512, 2048)])
    for found, truth in ((cost.alpha_seconds, ALPHA), (cost.beta_seconds, BETA)):
        assert found.low < truth < found.high
        assert found.high - found.low < 0.2 * truth


def test_sizes_beyond_the_line_are_read_off_between_those_that_were_timed():
    slow = [Timed(size, 1, [2 * (ALPHA + BETA * size)] * 5) for size in (2048, 4096)]
    cost = fit_step_cost([*(one_part(size) for size in (8, 32, 128, 512, 1024)), *slow])
    assert cost.seconds(1024) == pytest.approx(ALPHA + BETA * 1024)
    assert cost.seconds(2048) == pytest.approx(2 * (ALPHA + BETA * 2048))
    assert cost.seconds(3072) == pytest.approx(2 * (ALPHA + BETA * 3072))
    assert cost.seconds(8192) == pytest.approx(2 * cost.seconds(4096))


def test_no_step_takes_less_than_the_floor():
    sizes = [128, 512, 2048, 8192, 32_768, 131_072]
    cost = fit_step_cost([Timed(size, 1, [max(7e-4, 6e-5 + 25e-9 * size)] * 5) for size in sizes])
    assert cost.seconds(300) == pytest.approx(7e-4)
    assert cost.seconds(65_536) == pytest.approx(6e-5 + 25e-9 * 65_536)


def test_steps_in_several_parts_follow_their_own_law():
    timed = [one_part(size) for size in (8, 16, 32, 64)]
    timed += [parts(65, 2), parts(128, 2), parts(256, 4)]
    cost = fit_step_cost(timed)
    assert cost.update_seconds.value == pytest.approx(UPDATE)
    assert cost.part_seconds.value == pytest.approx(PART)
    assert cost.seconds(2048, 32) == pytest.approx(UPDATE + 32 * PART + 2048 * BETA)
    assert cost.seconds(64, 1) == pytest.approx(ALPHA + 64 * BETA)


def test_what_was_not_timed_is_not_known():
    assert fit_step_cost([]) is None
    assert fit_step_cost([one_part(8), one_part(16)]).seconds(128, 2) is None
    assert fit_step_cost([parts(128, 2)]).seconds(64) is None
    assert fit_step_cost([parts(128, 2)]).seconds(128, 2) == pytest.approx(UPDATE + 2 * PART + 128 * BETA)


def test_a_lone_size_is_known_at_itself():
    assert fit_step_cost([one_part(5)]).seconds(5) == pytest.approx(ALPHA + 5 * BETA)


def test_sizes_with_more_blocks_than_others_keep_their_median():
    blocks = blocks_of([Timed(8, 1, [1.0, 2.0, 3.0]), Timed(16, 1, [5.0, 1.0, 2.0, 3.0, 4.0])])
    assert blocks.shape == (3, 2)
    assert np.median(blocks, axis=0).tolist() == [2.0, 3.0]


def test_sizes_that_are_timed_later_change_nothing_that_was_told_before():
    known = [Timed(size, 1, [1e-3 + 1e-5 * size] * 5) for size in (8, 16, 32, 64)]
    cost = fit_step_cost(known)
    assert cost is not None
    slower = [Timed(size, 1, [3 * (1e-3 + 1e-5 * size)] * 5) for size in (64, 128, 256)]  # a busier hour
    longer = extended(cost, known, slower)
    for size in (8, 20, 64):
        assert longer.seconds(size) == cost.seconds(size)
    assert longer.seconds(128) == pytest.approx(1e-3 + 1e-5 * 128, rel=1e-6)
    assert longer.seconds(192) == pytest.approx(1e-3 + 1e-5 * 192, rel=1e-6)


def test_the_law_of_several_parts_is_added_to_that_of_one():
    known = [Timed(size, 1, [1e-3 + 1e-5 * size] * 5) for size in (8, 16, 32)]
    cost = fit_step_cost(known)
    assert cost is not None
    assert cost.seconds(64, 2) is None
    parts = [Timed(size, -(-size // 32), [5e-4 + 1e-3 * -(-size // 32) + 1e-5 * size] * 5) for size in (33, 64, 128)]
    longer = extended(cost, known, [known[-1], *parts])
    assert longer.seconds(16) == cost.seconds(16)
    assert longer.seconds(96, 3) == pytest.approx(5e-4 + 3e-3 + 96e-5, rel=1e-3)

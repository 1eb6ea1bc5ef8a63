"""The step-time law: refit of a published table, a known line, and the bend at the end of the caches."""

import math

import numpy as np
import pytest

from batchlab.laws.step_time import best_shape, crossing, crossing_of_table, fit_step_time

NUM_EXAMPLES, EPOCHS = 135_844, 50
SIZES = [100, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000, 135_844]
CPU = np.array([128.12, 75.07, 60.54, 54.33, 50.80, 51.04, 53.98, 53.30, 54.55, 53.13, 53.11, 52.63, 69.00])
GPU = np.array([522.08, 134.50, 85.05, 60.93, 51.55, 47.00, 44.81, 44.37, 42.49, 40.09, 40.22, 39.74, 35.23])
"""Seconds for 50 epochs of a 6x64 MLP, a post of 2017."""


def per_step(seconds: np.ndarray) -> np.ndarray:
    """One block of seconds per step, with N/B steps in an epoch, not rounded."""
    return (seconds / EPOCHS / NUM_EXAMPLES * np.array(SIZES))[None, :]


def test_the_published_gpu_row_is_a_line():
    law = fit_step_time(SIZES, per_step(GPU))
    assert law.alpha_seconds.value == pytest.approx(7.28e-3, rel=0.01)
    assert law.beta_seconds.value == pytest.approx(5.15e-6, rel=0.01)
    assert law.r_squared >= 0.999
    assert (law.largest, law.beyond) == (135_844, ())
    assert law.knee is None


def test_the_published_cpu_row_is_a_line_up_to_10_000_and_the_full_batch_lies_beyond():
    law = fit_step_time(SIZES, per_step(CPU))
    assert law.alpha_seconds.value == pytest.approx(1.18e-3, rel=0.01)
    assert law.beta_seconds.value == pytest.approx(7.60e-6, rel=0.01)
    assert law.r_squared == pytest.approx(0.982, abs=0.001)
    assert law.largest == 10_000
    [(size, ratio)] = law.beyond
    assert size == 135_844
    assert ratio == pytest.approx(1.33, abs=0.02)


def test_the_crossing_by_the_law_and_by_the_table():
    cpu, gpu = fit_step_time(SIZES, per_step(CPU)), fit_step_time(SIZES, per_step(GPU))
    assert crossing(cpu, gpu).value == pytest.approx(2490, rel=0.01)
    assert crossing_of_table(SIZES, CPU, GPU) == pytest.approx(3157, abs=1)
    print(f"crossing by the law {crossing(cpu, gpu)}, by the table {crossing_of_table(SIZES, CPU, GPU):.0f}")


def test_two_devices_of_which_one_is_always_faster_do_not_cross():
    sizes = [10, 100, 1000]
    slow = fit_step_time(sizes, np.array([[2e-3 + 2e-6 * size for size in sizes]]))
    fast = fit_step_time(sizes, np.array([[1e-3 + 1e-6 * size for size in sizes]]))
    assert math.isnan(crossing(slow, fast).value)
    assert math.isnan(crossing_of_table([1, 2], np.array([2.0, 2.0]), np.array([1.0, 1.0])))


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_known_line_is_found_within_its_interval(noise):
    sizes, random = [16, 64, 256, 1024, 4096], np.random.default_rng(1)
    truth = np.array([1e-3 + 2e-6 * size for size in sizes])
    law = fit_step_time(sizes, truth * (1 + noise * random.standard_normal((30, len(sizes)))))
    slack = 1e-9
    assert law.alpha_seconds.low - slack <= 1e-3 <= law.alpha_seconds.high + slack
    assert law.beta_seconds.low - slack <= 2e-6 <= law.beta_seconds.high + slack
    assert law.half_speed.value == pytest.approx(500, rel=0.1)
    assert law.seconds(512).value == pytest.approx(2.024e-3, rel=0.02)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Of 40 repetitions 38 are expected; fewer than 34 come by chance once in 70."""
    sizes, random, hits = [16, 64, 256, 1024, 4096], np.random.default_rng(2), 0
    truth = np.array([1e-3 + 2e-6 * size for size in sizes])
    for _ in range(40):
        law = fit_step_time(sizes, truth * np.exp(0.1 * random.standard_normal((20, len(sizes)))))
        hits += law.alpha_seconds.low <= 1e-3 <= law.alpha_seconds.high
    assert hits >= 34


FLOORED = [2**power for power in range(7, 18)]


def floored_blocks(random: np.random.Generator, noise: float) -> np.ndarray:
    """Twenty blocks of a device that a host keeps waiting: max(700 µs, 60 µs + 25 ns B)."""
    truth = np.maximum(700e-6, 60e-6 + 25e-9 * np.array(FLOORED))
    return truth * np.exp(noise * random.standard_normal((20, len(FLOORED))))


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.1])
def test_where_the_host_is_slower_than_its_device_the_law_has_a_floor_and_a_knee(noise):
    law = fit_step_time(FLOORED, floored_blocks(np.random.default_rng(3), noise))
    assert law.beta_seconds.value == pytest.approx(25e-9, rel=0.1)
    assert law.floor_seconds.value == pytest.approx(700e-6, rel=0.1)
    assert law.knee.value == pytest.approx(25_600, rel=0.1)
    assert law.half_speed.value == pytest.approx(14_000, rel=0.1)  # in 700 µs: half of one in 25 ns
    assert law.seconds(1000).value == law.floor_seconds.value
    assert law.seconds(100_000).value == pytest.approx(2.56e-3, rel=0.1)
    assert (law.smallest, law.largest, law.beyond) == (128, 131_072, ())


@pytest.mark.slow
def test_intervals_of_slope_floor_and_knee_cover_the_truth():
    random, hits = np.random.default_rng(4), np.zeros(3)
    for _ in range(100):
        law = fit_step_time(FLOORED, floored_blocks(random, 0.05))
        found = (law.beta_seconds, law.floor_seconds, law.knee)
        hits += [each.low <= truth <= each.high for each, truth in zip(found, (25e-9, 700e-6, 25_600), strict=True)]
    print(f"beta, floor and knee are covered in {hits} of 100 simulations")
    assert hits.min() >= 90


def test_a_line_has_no_floor_however_noisy():
    sizes, random, num_floors = [2**power for power in range(3, 14)], np.random.default_rng(5), 0
    truth = np.array([1e-3 + 2e-6 * size for size in sizes])
    for _ in range(200):
        seconds = truth * np.exp(0.02 * random.standard_normal(len(sizes)))
        num_floors += best_shape(np.array(sizes, dtype=float), seconds).start > 0
    assert num_floors <= 2


def test_four_sizes_are_too_few_for_a_floor_and_its_interval_has_its_value():
    assert fit_step_time([8, 16, 4096, 8192], np.array([[1e-3, 1e-3, 2e-3, 4e-3]])).knee is None
    seconds = [1.0e-3, 1.1e-3, 2e-3, 4e-3, 8e-3, 16e-3]
    law = fit_step_time([64, 128, 2048, 4096, 8192, 16_384], np.array([seconds]))
    assert law.floor_seconds.low <= law.floor_seconds.value <= law.floor_seconds.high
    assert law.floor_seconds.high > law.floor_seconds.low


def test_a_floor_and_sizes_beyond_are_found_together():
    seconds = np.maximum(700e-6, 60e-6 + 25e-9 * np.array(FLOORED))
    seconds[-1] *= 1.5
    law = fit_step_time(FLOORED, seconds[None, :])
    assert (law.knee.value, law.beyond) == (pytest.approx(25_600), ((131_072, pytest.approx(1.5)),))


def test_devices_cross_on_floors_and_on_lines():
    fast = fit_step_time(FLOORED, floored_blocks(np.random.default_rng(6), 0.0))
    slow = fit_step_time([16, 64, 256, 1024, 4096, 131_072], np.array([[1e-4 + 1e-6 * size for size in
                          (16, 64, 256, 1024, 4096, 131_072)]]))  # fmt: skip
    assert crossing(slow, fast).value == pytest.approx(600, rel=0.01)  # 100 µs + 600 µs is the floor


def test_a_bend_is_named_and_not_averaged_away():
    sizes = [32, 128, 512, 2048, 8192, 32_768, 131_072]
    seconds = [1e-3 + 2e-6 * size for size in sizes]
    seconds[5:] = [seconds[5] * 1.3, seconds[6] * 2.4]
    law = fit_step_time(sizes, np.array([seconds]))
    assert law.largest == 8192
    assert [size for size, _ in law.beyond] == [32_768, 131_072]
    assert law.beta_seconds.value == pytest.approx(2e-6, rel=1e-6)


def test_sizes_that_are_nearly_all_overhead_do_not_call_the_others_slow():
    sizes = [8, 16, 32, 64, 128, 256, 512, 1024]
    milliseconds = [2.25, 2.29, 2.40, 2.43, 3.33, 4.90, 6.54, 10.2]
    assert fit_step_time(sizes, np.array([milliseconds]) / 1e3).beyond == ()


def test_a_slow_size_in_the_middle_is_no_bend():
    sizes = [32, 128, 512, 2048, 8192]
    seconds = [1e-3 + 2e-6 * size for size in sizes]
    seconds[2] *= 1.5
    assert fit_step_time(sizes, np.array([seconds])).beyond == ()


def test_two_sizes_are_a_line_and_one_is_not():
    law = fit_step_time([100, 200], np.array([[2e-3, 3e-3]]))
    assert (law.alpha_seconds.value, law.beta_seconds.value) == pytest.approx((1e-3, 1e-5))
    assert math.isnan(law.r_squared)
    with pytest.raises(ValueError, match="two batch sizes"):
        fit_step_time([100, 100], np.array([[1.0, 1.0]]))

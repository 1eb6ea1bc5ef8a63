"""Sizes against the line through their neighbours: the law's own slope is no difference, a step of 5 % is one."""

import numpy as np
import pytest
from scipy import stats

from batchlab.laws.equivalence import holm, judge_sizes, local_residuals, trimmed_mean

SIZES = list(range(112, 145))


def times(noise: float, num_blocks: int = 40, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    truth = np.array([1e-3 + 1e-5 * size for size in SIZES])
    drift = 1 + 0.5 * random.random((num_blocks, 1))  # a block that is slow is slow for all
    return truth * drift * np.exp(noise * random.standard_normal((num_blocks, len(SIZES))))


def test_sizes_on_a_line_are_equal_though_raw_times_differ():
    blocks = times(noise=0.01)
    assert blocks[0, 20] / blocks[0, 0] > 1.05
    verdicts = judge_sizes(SIZES, blocks)
    assert {verdict.said for verdict in verdicts} == {"equal"}


def test_one_slow_size_is_different_by_what_it_is_slower():
    blocks = times(noise=0.01)
    blocks[:, SIZES.index(129)] *= 1.06
    verdicts = {verdict.batch_size: verdict for verdict in judge_sizes(SIZES, blocks)}
    assert verdicts[129].said == "different"
    assert verdicts[129].residual.low < 0.06 < verdicts[129].residual.high
    assert verdicts[129].in_words.startswith("different by +")
    assert verdicts[115].said == "equal"


def test_noise_is_neither_equality_nor_difference():
    said = [verdict.said for verdict in judge_sizes(SIZES, times(noise=0.3, num_blocks=20))]
    assert said.count("not enough data") >= len(said) - 1


def test_a_few_spoilt_blocks_do_not_change_the_verdict():
    blocks = times(noise=0.01)
    blocks[:3, SIZES.index(128)] *= 5
    verdicts = {verdict.batch_size: verdict for verdict in judge_sizes(SIZES, blocks)}
    assert verdicts[128].said == "equal"


def test_a_size_without_three_neighbours_gets_no_verdict():
    assert local_residuals([100, 200, 205, 210, 215], np.ones((10, 5))).keys() == {200, 205, 210, 215}
    assert judge_sizes([32, 64, 128], np.ones((10, 3))) == []


def test_a_line_leaves_no_residual():
    blocks = np.array([[1.0 + 0.1 * size for size in SIZES]])
    assert np.abs(np.concatenate(list(local_residuals(SIZES, blocks).values()))).max() < 1e-12


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])


def test_without_anything_to_trim_it_is_the_t_test():
    values = np.random.default_rng(0).standard_normal(9)
    mean, error, freedom = trimmed_mean(values)
    assert (mean, freedom) == (pytest.approx(values.mean()), 8)
    assert mean / error == pytest.approx(stats.ttest_1samp(values, 0).statistic)

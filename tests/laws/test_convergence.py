"""The convergence law: MLPerf's reference convergences, known laws, censoring."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from batchlab.laws.convergence import fit_convergence, olympic_mean, pooled_spread, usable

RCP = Path(__file__).parent / "mlperf_rcp"
"""Training reference convergence points of mlcommons/logging."""


def reference_runs(task: str) -> dict[int, list[float]]:
    text = re.sub(r"//.*", "", (RCP / f"rcps_{task}.json").read_text())
    points = json.loads(re.sub(r",(\s*[}\]])", r"\1", text))
    return {point["BS"]: point["Epochs to converge"] for point in points.values()}


@pytest.mark.parametrize(
    ("task", "critical", "explained"), [("resnet", 46_800, 0.991), ("rnnt", 3590, 0.997), ("bert", 12_000, 0.948)]
)
def test_mlperf_reference_convergences(task, critical, explained):
    law = fit_convergence(reference_runs(task))
    assert law.critical_batch_size.value == pytest.approx(critical, rel=0.02)
    assert law.r_squared == pytest.approx(explained, abs=0.002)
    assert law.critical_batch_size.low < critical < law.critical_batch_size.high
    print(f"{task}: B_crit {law.critical_batch_size}, R2 {law.r_squared:.4f}")


def runs_of(least: float, critical: float, spread: float, num_runs: int, seed: int = 0) -> dict[int, list[float]]:
    random = np.random.default_rng(seed)
    sizes = [16, 64, 256, 1024, 4096]
    return {b: list(least * (1 + b / critical) * np.exp(spread * random.standard_normal(num_runs))) for b in sizes}


def test_a_known_law_is_found_exactly_without_noise():
    law = fit_convergence(runs_of(3.0, 900, 0.0, 3))
    assert (law.min_examples.value, law.critical_batch_size.value) == pytest.approx((3.0, 900))
    assert law.min_steps.value == pytest.approx(3.0 / 900)
    assert law.examples(900).value == pytest.approx(6.0)


@pytest.mark.parametrize("num_runs", [1, 3, 8])
def test_intervals_cover_the_truth(num_runs):
    """Of 20 repetitions 19 are expected; 16 and fewer come by chance once in 60."""
    hits = 0
    for seed in range(20):
        law = fit_convergence(runs_of(3.0, 900, 0.08, num_runs, seed))
        hits += law.critical_batch_size.low <= 900 <= law.critical_batch_size.high
    assert hits >= 16


def test_a_size_that_missed_the_target_bends_the_law_only_where_it_must():
    runs = runs_of(3.0, 900, 0.0, 3)
    cut = runs | {4096: [math.nan] * 3}
    known = fit_convergence(cut, {4096: 10.0})  # the truth there is 16.7: nothing to correct
    assert known.critical_batch_size.value == pytest.approx(900)
    assert (known.censored, 4096 in known.means) == ({4096: 10.0}, False)
    more = fit_convergence(cut, {4096: 40.0})
    assert more.critical_batch_size.value < 700
    assert more.examples(4096).value > known.examples(4096).value


def test_one_missed_run_of_five_is_the_slowest_and_two_censor_the_size():
    assert olympic_mean(usable([1.0, 2.0, 3.0, 4.0, math.nan])) == 3.0
    assert usable([1.0, 2.0, 3.0, math.nan, math.nan]) is None
    assert usable([1.0, math.nan]) is None


def test_examples_that_do_not_grow_have_no_critical_batch_size():
    law = fit_convergence({16: [3.0, 3.1], 64: [3.1, 3.0], 256: [2.9, 2.9]})
    assert law.critical_batch_size.value == math.inf
    assert law.critical_batch_size.low < math.inf


def test_one_batch_size_is_no_law():
    with pytest.raises(ValueError, match="1 of 2 did"):
        fit_convergence({16: [3.0], 64: [math.nan]}, {64: 10.0})


def test_the_spread_is_pooled_over_sizes():
    spread = pooled_spread([np.array([0.9, 1.1]), np.array([1.8, 2.2])])
    assert spread == pytest.approx(math.sqrt(2 * 0.01 * 2 / 2))

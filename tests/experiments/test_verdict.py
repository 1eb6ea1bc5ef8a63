"""Verdicts: what an interval says of a region, and that broken numbers flip it."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from batchlab.experiments.arm_results import Arm, MeasuredRun, Statistic, compute, first_crossing, read_at
from batchlab.experiments.experiment import Check
from batchlab.experiments.verdict import CONTRADICTED, LEVEL, OPEN, SUPPORTED, judge

CURVE = {
    "steps": np.array([10.0, 20.0, 30.0, 40.0]),
    "progress/epochs": np.array([1.0, 2.0, 3.0, 4.0]),
    "val/accuracy": np.array([0.5, 0.7, 0.9, 0.9]),
}


def arm(name, *values, metric="final/test_accuracy", batch_size=64, outcome="done", curve=None):
    runs = [
        MeasuredRun({"batch_size": batch_size, "lr": 0.1}, {metric: value}, outcome, lambda: curve or {})
        for value in values
    ]
    return Arm(name, [runs])


def check(**keys):
    given: dict[str, Any] = {
        "name": "asked",
        "statistic": "difference",
        "metric": "final/test_accuracy",
        "of": "a",
        "minus": "b",
    }
    return Check(**given | keys)


def said(asked, *arms):
    return judge(asked, compute(asked, {each.name: each for each in arms})).conclusion


def test_breaking_the_numbers_flips_the_verdict():
    asked = check(above=0.01)
    good, bad = arm("a", 0.86, 0.862, 0.859), arm("b", 0.78, 0.781, 0.783)
    assert said(asked, good, bad) == SUPPORTED
    assert said(asked, arm("a", 0.70, 0.702, 0.699), bad) == CONTRADICTED
    assert said(asked, arm("a", 0.86, 0.70, 0.859), bad) == OPEN


@pytest.mark.parametrize(
    ("keys", "values", "verdict"),
    [
        ({"above": 0.0, "minus": None}, [1.0, 1.1, 0.9], SUPPORTED),
        ({"below": 0.0, "minus": None}, [1.0, 1.1, 0.9], CONTRADICTED),
        ({"above": -1.03, "below": -0.97, "minus": None}, [-1.0, -1.001, -0.999], SUPPORTED),
        ({"above": -1.03, "below": -0.97, "minus": None}, [-1.2, -1.201, -1.199], CONTRADICTED),
        ({"statistic": "equivalence", "margin": 0.005, "minus": None}, [0.0005, -0.0005, 0.0], SUPPORTED),
        ({"statistic": "equivalence", "margin": 0.005, "minus": None}, [0.02, 0.021, 0.019], CONTRADICTED),
        ({"statistic": "equivalence", "margin": 0.005, "minus": None}, [0.004, -0.004, 0.005], OPEN),
    ],
)
def test_supported_means_that_the_interval_lies_in_the_region(keys, values, verdict):
    asked = check(**keys)
    found = judge(asked, compute(asked, {"a": arm("a", *values)}))
    assert found.conclusion == verdict
    low = keys.get("above", -keys.get("margin", math.inf))
    high = keys.get("below", keys.get("margin", math.inf))
    assert (verdict == SUPPORTED) == (low < found.look.low and found.look.high < high)
    assert (verdict == CONTRADICTED) == (found.look.high < low or found.look.low > high)


def test_the_interval_of_a_look_is_that_of_scipy():
    values = np.array([0.1, 0.3, 0.2, 0.25, 0.15, 0.2])
    asked = check(above=0.0, minus=None)
    found = judge(asked, Statistic(values[:, None], values[:, None]))
    for interval, alpha in ((found.look, LEVEL), (found.effect, 0.05)):
        low, high = stats.t.interval(1 - alpha, 5, values.mean(), stats.sem(values))
        assert (interval.low, interval.high) == pytest.approx((low, high))
    _, p = stats.ttest_1samp(values, 0.0)
    assert found.p == pytest.approx(p)


def test_four_looks_at_nothing_find_something_in_at_most_five_of_a_hundred():
    """A claim of an effect that is exactly its threshold, looked at four times: false verdicts stay below 5 %."""
    source, asked, config_error = np.random.default_rng(0), check(above=0.0, minus=None), 0
    for _ in range(500):
        values = source.normal(size=24)
        looks = (judge(asked, Statistic(values[:n, None], values[:n, None])).conclusion for n in (3, 6, 12, 24))
        config_error += any(each != OPEN for each in looks)
    assert config_error <= 35  # 25 expected at most; 2 standard errors are 10


def test_a_ratio_is_judged_on_the_log_scale_and_shown_as_it_is():
    asked = check(statistic="ratio", above=2.0)
    found = judge(asked, compute(asked, {"a": arm("a", 8.0, 8.2, 7.9), "b": arm("b", 2.0, 2.0, 2.0)}))
    assert found.conclusion == SUPPORTED
    assert found.effect.value == pytest.approx((4.0 * 4.1 * 3.95) ** (1 / 3))


def test_a_share_of_a_gap_is_what_lies_above_the_baseline():
    asked = check(statistic="ratio", baseline="c", above=0.6)
    arms = {"a": arm("a", 0.85, 0.86), "b": arm("b", 0.86, 0.86), "c": arm("c", 0.80, 0.82)}
    assert compute(asked, arms).low[:, 0] == pytest.approx([5 / 6, 1.0])


def test_an_ordering_holds_only_where_every_gap_does():
    asked = check(statistic="ordering", of=["a", "b", "c"], minus=None, above=0.0)
    a, b, c = arm("a", 3.0, 3.1, 2.9), arm("b", 2.0, 2.1, 2.05), arm("c", 1.0, 1.02, 0.97)
    assert said(asked, a, b, c) == SUPPORTED
    assert said(check(statistic="ordering", of=["a", "c", "b"], minus=None, above=0.0), a, b, c) == CONTRADICTED


def test_a_slope_is_that_of_the_logarithms():
    asked = check(statistic="slope", of=["a", "b", "c"], minus=None, metric="final/x", above=0.4, below=0.6)
    arms = [arm(name, *[size**0.5 * k for k in (1, 2, 3)], metric="final/x", batch_size=size)
            for name, size in (("a", 16), ("b", 64), ("c", 256))]  # fmt: skip
    assert compute(asked, {each.name: each for each in arms}).low[:, 0] == pytest.approx([0.5] * 3)


def test_a_law_is_fitted_to_each_seed():
    asked = check(statistic="law", law="convergence", of=["a", "b", "c"], minus=None, metric="final/x",
                  parameter="critical_batch_size", above=0)  # fmt: skip
    arms = [arm(name, *[1000 * k * (1 + size / 500) for k in (1, 2)], metric="final/x", batch_size=size)
            for name, size in (("a", 16), ("b", 256), ("c", 4096))]  # fmt: skip
    assert compute(asked, {each.name: each for each in arms}).low[:, 0] == pytest.approx([500, 500], rel=1e-6)


def test_a_target_that_was_not_reached_bounds_from_one_side_only():
    never = CURVE | {"val/accuracy": np.array([0.1, 0.2, 0.3, 0.4])}
    asked = check(statistic="ratio", metric="target/steps", target=0.8)
    reached, missed = arm("b", 1, 1, 1, curve=CURVE), arm("a", 1, 1, 1, curve=never)
    bounds = compute(asked, {"a": missed, "b": reached})
    assert np.exp(bounds.low[:, 0]) == pytest.approx([40 / 25] * 3)
    assert bounds.high[:, 0] == pytest.approx([math.inf] * 3)
    assert said(check(statistic="ratio", metric="target/steps", target=0.8, above=1.2), missed, reached) == SUPPORTED
    assert said(check(statistic="ratio", metric="target/steps", target=0.8, below=5.0), missed, reached) == OPEN


def test_a_target_lies_between_the_evaluations_around_it():
    assert first_crossing(CURVE, 0.8, "steps") == (25.0, 25.0)
    assert first_crossing(CURVE, 0.95, "epochs") == (4.0, math.inf)
    assert read_at(CURVE, "val/accuracy", "epochs", 1.5) == pytest.approx(0.6)
    assert math.isnan(read_at(CURVE, "val/accuracy", "epochs", 9.0))


def test_a_diverged_run_counts_as_the_check_says():
    diverged = arm("a", math.nan, math.nan, math.nan, outcome="diverged")
    better = arm("b", 0.8, 0.81, 0.8)
    assert said(check(above=0.0), diverged, better) == OPEN
    assert said(check(above=0.0, failed=0.1), diverged, better) == CONTRADICTED


def test_the_setting_of_an_arm_is_chosen_on_another_metric():
    def runs(lr, val, test):
        return [MeasuredRun({"lr": lr}, {"final/val_accuracy": val, "final/test_accuracy": test}, "done", dict)
                for _ in range(3)]  # fmt: skip

    tuned = Arm("a", [runs(0.1, 0.8, 0.9), runs(0.2, 0.85, 0.7)])
    assert tuned.censored_bounds(check(tune="final/val_accuracy"))[:, 0] == pytest.approx([0.7] * 3)
    assert tuned.censored_bounds(check(where={"lr": 0.1}))[:, 0] == pytest.approx([0.9] * 3)
    with pytest.raises(ValueError, match="2 settings of the arm a fit"):
        tuned.censored_bounds(check())


def test_a_curve_is_read_at_a_place_or_as_a_mean_between_two():
    assert read_at(CURVE, "val/accuracy", "steps", 20, 40) == pytest.approx(2.5 / 3)
    assert math.isnan(read_at(CURVE, "val/accuracy", "steps", 41, 50))


def test_the_best_setting_is_chosen_by_what_a_curve_says_at_the_place_of_the_check():
    worse = CURVE | {"val/accuracy": CURVE["val/accuracy"] - 0.1}
    settings = [
        [MeasuredRun({"lr": lr}, {}, "done", lambda curve=curve: curve)] for lr, curve in ((1, worse), (2, CURVE))
    ]
    asked = check(metric="val/accuracy", tune="val/accuracy", at={"epochs": 2.0})
    assert Arm("a", settings).chosen(asked)[0].params == {"lr": 2}

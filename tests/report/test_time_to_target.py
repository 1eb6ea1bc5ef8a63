"""What runs with a target say of convergence: the best setting of each batch size, the law, what missed."""

import math

import pytest

from batchlab.report.time_to_target import convergence_in_words, draw_targets, targets_of


def run(size, examples, key="a", seen=1e5, outcome="done"):
    steps = examples / size
    metrics = {"target/examples": examples, "target/epochs": examples / 1000, "target/steps": steps}
    metrics |= {"target/seconds": examples / 1e4, "cost/num_examples": seen}
    return {"params": {"batch_size": str(size)}, "metrics": metrics,
            "tags": {"config_key": f"{key}{size}", "outcome": outcome}}  # fmt: skip


def law(size):
    return 3000 * (1 + size / 900)


SIZES = (16, 128, 1024)


def test_the_best_setting_of_each_batch_size_makes_the_law():
    runs = [run(size, law(size) * factor, key) for size in SIZES for key, factor in (("a", 1.0), ("b", 1.7))]
    targets = targets_of(runs)
    assert targets.num_settings == 2
    assert targets.law.critical_batch_size.value == pytest.approx(900)
    assert targets.law.min_examples.value == pytest.approx(3000)
    assert "B_crit 900" in convergence_in_words(targets)[0]


def test_one_setting_each_is_said():
    assert "One learning rate" in convergence_in_words(targets_of([run(size, law(size)) for size in SIZES]))[-1]


def test_a_size_that_missed_is_censored_and_stands_in_the_table():
    targets = targets_of([run(16, law(16)), run(128, law(128)), run(1024, math.nan, seen=50_000)])
    assert targets.law.censored == {1024: 50_000}
    assert "1024 (after 50,000 examples)" in "".join(convergence_in_words(targets))
    assert draw_targets(targets).row_count == 3


def test_nothing_reached_is_no_law():
    targets = targets_of([run(16, math.nan), run(128, math.nan)])
    assert targets.law is None
    assert "No convergence law" in convergence_in_words(targets)[0]


def test_runs_without_a_target_or_of_one_size_say_nothing():
    without = {"params": {"batch_size": "16"}, "metrics": {}, "tags": {"config_key": "a", "outcome": "done"}}
    assert targets_of([without]) is None
    assert targets_of([run(16, 1000.0), run(16, 900.0)]) is None
    assert targets_of([run(16, 1000.0), run(64, 900.0, outcome="diverged")]) is None

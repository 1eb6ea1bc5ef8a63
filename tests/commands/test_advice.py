"""From measurements to advice: known laws give the known optimum, and what is not known is said."""

import dataclasses
import math
import time

import numpy as np
import pytest

from batchlab.commands.advise.advice import advise, recommended, unbracketed
from batchlab.commands.advise.advise_measurements import Measured, plateau_of, power_of_two
from batchlab.commands.advise.lr_rule import lr_at, lr_rule
from batchlab.commands.advise.trainings import Training, Trainings
from batchlab.laws.estimate import Estimate
from batchlab.laws.step_time import fit_step_time
from batchlab.tasks.classification import CLASSIFICATION

UNKNOWN = Estimate(math.nan, math.nan, math.nan)
SIZES = [8, 32, 128, 512, 2048]


def measured(config, trainings=(), noise=UNKNOWN, ceiling: float = math.inf, num_train=10_000) -> Measured:
    """Steps of 1 ms + 10 us per example: half speed at 100."""
    step = fit_step_time(SIZES, np.array([[1e-3 + 1e-5 * size for size in SIZES]]))
    done = (
        Trainings(config, num_train, CLASSIFICATION.score, 0.9, time.perf_counter() + 60, done=list(trainings))
        if trainings
        else None
    )
    return Measured(config, num_train, step, {}, 0.0, ceiling, "memory", noise, 1000.0, 128, done, ())


def training(batch_size, lr, examples, seed=0, limit=0.0) -> Training:
    return Training(batch_size, lr, seed, examples, examples / 1e4, limit or examples)


def law(batch_size: int) -> float:
    """Examples to the target: E_min 5,000, B_crit 900."""
    return 5000 * (1 + batch_size / 900)


@pytest.fixture
def trainings():
    found = [training(size, 0.01 * math.sqrt(size / 16), law(size)) for size in (16, 128, 1024)]
    worse = [training(size, 0.001, 2 * law(size)) for size in (16, 128, 1024)]
    return [*found, *worse]


def test_trainings_of_a_known_law_give_its_optimum(config_of, trainings):
    advice = advise(measured(config_of(), trainings), price_per_hour=3.6)
    assert advice.best.value == pytest.approx(300, rel=0.01)  # sqrt(900 * 1e-3 / 1e-5)
    assert (advice.batch_size, advice.basis) == (256, "trainings")
    assert advice.critical.value == pytest.approx(900, rel=0.01)
    assert advice.lr_exponent == pytest.approx(0.5)
    assert advice.lr == pytest.approx(0.01 * math.sqrt(256 / 16))
    row = next(row for row in advice.predictions if row.batch_size == 256)
    assert row.examples == pytest.approx(law(256), rel=0.01)
    pace = 128 / (1e-3 + 128e-5) / 1e4  # the median of the trainings', which take 0.1 ms per example
    assert row.seconds.value == pytest.approx(pace * law(256) / 256 * (1e-3 + 256e-5), rel=0.01)
    assert row.dollars == pytest.approx(row.seconds.value * 1e-3)
    assert row.over_best == 1.0


def test_noise_alone_leaves_a_factor_and_no_seconds(config_of):
    advice = advise(measured(config_of(), noise=Estimate(900, 850, 950)), None)
    assert (advice.basis, advice.batch_size) == ("noise", 256)
    assert advice.best.high / advice.best.low > 2.5
    assert math.isnan(advice.predictions[0].seconds.value)
    assert any("factor of 3" in remark for remark in advice.remarks)
    assert advice.rule.startswith("the linear rule for SGD")


def test_a_batch_size_that_missed_the_target_is_censored_and_said(config_of, trainings):
    kept = [each for each in trainings if each.batch_size != 1024]
    missed = [training(1024, 0.08, math.nan, limit=60_000.0)]
    advice = advise(measured(config_of(), kept + missed), None)
    assert advice.critical.value < 900
    assert any("1024 (after 60,000 examples)" in remark for remark in advice.remarks)


def test_nothing_known_is_no_advice(config_of):
    with pytest.raises(ValueError, match="no batch size can be advised"):
        advise(measured(config_of()), None)


def test_memory_caps_the_advice_and_is_named(config_of, trainings):
    advice = advise(measured(config_of(), trainings, ceiling=64), None)
    assert advice.batch_size == 64
    assert "memory" in advice.limits


def test_an_interval_that_is_too_wide_names_no_limit(config_of):
    advice = advise(measured(config_of(), noise=Estimate(900, 10, math.inf)), None)
    assert advice.best.high / advice.best.low <= 16 or advice.limits == []


def test_the_lr_lies_between_tuned_ones_and_moves_by_the_exponent_beyond(config_of, trainings):
    known = measured(config_of(), trainings)
    exponent, rule = lr_rule(known)
    assert "fitted" in rule
    assert lr_at(4096, known, exponent) == pytest.approx(0.01 * math.sqrt(4096 / 16), rel=0.01)
    assert lr_at(64, known, exponent) == pytest.approx(0.01 * math.sqrt(64 / 16), rel=0.01)


def test_adam_moves_by_the_square_root(config_of):
    exponent, rule = lr_rule(measured(config_of("optimizer=adam")))
    assert (exponent, "square-root rule for Adam" in rule) == (0.5, True)


@pytest.mark.parametrize(
    ("best", "ceiling", "size"),
    [(300, 10_000, 256), (370, math.inf, 512), (9000, math.inf, 8192), (1, math.inf, 8), (300, 100, 300)],
)
def test_the_recommended_size_is_a_power_of_two_or_full_parts(config_of, best, ceiling, size):
    assert recommended(best, measured(config_of(), ceiling=ceiling)) == size


def test_powers_and_plateaus():
    assert [power_of_two(number) for number in (0.2, 1, 90, 91, 4000)] == [1, 1, 64, 128, 4096]
    assert plateau_of({8: 10.0, 64: 80.0, 512: 97.0, 4096: 100.0}) == 512


def test_an_overhead_that_may_be_nothing_is_said(config_of, trainings):
    known = measured(config_of(), trainings)
    noisy = fit_step_time(SIZES, np.array([[1e-5 * size for size in SIZES]]))
    advice = advise(dataclasses.replace(known, step=noisy), None)
    assert any("cannot be told from 0" in remark for remark in advice.remarks)
    assert advice.batch_size == 8  # the smallest that was timed


def test_seconds_are_at_the_pace_of_the_trainings(config_of, trainings):
    slow = [dataclasses.replace(each, seconds=2 * each.examples / each.batch_size * (1e-3 + 1e-5 * each.batch_size))
            for each in trainings]  # fmt: skip
    row = next(row for row in advise(measured(config_of(), slow), None).predictions if row.batch_size == 256)
    assert row.seconds.value == pytest.approx(2 * law(256) / 256 * (1e-3 + 256e-5), rel=0.01)


def test_a_best_lr_at_the_end_of_its_row_is_said(config_of):
    done = [training(16, 0.1, 900.0), training(16, 0.2, 800.0), training(64, 0.2, 900.0), training(64, 0.4, 800.0),
            training(64, 0.8, math.nan, limit=1000.0)]  # fmt: skip
    assert unbracketed(measured(config_of(), done).trainings) == [16]

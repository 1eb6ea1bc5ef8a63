"""Seconds of a run as its steps take them alone: when they count, and what its clock makes of a law of step times."""

import math
from dataclasses import replace

import pytest

from batchlab.config.objectives import CALIBRATED
from batchlab.config.schema import Budget
from batchlab.profiling import calibration
from batchlab.profiling.calibration import counts_alone
from batchlab.run.training_run import run, run_to_end
from batchlab.training.build import build
from batchlab.training.clock import Clock
from batchlab.training.loop import fit

ALPHA, BETA = 1e-3, 1e-5
GROW = {"_target_": "batchlab.optim.batch_schedule.grow", "max_batch_size": None}
STEP = {"_target_": "batchlab.optim.lr_schedule.step", "milestones": [0.5, 0.75], "factor": 0.1}


def test_runs_count_as_alone_where_the_study_optimises_it_and_where_seconds_end_them(like, monkeypatch):
    assert not counts_alone(like())
    assert counts_alone(like(objectives=[CALIBRATED, "final/val_accuracy"]))
    timed = like(epochs=None, budget=Budget("seconds", seconds=1.0), objectives=["final/val_accuracy"])
    assert not counts_alone(timed)
    monkeypatch.setattr(calibration, "shares_host", lambda: True)
    assert counts_alone(timed)
    assert not counts_alone(like(objectives=["final/val_accuracy"]))
    assert not counts_alone(replace(timed, optimizer={"_target_": "torch.optim.LBFGS"}))


def law(batch_size):
    return ALPHA + BETA * batch_size


def built_with_law(config):
    built = build(config, seed=0)
    return replace(built, clock=Clock(built.device, law))


def test_a_batch_that_grows_counts_the_step_time_of_each_of_its_sizes(like):
    config = like(batch_size=16, epochs=3, batch_schedule=GROW, lr_schedule=STEP)
    built, sizes = built_with_law(config), []

    def noting(progress):
        size, factor = build_schedule(progress)
        sizes.append(size)
        return size, factor

    build_schedule = built.schedule
    points = list(fit(built.train_step, built.stream, built.plan, noting, built.clock))
    assert len(set(sizes)) > 1
    assert points[-1].counts.seconds == pytest.approx(sum(map(law, sizes)))
    assert built.clock.measured > 0


def test_a_limit_of_seconds_is_one_of_seconds_alone(like):
    """So many steps as fit into it alone, whatever shares the host."""
    config = like(batch_size=32, epochs=None, budget=Budget("seconds", seconds=0.05))
    counts = [point.counts for point in fit_of(built_with_law(config))][-1]
    assert counts.steps == math.ceil(0.05 / law(32))
    assert counts.seconds == pytest.approx(counts.steps * law(32))


def fit_of(built):
    return fit(built.train_step, built.stream, built.plan, built.schedule, built.clock)


def test_both_seconds_are_finals(like):
    built = built_with_law(like(epochs=1))
    finals = run_to_end(run(built)).finals
    assert finals[CALIBRATED] == pytest.approx(finals["cost/num_steps"] * law(128))
    assert finals["cost/train_seconds"] == built.clock.measured
    plain = run_to_end(run(build(like(epochs=1), seed=0))).finals
    assert CALIBRATED not in plain


def test_seconds_to_a_target_are_counted_alone_too(like):
    target = Budget("target", score=0.2, max_epochs=20)
    finals = run_to_end(run(built_with_law(like(epochs=None, budget=target)))).finals
    assert finals["target/seconds"] == pytest.approx(finals["target/steps"] * law(128))


def test_a_clock_without_a_law_counts_what_it_measures(like):
    built = build(like(epochs=1), seed=0)
    points = list(fit_of(built))
    assert points[-1].counts.seconds == built.clock.seconds == built.clock.measured

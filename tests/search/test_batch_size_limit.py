"""Batch sizes that ran out of memory once are a limit for the trials after them."""

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler

from batchlab.search.finalize import RESULT
from batchlab.search.sampler import batch_dimension, draw_one_that_fits, smallest_too_large


def study_of(sampler, count, batch):
    study = optuna.create_study(directions=["minimize"], sampler=sampler)
    for _ in range(count):
        trial = study.ask()
        size = float(batch.text(trial._suggest(batch.name, batch.distribution)))
        trial.suggest_float("lr", 0, 1)
        if size > 64:
            trial.set_user_attr(RESULT, {"outcome": "out_of_memory"})
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, -size)
    return study


@pytest.mark.parametrize("make", [RandomSampler, lambda seed: TPESampler(seed=seed, multivariate=True)])
@pytest.mark.parametrize("count", [12, 20])
def test_only_sizes_below_the_smallest_that_did_not_fit_are_drawn(space_of, make, count):
    batch = batch_dimension(space_of("batch_size=tag(pow2,int(interval(16,1024)))", "lr=interval(0.0,1.0)"))
    study = study_of(make(seed=1), count, batch)
    limit = smallest_too_large(study.trials, batch)
    assert limit < 1025
    for number in range(20):
        trial = study.ask()
        draw_one_that_fits(study, trial, batch, limit, lambda attempt, number=number: make(seed=100 * number + attempt))
        assert float(batch.text(trial._suggest(batch.name, batch.distribution))) < limit


def test_nothing_is_known_where_something_else_moves_the_memory(space_of):
    assert batch_dimension(space_of("batch_size=16,32", "model.width=64,128")) is None
    assert batch_dimension(space_of("batch_size=16,32", "optimizer=adam,momentum")) is None
    assert batch_dimension(space_of("batch_size=16,32", "lr=0.1,0.2")) is not None


def test_a_study_without_failures_has_no_limit(space_of):
    batch = batch_dimension(space_of("batch_size=16,32"))
    assert smallest_too_large([], batch) == float("inf")

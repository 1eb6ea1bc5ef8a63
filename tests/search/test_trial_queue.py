"""Slots: taken once, open again when their worker is lost, done exactly once."""

import os
import subprocess
import sys

import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from batchlab.search.finalize import MAX_LOSSES, RESULT, JobOutcome, finalize
from batchlab.search.stale_trials import StaleTrialDetector, own_lease
from batchlab.search.study import TooManyFailures, check_failures, done_trials
from batchlab.search.trial import SearchTrial, Shared
from batchlab.search.trial_ref import TrialRef


def sampler(_slot, _attempt):
    return RandomSampler(seed=0)


def done(study, trial, values=(1.0, 0.5)):
    trial.suggest_float("lr", 0, 1)
    finalize(study, trial._trial_id, JobOutcome("returned", values=values))


def lose(study, trial):
    """As if the process that has the trial had been killed."""
    study._storage.set_trial_user_attr(trial._trial_id, "lease", own_lease().as_attribute() | {"pid": 2**22 + 1})


def test_every_slot_is_taken_once_and_n_trials_is_the_total(open_slots):
    study, slots = open_slots(num_trials=7)
    while (trial := slots.claim(sampler)) is not None:
        done(study, trial)
    assert [trial.user_attrs["slot"] for trial in study.trials] == list(range(7))
    study, slots = open_slots(num_trials=9)
    while (trial := slots.claim(sampler)) is not None:
        done(study, trial)
    assert [trial.number for trial in study.trials] == list(range(9))


def test_fewer_trials_than_are_done_take_nothing(open_slots):
    study, slots = open_slots(num_trials=3)
    while (trial := slots.claim(sampler)) is not None:
        done(study, trial)
    assert open_slots(num_trials=2)[1].claim(sampler) is None
    assert len(done_trials(study, 2)) == 2


def test_two_processes_never_take_the_same_slot(open_slots):
    (study, first), (_, second) = open_slots(), open_slots()
    taken = [
        first.claim(sampler),
        second.claim(sampler),
        first.claim(sampler),
        second.claim(sampler),
        first.claim(sampler),
    ]
    assert sorted(trial.user_attrs["slot"] for trial in taken if trial) == [0, 1, 2, 3, 4]
    assert first.claim(sampler) is second.claim(sampler) is None
    assert len(study.trials) == 5


def test_a_lost_trial_does_not_count_and_comes_again_with_its_parameters(open_slots):
    study, slots = open_slots(num_trials=1)
    trial = slots.claim(sampler)
    value = trial.suggest_float("lr", 0, 1)
    lose(study, trial)
    again = slots.claim(sampler)
    assert done_trials(study) == []
    assert study.trials[0].state is TrialState.FAIL
    assert again.number == 1
    assert again.suggest_float("lr", 0, 1) == value
    done(study, again)
    assert [trial.number for trial in done_trials(study)] == [1]
    assert slots.claim(sampler) is None


def test_a_trial_of_a_living_process_is_left_alone(open_slots):
    study, slots = open_slots(num_trials=1)
    slots.claim(sampler)
    assert slots.reap_stale() == 0
    assert open_slots(num_trials=1)[1].claim(sampler) is None
    assert study.trials[0].state is TrialState.RUNNING


def test_a_point_that_loses_its_worker_again_and_again_ends_as_infeasible(open_slots):
    study, slots = open_slots(num_trials=1)
    for _ in range(MAX_LOSSES):
        lose(study, slots.claim(sampler))
    assert slots.claim(sampler) is None
    last = study.trials[-1]
    assert (last.state, last.constraints["lost"]) == (TrialState.PRUNED, 1.0)
    assert [trial.number for trial in done_trials(study)] == [MAX_LOSSES - 1]


def test_a_point_that_gets_on_from_loss_to_loss_is_tried_again_without_end(open_slots, settings):
    """Where its checkpoints stand still, every loss counts again."""
    study, slots = open_slots(num_trials=1)
    resumed_from = [None, 10, 20, 30, 40, 50, 50, 50, 50]
    for step in resumed_from:
        trial = slots.claim(sampler)
        trial_ref = TrialRef.of(settings, trial._trial_id, trial.number, float("inf"), "", False)
        SearchTrial(Shared(study), trial_ref).begin_run("run", "key", step)
        lose(study, trial)
    assert slots.claim(sampler) is None
    counted = [trial.user_attrs["losses"] for trial in study.trials]
    assert counted == [1, 1, 1, 1, 1, 1, 2, 3, MAX_LOSSES]


def test_a_lost_trial_that_left_its_result_is_done(open_slots):
    study, slots = open_slots(num_trials=1)
    trial = slots.claim(sampler)
    study._storage.set_trial_user_attr(trial._trial_id, RESULT, {"outcome": "done", "values": [2.0, 0.9]})
    lose(study, trial)
    assert slots.claim(sampler) is None
    assert (study.trials[0].state, study.trials[0].values) == (TrialState.COMPLETE, [2.0, 0.9])


def test_a_stopped_trial_leaves_its_slot_open_without_a_loss(open_slots):
    study, slots = open_slots(num_trials=1)
    for _ in range(MAX_LOSSES + 1):
        finalize(study, slots.claim(sampler)._trial_id, JobOutcome("stopped"))
    assert slots.claim(sampler) is not None


@pytest.mark.parametrize("outcome", ["diverged", "out_of_memory", "no_value"])
def test_an_outcome_without_values_is_pruned_and_infeasible(open_slots, outcome):
    study, slots = open_slots(num_trials=1)
    trial = slots.claim(sampler)
    study._storage.set_trial_user_attr(trial._trial_id, RESULT, {"outcome": outcome, "values": None})
    assert finalize(study, trial._trial_id, JobOutcome("returned", values=(float("nan"),) * 2)) is False
    ended = study.trials[0]
    assert (ended.state, ended.values, ended.constraints[outcome]) == (TrialState.PRUNED, None, 1.0)
    assert ended.system_attrs["constraints"] == [1.0]  # what optuna-dashboard 0.21 reads


def test_a_pruned_trial_is_feasible(open_slots):
    study, slots = open_slots(num_trials=1)
    trial = slots.claim(sampler)
    study._storage.set_trial_user_attr(trial._trial_id, RESULT, {"outcome": "pruned", "values": None})
    finalize(study, trial._trial_id, JobOutcome("returned"))
    assert (study.trials[0].state, study.trials[0].constraints) == (TrialState.PRUNED, {})


def test_a_crash_is_a_failure_with_its_traceback_and_counts(open_slots):
    study, slots = open_slots(num_trials=1)
    assert (
        finalize(study, slots.claim(sampler)._trial_id, JobOutcome("crashed", "Traceback ...", "ValueError: a bug"))
        is True
    )
    [trial] = done_trials(study)
    assert trial.user_attrs["cause"] == "ValueError: a bug"
    assert slots.claim(sampler) is None


@pytest.mark.parametrize("values", [(1.0,), (1.0, float("nan")), (1.0, "x"), ()])
def test_a_task_that_returns_no_values_has_crashed(open_slots, values):
    study, slots = open_slots(num_trials=1)
    assert finalize(study, slots.claim(sampler)._trial_id, JobOutcome("returned", values=values)) is True
    assert study.trials[0].state is TrialState.FAIL


def test_the_failure_rate_is_one_of_the_whole_study(open_slots):
    study, slots = open_slots(num_trials=10)
    for place in range(8):
        trial = slots.claim(sampler)
        finalize(
            study,
            trial._trial_id,
            JobOutcome("crashed" if place % 2 else "returned", cause="E: bug", values=(1.0, 1.0)),
        )
        check_failures(study, 0.5)
    finalize(study, slots.claim(sampler)._trial_id, JobOutcome("crashed", cause="E: bug"))
    with pytest.raises(TooManyFailures, match=r"5 of 9 trials crashed.*0\.5 allows\. Trial 8, the last: E: bug"):
        check_failures(study, 0.5)


def test_one_crash_is_too_many_where_none_is_allowed(open_slots):
    study, slots = open_slots()
    finalize(study, slots.claim(sampler)._trial_id, JobOutcome("crashed", cause="E: bug"))
    check_failures(study, 0.2)
    with pytest.raises(TooManyFailures):
        check_failures(study, 0.0)


def test_a_dead_process_is_told_from_a_living_one():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    code = "from batchlab.search.stale_trials import own_lease; print(own_lease().started)"
    started = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    detector, mine = StaleTrialDetector(), own_lease().as_attribute()
    assert not detector.is_dead(mine)
    assert detector.is_dead(mine | {"started": started})  # our PID, used by a process of another time
    child.kill()
    until_dead = mine | {"pid": child.pid, "started": "0"}
    assert detector.is_dead(until_dead)
    child.wait()
    assert detector.is_dead(None)
    assert os.getpid() == mine["pid"]


def test_a_process_elsewhere_is_dead_when_its_beat_stands_still(monkeypatch):
    detector, theirs = StaleTrialDetector(), own_lease().as_attribute() | {"realm": "another machine"}
    clock = [0.0]
    monkeypatch.setattr("batchlab.search.stale_trials.time.monotonic", lambda: clock[0])
    assert not detector.is_dead(theirs)
    clock[0] = 80.0
    assert not detector.is_dead(theirs | {"beat": 4})
    clock[0] = 160.0
    assert not detector.is_dead(theirs | {"beat": 4})
    clock[0] = 171.0
    assert detector.is_dead(theirs | {"beat": 4})

"""A store that loses its answer: what was asked again must not be done twice."""

from functools import partial

import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from batchlab.search.server_storage import RetryingStorage, ServerStorage
from batchlab.search.stale_trials import own_lease
from tests.search.outages import ADDRESS, cut

pytestmark = pytest.mark.usefixtures("forgotten")


class Losing:
    """A storage on a server that does what it is asked and loses the answer, once."""

    def __init__(self) -> None:
        self.storage, self.loses = InMemoryStorage(), True

    def __getattr__(self, name):
        return partial(self._do, name)

    def _do(self, name, *arguments, **named):
        answer = getattr(self.storage, name)(*arguments, **named)
        if name.startswith(("set", "create")) and self.loses:
            self.loses = False
            raise cut()
        return answer


@pytest.fixture
def losing():
    """(the losing storage, the same as it is seen through patience, a trial that waits under this process's lease)."""
    inner = Losing()
    inner.loses = False
    storage = RetryingStorage(inner, ADDRESS)
    study_id = storage.create_new_study([StudyDirection.MINIMIZE], "test")
    lease = {"lease": own_lease().as_attribute()}
    trial_id = storage.create_new_trial(study_id, create_trial(state=TrialState.WAITING, user_attrs=lease))
    inner.loses = True
    return inner, storage, trial_id


def test_a_state_that_was_set_before_the_answer_was_lost_is_set(losing):
    inner, storage, trial_id = losing
    assert storage.set_trial_state_values(trial_id, TrialState.RUNNING)
    inner.loses = True
    assert storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.1])
    assert storage.get_trial(trial_id).values == [0.1]


def test_another_state_than_the_one_wanted_is_not_ours(losing):
    inner, storage, trial_id = losing
    inner.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
    inner.storage.set_trial_state_values(trial_id, TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        storage._again(trial_id, TrialState.COMPLETE, [0.1])


def test_a_trial_that_runs_under_another_lease_is_not_begun(losing):
    inner, storage, trial_id = losing
    inner.storage.set_trial_user_attr(trial_id, "lease", own_lease().as_attribute() | {"pid": 1})
    assert not storage.set_trial_state_values(trial_id, TrialState.RUNNING)


@pytest.fixture
def server(tmp_path):
    """(our storage of a database server on an SQLite file, the id of a study in it)."""
    storage = ServerStorage(f"sqlite:///{tmp_path}/optuna.db", own_lease().as_attribute())
    return storage, storage.create_new_study([StudyDirection.MINIMIZE], "test")


def of_slot(slot, **attributes):
    return create_trial(state=TrialState.WAITING, user_attrs={"slot": slot, **attributes})


def test_a_slot_gets_one_trial_however_often_it_is_asked(server):
    storage, study_id = server
    first = storage.create_new_trial(study_id, of_slot(0))
    assert storage.create_new_trial(study_id, of_slot(0)) == first
    second = storage.create_new_trial(study_id, of_slot(1))
    assert second != first
    storage.set_trial_state_values(first, TrialState.RUNNING)
    assert storage.create_new_trial(study_id, of_slot(0)) == first
    storage.set_trial_state_values(first, TrialState.COMPLETE, [1.0])
    assert storage.create_new_trial(study_id, of_slot(0)) == first
    other = storage.create_new_study([StudyDirection.MINIMIZE], "other")
    assert storage.create_new_trial(other, of_slot(0)) not in (first, second)
    assert [trial.number for trial in storage.get_all_trials(study_id)] == [0, 1]


def test_the_slot_of_a_lost_trial_gets_another(server):
    storage, study_id = server
    first = storage.create_new_trial(study_id, of_slot(0))
    storage.set_trial_user_attr(first, "lost", "its worker died")
    assert storage.create_new_trial(study_id, of_slot(0)) == first  # it has not ended yet
    storage.set_trial_state_values(first, TrialState.FAIL)
    second = storage.create_new_trial(study_id, of_slot(0))
    assert second != first
    assert storage.create_new_trial(study_id, of_slot(0)) == second


def test_a_trial_begins_with_its_lease_once(server):
    storage, study_id = server
    trial_id = storage.create_new_trial(study_id, of_slot(0, lease={"pid": 1}))
    assert storage.set_trial_state_values(trial_id, TrialState.RUNNING)
    trial = storage.get_trial(trial_id)
    assert trial.user_attrs["lease"] == own_lease().as_attribute()
    assert trial.datetime_start is not None
    assert not storage.set_trial_state_values(trial_id, TrialState.RUNNING)

"""A store that is away for a while: what says so, what is tried again, and what must not be done twice."""

import time
from functools import partial

import psycopg
import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError, ProgrammingError

from batchlab.search import retry
from batchlab.search.retry import StorageUnavailable, is_unavailable, taken_again, with_retries, without_retries
from batchlab.search.server_storage import RetryingStorage, ServerStorage
from batchlab.search.stale_trials import SECONDS_WITHOUT_BEAT, StaleTrialDetector, own_lease
from batchlab.system import signals as stopping

ADDRESS = "postgresql+psycopg://me:open-sesame@host/optuna"


def refused() -> OperationalError:
    return OperationalError(None, None, psycopg.OperationalError("connection refused by me:open-sesame\nsecond line"))


def cut() -> OperationalError:
    return OperationalError("SELECT 1", {}, psycopg.errors.AdminShutdown("terminating connection"))


def wrapped(error: Exception) -> StorageInternalError:
    try:
        raise StorageInternalError("An exception is raised during the commit.") from error
    except StorageInternalError as caught:
        return caught


def hidden() -> StorageInternalError:
    """What Optuna makes of a cut while it reads trials: it asks again in the transaction that was lost."""
    try:
        try:
            raise cut()
        except OperationalError:
            raise PendingRollbackError("Can't reconnect until invalid transaction is rolled back.")  # noqa: B904
    except PendingRollbackError as error:
        return wrapped(error)


def handled() -> ValueError:
    """An error of its own that was raised while an outage was dealt with."""
    try:
        try:
            raise refused()
        except OperationalError:
            raise ValueError("another")  # noqa: B904
    except ValueError as error:
        return error


class Unavailable(Exception):
    def code(self):
        return type("StatusCode", (), {"name": "UNAVAILABLE"})


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """No pauses, and nothing remembered of other tests' servers."""
    monkeypatch.setattr(retry, "PAUSES", (0.0, 0.01))
    monkeypatch.setattr(retry, "_given_up", set())
    monkeypatch.setattr(retry, "_last_trouble", [float("-inf")])


@pytest.mark.parametrize("error", [refused(), cut(), wrapped(refused()), wrapped(cut()), hidden(), Unavailable()])
def test_lost_connections_and_refusals_say_that_the_server_is_away(error):
    assert is_unavailable(error)


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("INSERT", {}, psycopg.errors.UniqueViolation("twice")),
        ProgrammingError("SELECT", {}, psycopg.errors.UndefinedTable("no table")),
        OperationalError("INSERT", {}, psycopg.errors.DiskFull("no space left")),
        wrapped(ValueError("too long")),
        UpdateFinishedTrialError(),
        handled(),
        wrapped(StorageUnavailable("given up")),
    ],
)
def test_other_errors_are_not_tried_again(error):
    calls = []

    def call():
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        with_retries(call, ADDRESS)
    assert len(calls) == 1


def failing(times: int, error=refused):
    left = [times]

    def call():
        left[0] -= 1
        if left[0] >= 0:
            raise error()
        return "answer"

    return call


def test_an_outage_is_said_in_two_lines_without_the_password(capsys):
    assert with_retries(failing(4), ADDRESS) == "answer"
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("postgresql+psycopg://me:***@host/optuna is away, waiting up to 120 s: (psycopg")
    assert second.startswith("postgresql+psycopg://me:***@host/optuna is back after ")


def test_a_cut_connection_is_mended_without_a_word(capsys):
    assert with_retries(failing(1, cut), ADDRESS) == "answer"
    assert capsys.readouterr().err == ""


def test_patience_ends_and_then_every_call_is_tried_once_until_one_succeeds(monkeypatch, capsys):
    monkeypatch.setattr(retry, "PATIENCE_SECONDS", 0.05)
    with pytest.raises(StorageUnavailable, match=r"me:\*\*\*@host/optuna has been away for 0 s") as caught:
        with_retries(failing(1000), ADDRESS)
    assert "second line" not in str(caught.value)
    assert "open-sesame@" not in str(caught.value) + capsys.readouterr().err
    calls = failing(1)
    with pytest.raises(StorageUnavailable, match="is still away"):
        with_retries(calls, ADDRESS)
    assert with_retries(calls, ADDRESS) == "answer"
    assert with_retries(failing(2), ADDRESS) == "answer"


def test_a_signal_ends_the_waiting(monkeypatch):
    monkeypatch.setattr(stopping, "_received", [15])
    with pytest.raises(SystemExit) as stopped:
        with_retries(failing(1000), ADDRESS)
    assert stopped.value.code == 143


def test_without_patience_the_error_comes_at_once():
    with without_retries(), pytest.raises(OperationalError):
        with_retries(failing(1), ADDRESS)
    assert with_retries(failing(1), ADDRESS) == "answer"


def test_a_lock_is_taken_again_before_the_operation_is():
    done = []
    with taken_again(lambda: done.append("lock")):
        with_retries(failing(1), ADDRESS, again=lambda: done.append("operation"))
    with_retries(failing(1), ADDRESS, again=lambda: done.append("without"))
    assert done == ["lock", "operation", "without"]


def test_beats_that_could_not_be_written_are_not_missed(monkeypatch):
    detector, theirs = StaleTrialDetector(), own_lease().as_attribute() | {"realm": "another machine"}
    clock = [0.0]
    monkeypatch.setattr("batchlab.search.stale_trials.time.monotonic", lambda: clock[0])
    assert not detector.is_dead(theirs)
    monkeypatch.setattr(retry, "_last_trouble", [70.0])
    clock[0] = 70.0 + SECONDS_WITHOUT_BEAT
    assert not detector.is_dead(theirs)
    clock[0] += 1.0
    assert detector.is_dead(theirs)


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


def test_when_a_server_was_last_away_is_known():
    before = time.monotonic()
    with_retries(failing(1), ADDRESS)
    assert before <= retry.last_trouble() <= time.monotonic()

"""A store that is away for a while: what says so, what is tried again, and for how long."""

import time

import psycopg
import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError, ProgrammingError

from batchlab.search import retry
from batchlab.search.retry import StorageUnavailable, is_unavailable, taken_again, with_retries, without_retries
from batchlab.search.stale_trials import SECONDS_WITHOUT_BEAT, StaleTrialDetector, own_lease
from batchlab.system import signals as stopping
from tests.search.outages import ADDRESS, cut, refused

pytestmark = pytest.mark.usefixtures("forgotten")


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


def test_when_a_server_was_last_away_is_known():
    before = time.monotonic()
    with_retries(failing(1), ADDRESS)
    assert before <= retry.last_trouble() <= time.monotonic()

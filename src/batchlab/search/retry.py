"""Retries while a database server or proxy is unavailable: which errors say so, and how long is waited."""

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError

from batchlab.system.environment_errors import masked
from batchlab.system.signals import check_stop

PATIENCE_SECONDS = 120.0
"""A server that is away for longer is given up."""
PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0)
"""Seconds before each try; then the last one again and again. The first mends a connection that was cut."""
SQLSTATES = ("08", "57P", "53300", "40001", "40P01")
"""Lost connections, a server that shuts down or starts, no free connection, and deadlocks."""

T = TypeVar("T")
_is_patient: ContextVar[bool] = ContextVar("is_patient", default=True)
_given_up: set[str] = set()
_last_trouble = [-math.inf]
_to_take_again: list[Callable[[], None]] = []


class StorageUnavailable(RuntimeError):
    """A server did not come back in time; the text says which, without its password."""


def with_retries(call: Callable[[], T], address: str, again: Callable[[], T] | None = None) -> T:
    """Call a function; where the server is away, wait for it and call again, for `PATIENCE_SECONDS`.

    Args:
        call: one operation on the server.
        address: of the server, for people.
        again: what is called in its place after the first time, where an operation whose answer was lost must not
            simply be repeated.

    Raises:
        StorageUnavailable: the server did not come back; from then on every call is tried once, until one succeeds.
        KeyboardInterrupt, SystemExit: a signal came while it waited.
    """
    try:
        result = call()
    except Exception as error:
        if not is_unavailable(error):
            raise
        _last_trouble[0] = time.monotonic()
        if not _is_patient.get():
            raise
        trouble = error
    else:
        _given_up.discard(address)
        return result
    return _wait(again or call, address, trouble)


def _wait(call: Callable[[], T], address: str, trouble: Exception) -> T:
    began, has_said = time.monotonic(), False
    for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
        check_stop()
        if address in _given_up or time.monotonic() - began > PATIENCE_SECONDS:
            _given_up.add(address)
            how_long = f"has been away for {time.monotonic() - began:.0f} s" if has_said else "is still away"
            raise StorageUnavailable(f"{masked(address)} {how_long}: {reason(trouble)}") from trouble
        time.sleep(pause)
        try:
            for each in _to_take_again:
                each()
            result = call()
        except Exception as error:
            if not is_unavailable(error):
                raise
            _last_trouble[0], trouble = time.monotonic(), error
            if not has_said and pause:
                text = f"{masked(address)} is away, waiting up to {PATIENCE_SECONDS:.0f} s: {reason(error)}"
                print(text, file=sys.stderr, flush=True)
                has_said = True
        else:
            if has_said:
                text = f"{masked(address)} is back after {time.monotonic() - began:.0f} s; going on."
                print(text, file=sys.stderr, flush=True)
            return result
    raise AssertionError("the pauses never end")


@contextmanager
def without_retries() -> Iterator[None]:
    """Make a server that is away an error at once, within the block and in this thread."""
    before = _is_patient.set(False)
    try:
        yield
    finally:
        _is_patient.reset(before)


@contextmanager
def taken_again(take: Callable[[], None]) -> Iterator[None]:
    """Call `take` within the block before anything is tried again: a lock goes with its connection."""
    _to_take_again.append(take)
    try:
        yield
    finally:
        _to_take_again.remove(take)


def last_trouble() -> float:
    """Return when a server was last seen to be away, as time.monotonic(); minus infinity where never."""
    return _last_trouble[0]


def is_unavailable(error: BaseException) -> bool:
    """Tell whether an error says that the server is away or cut the connection, not that the question was wrong."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, StorageUnavailable):  # that was waited for already
        if isinstance(seen, DBAPIError):
            return _is_lost(seen)
        status = getattr(seen, "code", None)  # of gRPC
        if callable(status):
            return getattr(status(), "name", "") == "UNAVAILABLE"
        # what Optuna does in a transaction that has just been lost hides why it was
        seen = seen.__context__ if isinstance(seen, PendingRollbackError) else seen.__cause__
    return False


def _is_lost(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None) or ""
    is_connecting = error.statement is None  # a refusal has neither statement nor state
    return isinstance(error, OperationalError | InterfaceError) and (is_connecting or state.startswith(SQLSTATES))


def reason(error: BaseException) -> str:
    """Return what the driver says, in one line and without passwords."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return masked(lines[0])

"""SIGTERM and Ctrl-C as exceptions and as facts: where an exception would do harm or be lost, the fact is looked at.

Python drops what a handler raises inside a destructor or callback, and a store whose commit is cut off raises errors of
its own in the exception's place. So a signal raises at once only where that is safe; elsewhere it is noted, and whoever
loops looks at it with `check_stop`.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NOT_CUT = ("sqlalchemy", "alembic", "mlflow", "optuna.storages", "importlib._bootstrap")
"""Code that is not cut off in the middle by a first signal: stores, and modules while they are imported."""

_received: list[int] = []
_num_holds = 0


def note_signals() -> None:
    """Have SIGTERM and Ctrl-C noted, for the time in which a program imports what it needs; then `heed_signals`."""
    _handle(_note)


def heed_signals() -> None:
    """Have SIGTERM and Ctrl-C end this process in good order; a Ctrl-C that is ignored stays so.

    Raises:
        KeyboardInterrupt, SystemExit: where a signal was noted before.
    """
    _handle(on_signal)
    check_stop()


def ignore_signals() -> None:
    """Ignore signals in the last moments of a process that has said how it ended."""
    _handle(signal.SIG_IGN)


def _handle(handler: "signal._HANDLER") -> None:
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _note, on_signal):
        signal.signal(signal.SIGINT, handler)


def _note(signum: int, _frame: FrameType | None = None) -> None:
    _received.append(signum)


def on_signal(signum: int, frame: FrameType | None = None) -> None:
    """Raise for a signal, unless what it interrupts must not be cut off; a second signal cuts that off as well.

    Raises:
        KeyboardInterrupt: for Ctrl-C.
        SystemExit: for SIGTERM, with 128 + its number.
    """
    is_first = not _received
    _received.append(signum)
    if _num_holds == 0 and not (is_first and _is_among(frame, NOT_CUT)):
        check_stop()


def _is_among(frame: FrameType | None, modules: tuple[str, ...]) -> bool:
    """Return whether a function of one of the modules, or of one inside them, is being called."""
    while frame is not None:
        name = frame.f_globals.get("__name__") or ""
        if any(name == module or name.startswith(f"{module}.") for module in modules):
            return True
        frame = frame.f_back
    return False


@contextmanager
def signals_wait() -> Iterator[None]:
    """Write to its end what is written in the block: every signal is only noted, until a `check_stop`."""
    global _num_holds
    _num_holds += 1
    try:
        yield
    finally:
        _num_holds -= 1


def check_stop() -> None:
    """Raise what a signal stands for, if one was received.

    Raises:
        KeyboardInterrupt: where Ctrl-C was received.
        SystemExit: where SIGTERM was.
    """
    if _received:
        raise KeyboardInterrupt if _received[-1] == signal.SIGINT else SystemExit(stop_code())


def stop_code() -> int:
    """Return the exit code that the last signal asks for, 130 or 143; 0 where none was received."""
    return 128 + _received[-1] if _received else 0

"""SIGTERM and Ctrl-C as exceptions and as facts: what a signal raises in a destructor or callback, Python drops."""

import signal
from types import FrameType

_received: list[int] = []


def heed_signals() -> None:
    """Have SIGTERM and Ctrl-C end this process in good order; a Ctrl-C that is ignored stays so."""
    signal.signal(signal.SIGTERM, on_signal)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, on_signal)


def on_signal(signum: int, _frame: FrameType | None = None) -> None:
    """Signal handler.

    Raises:
        KeyboardInterrupt: for Ctrl-C.
        SystemExit: for SIGTERM, with 128 + its number.
    """
    _received.append(signum)
    check_stop()


def check_stop() -> None:
    """Raise what the last signal's handler raised, if that was lost on the way.

    Raises:
        KeyboardInterrupt: where Ctrl-C was received.
        SystemExit: where SIGTERM was.
    """
    if not _received:
        return
    raise KeyboardInterrupt if _received[-1] == signal.SIGINT else SystemExit(128 + _received[-1])

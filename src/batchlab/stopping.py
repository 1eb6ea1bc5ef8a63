"""SIGTERM as an exception and as a fact: what a signal raises in a destructor or callback, Python drops."""

from types import FrameType

_received: list[int] = []


def on_sigterm(signum: int, _frame: FrameType | None) -> None:
    """Signal handler: ends the process in good order.

    Raises:
        SystemExit: always.
    """
    _received.append(signum)
    raise SystemExit(128 + signum)


def check_stop() -> None:
    """Raise what the handler raised, if it was lost on the way.

    Raises:
        SystemExit: where SIGTERM was received.
    """
    if _received:
        raise SystemExit(128 + _received[0])

"""Files that a check would write: they wait until the command goes on, for one that is refused writes nothing."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKING = "BATCHLAB_CHECKING"
"""Environment variable of a process that checks its command, its process id, and of the processes that it starts."""
MOST_WAITING = 2
"""Files whose content is kept meanwhile; data sets are large, and no more of them are held in memory either."""

_waiting: dict[Path, Callable[[], None]] = {}


@contextmanager
def writes_wait() -> Iterator[None]:
    """Check a command in the block: what `write_when_checked` is given is done at its end, not at all if it raises."""
    os.environ[CHECKING] = str(os.getpid())
    try:
        yield
        writes = list(_waiting.values())
    finally:
        del os.environ[CHECKING]
        _waiting.clear()
    for write in writes:
        write()


def write_when_checked(path: Path, write: Callable[[], None]) -> None:
    """Write a file now, or when the checks that go on have found nothing; not in another process of theirs."""
    checking = os.environ.get(CHECKING)
    if checking is None:
        write()
    elif checking == str(os.getpid()):
        _waiting[path] = write
        if len(_waiting) > MOST_WAITING:
            del _waiting[next(iter(_waiting))]

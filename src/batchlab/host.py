"""Who trains on this host now: trainings share it, a measurement of seconds has it alone.

Every training holds one of the files `slot-0`, `slot-1`, ... locked; a measurement holds all of them, and meanwhile the
gate through which a training comes to its slot. Locks are the kernel's (flock): those of a killed process are gone.
"""

import fcntl
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

LOCKS = "BATCHLAB_LOCKS"
"""Environment variable: folder of the locks, where that of all users of this host is not the right one."""
NAME = "batchlab-locks"
WORKERS = "cost/workers_on_host"
"""Final of a run: most of our trainings on its host, at its beginning and at its end, itself among them."""
EVERYBODY = 0o1777


@contextmanager
def host_shared() -> Iterator[Callable[[], float]]:
    """Train beside others; waits as long as a measurement has the host, or is waiting for it.

    Not to be held while `host_alone` is asked for: that waits for the end of every training.

    Yields:
        A function: how many processes of ours train on this host now, this one among them; NaN where no lock could
        be made (a read-only system), so that nothing is known of others.
    """
    with ExitStack() as stack:
        num_here: Callable[[], float] = lambda: math.nan  # noqa: E731
        with suppress(OSError):
            folder = lock_folder()
            with _held(folder / "gate"):
                stack.enter_context(_free_slot(folder))
            num_here = partial(_num_taken, folder)
        yield num_here


@contextmanager
def host_alone() -> Iterator[bool]:
    """Measure while none of our trainings runs here: waits for those that do, and keeps others from beginning.

    Yields:
        Whether that is so; False where no lock could be made.
    """
    with ExitStack() as stack:
        is_alone = False
        with suppress(OSError):
            folder = lock_folder()
            stack.enter_context(_held(folder / "gate"))
            for slot in folder.glob("slot-*"):
                stack.enter_context(_held(slot))
            is_alone = True
        yield is_alone


def lock_folder() -> Path:
    """The folder of the locks, made for all users of this host: BATCHLAB_LOCKS, else in /tmp.

    Not in the folder for temporary files that the environment names: a batch system gives each job its own.
    """
    typed = os.environ.get(LOCKS)
    common = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
    folder = Path(typed) if typed else common / NAME
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):  # another user was faster
            folder.chmod(EVERYBODY)  # mkdir's own mode is cut by the umask
    return folder


def _opened(path: Path) -> int:
    """A file to be locked, whoever made it: reading is enough for a lock, and all that others may do."""
    while True:
        try:
            return os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            pass
        try:
            return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            continue


@contextmanager
def _held(path: Path) -> Iterator[None]:
    file = _opened(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        _let_go(file)


@contextmanager
def _free_slot(folder: Path) -> Iterator[None]:
    place, file = 0, _opened(folder / "slot-0")
    while not _is_free(file, fcntl.LOCK_EX):
        os.close(file)
        place += 1
        file = _opened(folder / f"slot-{place}")
    try:
        yield
    finally:
        _let_go(file)


def _let_go(file: int) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough where a DataLoader's process has inherited the file
    os.close(file)


def _is_free(file: int, lock: int) -> bool:
    """Takes the lock, if nobody holds it."""
    try:
        fcntl.flock(file, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _num_taken(folder: Path) -> float:
    """Slots that are held; looked at with a lock that is let go of at once, and not through the gate."""
    count = 0.0
    for slot in folder.glob("slot-*"):
        file = _opened(slot)
        count += not _is_free(file, fcntl.LOCK_SH)
        os.close(file)
    return count

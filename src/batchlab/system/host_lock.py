"""Who trains on a device of this host now: trainings share it, a measurement of seconds has it alone.

The CPUs are one device, each GPU is one with locks of its own: a training on one does not count on another.
Every training holds one of the files `slot-0`, `slot-1`, ... locked; a measurement holds all of them, and meanwhile the
gate through which a training comes to its slot. Locks are the kernel's (flock): those of a killed process are gone.
"""

import fcntl
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

LOCKS = "BATCHLAB_LOCKS"
"""Environment variable: folder of the locks, where that of all users of this host is not the right one."""
NAME = "batchlab-locks"
WORKERS = "cost/workers_on_host"
"""Final of a run: most of our trainings on its host, at its beginning and at its end, itself among them."""
EVERYBODY = 0o1777


class HostShare:
    """A training's place among those on its devices; without folders of locks nothing is known of others."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders, self._slots = folders, list[int]()
        self.take()

    def take(self) -> None:
        """Take a slot of each device through its gate; waits while a measurement has it, or is waiting for it."""
        for folder in self._folders:
            with _held(folder / "gate"):
                self._slots.append(_free_slot(folder))

    def leave(self) -> None:
        """Let the slots go."""
        while self._slots:
            _let_go(self._slots.pop())

    def give_way(self) -> None:
        """Let a measurement go first that waits for a device; to be called while the training's clock stands."""
        with suppress(OSError):  # the folder has gone: no reason to end a training
            if any(_is_held(folder / "gate") for folder in self._folders):
                self.leave()
                self.take()

    def num_here(self) -> float:
        """Count the processes of ours that train on one of the devices now, this one among them; NaN if not known."""
        with suppress(OSError):
            if self._slots:
                return max(float(sum(map(_is_held, each.glob("slot-*")))) for each in self._folders) or math.nan
        return math.nan


@contextmanager
def host_shared(devices: Sequence[str] = ("",)) -> Iterator[HostShare]:
    """Train beside others on some devices; not to be held while `host_alone` is asked for, which waits for trainings.

    A device is the name of a GPU's own locks, empty for the CPUs.

    Yields:
        The training's share; where no lock can be made (a read-only system) one that knows of nobody.
    """
    try:
        share = HostShare([lock_folder(device) for device in devices])
    except OSError:
        share = HostShare([])
    try:
        yield share
    finally:
        share.leave()


@contextmanager
def host_alone(device: str = "") -> Iterator[bool]:
    """Measure while none of our trainings runs on a device: they give way at their next sign of life, none begins.

    Yields:
        Whether that is so; False where no lock could be made.
    """
    with ExitStack() as stack:
        is_alone = False
        with suppress(OSError):
            folder = lock_folder(device)
            stack.enter_context(_held(folder / "gate"))
            for slot in folder.glob("slot-*"):
                stack.enter_context(_held(slot))
            is_alone = True
        yield is_alone


def lock_folder(device: str = "") -> Path:
    """Return the folder of a device's locks, made for all users of this host: in BATCHLAB_LOCKS, else in /tmp.

    Not in the folder for temporary files that the environment names: a batch system gives each job its own.
    """
    typed = os.environ.get(LOCKS)
    common = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
    top = Path(typed) if typed else common / NAME
    for folder in (top, top / device):
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(PermissionError):  # another user was faster
                folder.chmod(EVERYBODY)  # mkdir's own mode is cut by the umask
    return top / device


def _opened(path: Path) -> int:
    """Open a file to be locked, whoever made it: reading is enough for a lock, and all that others may do."""
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


def _free_slot(folder: Path) -> int:
    place = 0
    while not _is_free(file := _opened(folder / f"slot-{place}"), fcntl.LOCK_EX):
        os.close(file)
        place += 1
    return file


def _let_go(file: int) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough where a DataLoader's process has inherited the file
    os.close(file)


def _is_free(file: int, lock: int) -> bool:
    """Take the lock, if nobody holds it."""
    try:
        fcntl.flock(file, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_held(path: Path) -> bool:
    """Return whether somebody has it locked, looked at with a lock that is let go of at once."""
    file = _opened(path)
    try:
        return not _is_free(file, fcntl.LOCK_SH)
    finally:
        os.close(file)

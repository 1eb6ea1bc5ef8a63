"""A file that one process at a time has; it is free again when that process ends, whatever ends it."""

import fcntl
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path


def only_one(path: Path, owner: str) -> FileIO | None:
    """Lock a file, made where there is none, for this process, and write its owner's name into it.

    Returns:
        The open file; its closing, or that of any other handle on it in this process, ends the lock. None where
        another process has it.
    """
    while True:
        handle = FileIO(path, "a+")
        try:
            # not flock: a DataLoader's workers would inherit it, and outlive a killed process by seconds
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            handle.close()
            return None
        with suppress(FileNotFoundError):  # whoever had it may have removed the file meanwhile
            if os.fstat(handle.fileno()).st_ino == path.stat().st_ino:
                handle.truncate(0)
                handle.write(owner.encode())
                return handle
        handle.close()

"""What stands in a program's way from outside: a full disk, a read-only folder, a store that does not answer."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

OUTSIDE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""Errors of the system that no change of the program would mend."""
KEPT = "What was recorded before is kept; when that is mended, the same command goes on."


class EnvironmentFailure(RuntimeError):
    """Its text is all that a person needs: what is in the way, and what is lost; no traceback."""


def cannot_write(path: Path, error: OSError, lost: str) -> EnvironmentFailure:
    """Return the failure of a file that cannot be written; `lost` is a sentence that says what is lost."""
    return EnvironmentFailure(f"{path}: {os.strerror(error.errno or errno.EIO)}. {lost}")


def in_words(error: BaseException) -> str:
    """Return what stands in the way and what is kept, where an exception says so; else an empty string."""
    reason = reason_of(error)
    is_whole = not reason or any(isinstance(each, EnvironmentFailure) for each in _causes(error))
    return reason if is_whole else f"{reason}. {KEPT}"


def reason_of(error: BaseException) -> str:
    """Return what stands in the way, where an exception or one of its causes says so; else an empty string."""
    for each in _causes(error):
        if isinstance(each, EnvironmentFailure):
            return str(each)
        if isinstance(each, OSError) and each.errno in OUTSIDE:
            return f"{each.filename or 'a file'}: {os.strerror(each.errno)}"
        if store := getattr(each, "store", None):  # see `stores.share_sqlite`
            return masked(f"{store}: {str(each).strip().splitlines()[0]}")
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the exception and what it was raised from; not what was being handled by chance, which may be unrelated."""
    while error is not None:
        yield error
        error = error.__cause__


def masked(text: str) -> str:
    """Return a text without the passwords of addresses in it: ``://user:password@`` becomes ``://user:***@``."""
    text = re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", text)  # up to the last @: a password may hold one
    return re.sub(r"(?i)([?&]password=)[^&\s'\"]+", r"\1***", text)

"""A file per run to which everything is appended first; MLflow is a sink that drains it.

A run's file is JSON lines: a header, values, the run's id in MLflow once it has one, and how it ended. With the folder
of artifacts beside it, that is all that is needed to make the run in MLflow, by whoever finds the file. The process
that writes it holds the file's lock: the kernel gives that back when the process is gone, however it went.
"""

import fcntl
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Any
from weakref import WeakSet

from batchlab.system.environment_errors import cannot_write

LOST = "Lost: this run from here on; what it had before is kept and sent to MLflow by the next command."
_open_here: "WeakSet[Spool]" = WeakSet()


@dataclass(frozen=True)
class Value:
    """One value of one metric."""

    key: str  # metric name, e.g. ``val/accuracy``.
    value: float  # may be NaN
    timestamp_ms: int  # milliseconds since 1970
    step: int  # optimizer step; 0 for finals


@dataclass(frozen=True)
class Header:
    """What a run is.

    Attributes:
        id: our own, 32 hexadecimal digits: the name of the file, and a tag of the run in MLflow.
        study, name: of the experiment, and of the run.
        began_ms: milliseconds since 1970.
        address: of the MLflow that it is meant for, without its password; empty for mlflow.db beside the spool.
        tags, params: identity, host and load; settings by dotted key.
        data_set: name, digest, source and sizes; empty where there is none.
    """

    id: str
    study: str
    name: str
    began_ms: int
    address: str
    tags: dict[str, str]
    params: dict[str, str]
    data_set: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    """How a run ended."""

    status: str  # MLflow's: FINISHED, FAILED or KILLED
    ended_ms: int  # milliseconds since 1970
    tags: dict[str, str]  # outcome, cause, and why values are missing


@dataclass
class Content:
    """What stands in a run's file."""

    header: Header  # the first line
    values: list[Value] = field(default_factory=list)  # in the order in which they were measured
    run_id: str = ""  # the run's in MLflow; empty where none is known
    end: End | None = None  # None where the run is on its way, or its process died
    num_bytes: int = 0  # length of the lines that are whole
    is_cut: bool = False  # whether more follows, which was not written to its end


def begin(folder: Path, header: Header) -> "Spool":
    """Create the file of a run that begins, in a folder that is made where it is missing.

    Raises:
        EnvironmentFailure: where it cannot be written; nothing is left of it then.
    """
    part = folder / f".{header.id}.part"  # a file of the right name has a whole header
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = FileIO(part, "xb+")
    except OSError as error:
        raise cannot_write(folder, error, "Lost: nothing; the run has not begun.") from error
    spool = Spool(folder / f"{header.id}.jsonl", file, Content(header))
    try:
        with suppress(OSError):  # a network folder without locks: its runs are sent by who wrote them, or not at all
            fcntl.flock(file, fcntl.LOCK_EX)
        spool.write({"header": asdict(header)})
        part.rename(spool.path)
    except BaseException:
        spool.close()
        part.unlink(missing_ok=True)
        raise
    _close_in_children()
    _open_here.add(spool)
    return spool


def reopen(path: Path) -> "Spool | None":
    """Open the file of a process that is gone; None where the process lives, or the file is none of ours."""
    try:
        file = FileIO(path, "rb+")
    except OSError:
        return None
    content = None
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        content = read(path) if os.fstat(file.fileno()).st_nlink else None  # who held it until now may have removed it
    if content is None:
        file.close()
        return None
    file.truncate(content.num_bytes)
    return Spool(path, file, content)


def read(path: Path) -> Content | None:
    """Read a file up to the first line that is not whole; None where it is none of ours."""
    content, data, num_bytes = None, path.read_bytes(), 0
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
        try:
            content = _with(content, json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            break
        num_bytes += len(line)
    if content is not None:
        content.num_bytes, content.is_cut = num_bytes, num_bytes < len(data)
    return content


def _with(content: Content | None, record: dict[str, Any]) -> Content:
    """Return the content with one more line."""
    if content is None:
        return Content(Header(**record["header"]))
    content.values += [Value(**each) for each in record.get("values", ())]
    content.run_id = record.get("run_id", content.run_id)
    content.end = End(**record["end"]) if "end" in record else content.end
    return content


@lru_cache(maxsize=1)
def _close_in_children() -> None:
    """Close files in forked children: a loader of data, say, would hold the lock of a parent that was killed."""
    os.register_at_fork(after_in_child=lambda: [spool.close() for spool in _open_here])


class Spool:
    """A run's file, open and locked by this process; what was appended is on its way to disk when `append` returns.

    Attributes:
        waiting: values that MLflow has not taken yet.
        is_known: whether MLflow is known to have the run under `run_id`.
        is_new: whether MLflow cannot have it yet.
    """

    def __init__(self, path: Path, file: FileIO, content: Content) -> None:
        self.path, self.header, self.end, self.run_id = path, content.header, content.end, content.run_id
        self.artifacts = path.with_suffix("")
        self.waiting = content.values
        self.is_known, self.is_new, self.has_params = False, content.num_bytes == 0, False
        self._file, self._num_bytes, self._num_sent, self.was_cut = file, content.num_bytes, 0, content.is_cut

    def append(self, values: list[Value]) -> None:
        """Write values down; they wait for MLflow."""
        self.write({"values": [asdict(value) for value in values]})
        self.waiting += values

    def note(self, run_id: str) -> None:
        """Write down the run's id in MLflow."""
        self.write({"run_id": run_id})
        self.run_id = run_id

    def finish(self, end: End) -> None:
        """Write down how the run ended."""
        self.write({"end": asdict(end)})
        self.end = end

    def sent(self) -> None:
        """Count what waited as taken by MLflow."""
        self._num_sent += len(self.waiting)
        self.waiting = []

    def rewind(self) -> None:
        """Have all of this run wait: MLflow has nothing of it, not even what was sent to where it is no longer."""
        self.has_params = False
        if self._num_sent and (content := read(self.path)) is not None:
            self.waiting, self._num_sent = content.values, 0

    def close(self) -> None:
        """Give the file back: whoever finds it may send it."""
        self._file.close()

    def remove(self) -> None:
        """Remove the file and the artifacts: everything has reached MLflow."""
        shutil.rmtree(self.artifacts, ignore_errors=True)
        self.path.unlink(missing_ok=True)
        self.close()

    def write(self, record: dict[str, Any]) -> None:
        """Append a line, whole or not at all.

        Raises:
            EnvironmentFailure: where it cannot be written; the file is as it was before.
        """
        line = (json.dumps(record) + "\n").encode()
        try:
            self._file.seek(self._num_bytes)
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except BaseException as error:
            self._file.truncate(self._num_bytes)
            if isinstance(error, OSError):
                raise cannot_write(self.path, error, LOST) from error
            raise
        self._num_bytes += len(line)

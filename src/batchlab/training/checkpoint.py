"""Resume inside a run: its state in a file, from which the same run goes on when its process was stopped or killed.

On a CPU the run that goes on is to the last bit the one that was never interrupted; with budget=seconds it goes on from
the clock's reading.
"""

import hashlib
import json
import os
import pickle
import time
import zipfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from batchlab.config.identity import config_key, settings_affecting
from batchlab.config.keys import Affects
from batchlab.system.file_lock import only_one
from batchlab.system.signals import check_stop
from batchlab.training.build import Built
from batchlab.training.evaluation import RunHistory
from batchlab.training.loop import LoopState
from batchlab.training.plan import Counts
from batchlab.training.state import Stateful, load, parts_of, plain

FORMAT = 4
"""Of the file; one more whenever a state changes what it holds."""


@contextmanager
def open_checkpointer(built: Built, say: Callable[[str], None], owner: str = "") -> "Generator[Checkpointer | None]":
    """Open the checkpoint of a run while the run goes on; None where none is wanted or none can be had.

    One that is found is tried on the run, which has not begun; one that does not fit leaves it as it was. `say` gets a
    sentence on whatever a person has to know; `owner` is the study whose trial this is, for `remove_stale`.
    """
    if built.config.checkpoint.every_seconds is None:
        yield None
        return
    key = key_of(built)
    path = folder_of(built.config.mlruns) / f"{key}.pt"
    lock, why_not = None, "another process trains the same run and has its checkpoint"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = only_one(path.with_suffix(".lock"), owner)
    except OSError as error:
        why_not = f"{path.parent}: {reason_of(error)}"
    if lock is None:
        say(f"begins anew and keeps no checkpoint ({why_not})")
        yield None
        return
    with lock:
        checkpointer = Checkpointer(path, key, built, say)
        try:
            yield checkpointer
        finally:
            checkpointer.close()


class Checkpointer:
    """Write one run's checkpoint and resume the run from it; made by `open_checkpointer`, with the lock of `path`.

    Attributes:
        resumed_from: steps of the checkpoint that was found; None where there was none that can be used.
    """

    def __init__(self, path: Path, key: str, built: Built, say: Callable[[str], None]) -> None:
        self._path, self._key, self._built, self._say = path, key, built, say
        self._every = built.config.checkpoint.every_seconds or 0.0
        self._standing, self._has_failed, self._last = "", False, time.monotonic()
        self.resumed_from: int | None = None
        self._states = self._find() if path.exists() else None

    def resume(self, parts: Mapping[str, Stateful]) -> bool:
        """Load the checkpoint into the run's parts, beside those of `parts_of`; return whether there was one."""
        states, self._states = self._states, None  # the run does not hold them in memory to its end
        if states is not None:
            load({**parts, **parts_of(self._built)}, states)
        return states is not None

    def offer(self, parts: Mapping[str, Stateful]) -> None:
        """Write a checkpoint where one is due; called between two steps, while the clock stands."""
        if time.monotonic() - self._last >= self._every:
            self._write({**parts, **parts_of(self._built)})
            self._last = time.monotonic()

    def remove(self) -> None:
        """Remove the checkpoint of a run that has ended and whose outcome is recorded."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._say(f"its checkpoint {self._path} could not be removed ({reason_of(error)})")
        self._standing = ""

    def close(self) -> None:
        """Say what stays; without a checkpoint no file does."""
        stays = self._path.exists()
        for suffix in (".part",) if stays else (".part", ".lock"):
            with suppress(OSError):
                self._path.with_suffix(suffix).unlink(missing_ok=True)
        if stays and self._standing:
            self._say(f"its checkpoint, {self._standing}, is kept; the same command goes on from there")

    def _find(self) -> dict[str, Any] | None:
        mine = parts_of(self._built)
        before = deepcopy({name: part.state_dict() for name, part in mine.items()})
        try:
            states = read(self._path, self._key)
            load({"history": RunHistory(), "loop": LoopState(), **mine}, states)
            self._standing = self._where(states)
        except Exception as error:  # a file of someone else's may be wrong in any way
            load(mine, before)
            aside = self._path.with_name(f"{self._path.name}.damaged")
            with suppress(OSError):
                self._path.replace(aside)
            why = f"its checkpoint cannot be used ({reason_of(error)})"
            self._say(f"{why}; the run begins anew, the file is now {aside}")
            return None
        self.resumed_from = states["loop"]["counts"]["steps"]
        self._say(f"resumed {self._standing}")
        return states

    def _where(self, states: Mapping[str, Any]) -> str:
        counts = Counts(**states["loop"]["counts"])
        return f"at step {counts.steps} ({self._built.plan.progress(counts):.0%} of its budget)"

    def _write(self, parts: Mapping[str, Stateful]) -> None:
        beside = self._path.with_suffix(".part")
        try:
            states = {name: plain(part.state_dict()) for name, part in parts.items()}
            with beside.open("wb") as file:
                torch.save({"format": FORMAT, "key": self._key, "states": states}, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
            self._standing = self._where(states)
        except (OSError, RuntimeError, TypeError) as error:
            check_stop()  # a signal's exception may have come out of torch.save as another one
            if not self._has_failed:
                stays = f"; the one {self._standing} stays" if self._standing else ""
                self._say(f"its checkpoint could not be written ({reason_of(error)}); the run goes on{stays}")
            self._has_failed = True
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def key_of(built: Built) -> str:
    """Return a hash of what a run is and how it is measured: 16 hexadecimal digits."""
    facts = (FORMAT, config_key(built.config), settings_affecting(built.config, Affects.MEASURES), built.device.type)
    facts += (built.clock.is_calibrated, built.seed, built.dataset.digest)
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def folder_of(mlruns: str) -> Path:
    """Return the folder of checkpoints, ``<key>.pt``; beside one ``<key>.lock`` while it is there or trained."""
    return Path(mlruns) / "checkpoints"


def read(path: Path, key: str) -> dict[str, Any]:
    """Read the states in a run's checkpoint by their parts' names; nothing in the file is run.

    Raises:
        Exception: of many kinds, where the file is damaged or no checkpoint of this run.
    """
    with zipfile.ZipFile(path) as archive:  # torch.load does not look at the check sums
        if (member := archive.testzip()) is not None:
            raise ValueError(f"{member} in it is damaged")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # its text says how to run what is in the file
        raise ValueError("it holds more than numbers and text") from None
    if not isinstance(content, dict) or "format" not in content:
        raise ValueError("no checkpoint of batchlab")
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']}, and this version reads {FORMAT}")
    if content["key"] != key:
        raise ValueError("of another run")
    return content["states"]  # pyright: ignore[reportUnknownVariableType], looked at by each part


def reason_of(error: Exception) -> str:
    """Return an error's message in one line; where torch hides that the disk is full, the disk's."""
    if isinstance(error.__context__, OSError):
        error = error.__context__
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    name = f"{type(error).__name__}: " if isinstance(error, LookupError) else ""
    return name + " ".join(text.split())[:200]


def remove_stale(mlruns: str, study: str) -> int:
    """Remove the checkpoints of a finished study's trials that no process works on; return how many there were."""
    num_removed = 0
    for path in sorted(folder_of(mlruns).glob("*.lock")):
        with suppress(OSError):
            if path.read_text() != study or (lock := only_one(path, study)) is None:
                continue
            with lock:
                num_removed += path.with_suffix(".pt").exists()
                for each in (path.with_suffix(".pt"), path.with_suffix(".part"), path):
                    each.unlink(missing_ok=True)
    return num_removed

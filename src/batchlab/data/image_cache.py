"""What was read of a folder's images, in one file that is kept until one of them changes; it can be deleted."""

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from batchlab.data.image_decoding import FileContents
from batchlab.system.file_lock import only_one

FORMAT = 2
"""Of the file and of what `image_decoding` makes of an image; one more whenever either changes."""
ARRAYS = ("images", "sha256", "traits", "ranges")
"""Of `FileContents`, one row a file."""


@dataclass(frozen=True)
class Entry:
    """Where a folder's images are kept, and the state of their files before they were read."""

    file: Path
    root: Path
    num_files: int
    state: bytes


def entry_of(cache: str, root: Path, paths: Sequence[str], image_size: int) -> Entry | None:
    """Return the one entry of a folder and a size in a folder of entries; None where a file is not there.

    The state is a hash of names, sizes and times of the files as they are now, and of how they are decoded.
    """
    try:
        files = [f"{path} {(facts := os.stat(path)).st_size} {facts.st_mtime_ns}" for path in paths]
    except OSError:
        return None
    name = hashlib.sha256(os.fsencode(f"{root} {image_size}")).hexdigest()[:16]
    lines = "\n".join([f"{FORMAT} {PIL.__version__} {image_size}", *files])
    file = Path(cache).expanduser().absolute() / f"{name}.npz"
    return Entry(file, root, len(paths), hashlib.sha256(os.fsencode(lines)).digest())


def read(entry: Entry) -> FileContents | None:
    """Return what is kept of files in that state; None where nothing is, or it is damaged."""
    try:
        with np.load(entry.file, allow_pickle=False) as kept:  # which looks at the check sums
            if kept["state"].tobytes() != entry.state:
                return None
            arrays = {name: kept[name] for name in ARRAYS}
            faults = dict(zip(kept["fault_rows"].tolist(), kept["faults"].tolist(), strict=True))
            value_range = tuple(kept["value_range"].tolist()) or None
    except Exception:  # a damaged file may be wrong in any way
        return None
    is_whole = {len(each) for each in arrays.values()} == {entry.num_files}
    return FileContents(**arrays, faults=faults, value_range=value_range) if is_whole else None


def why_not_kept(entry: Entry, num_bytes: int) -> str:
    """Say why so many bytes cannot be kept; empty where they can be, as far as one sees without writing."""
    parent = next(each for each in entry.file.parents if os.path.exists(each))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        return f"{parent} is no folder that can be written to"
    return (
        "the disk is nearly full" if shutil.disk_usage(parent).free < 2 * num_bytes else ""
    )  # its last is for results


def write(entry: Entry, contents: FileContents, order: np.ndarray) -> None:
    """Keep what was read, and remove what is kept of folders that are gone; nothing happens where that cannot be.

    Args:
        entry: where.
        contents: of the files; their faults by file.
        order: place of each row of `contents` among the files; those with a fault have no row.
    """
    part, lock_file = entry.file.with_suffix(".part"), entry.file.with_suffix(".lock")
    with suppress(OSError, MemoryError):
        entry.file.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(entry.file.parent)
        if why_not_kept(entry, contents.images.nbytes) or (lock := only_one(lock_file, "")) is None:
            return
        with lock:
            try:
                with part.open("wb") as opened:
                    arrays = {name: _by_file(getattr(contents, name), order, entry.num_files) for name in ARRAYS}
                    np.savez(opened, allow_pickle=False, **arrays, **_facts(entry, contents))
                part.replace(entry.file)
            finally:
                for each in (part, lock_file):
                    each.unlink(missing_ok=True)


def _facts(entry: Entry, contents: FileContents) -> dict[str, np.ndarray]:
    return {
        "state": np.frombuffer(entry.state, np.uint8),
        "root": np.frombuffer(os.fsencode(entry.root), np.uint8),
        "fault_rows": np.array(list(contents.faults), np.int64),
        "faults": np.array(list(contents.faults.values()), np.str_),
        "value_range": np.array(contents.value_range or (), np.float64),
    }


def _by_file(rows: np.ndarray, order: np.ndarray, num_files: int) -> np.ndarray:
    ordered = np.zeros((num_files, *rows.shape[1:]), rows.dtype)
    ordered[order] = rows
    return ordered


def _remove_orphans(folder: Path) -> None:
    """Remove entries of folders that are not there any more, and those of earlier releases that do not name theirs."""
    for file in folder.glob("*.npz"):
        with suppress(Exception):  # a damaged file may be wrong in any way; another process may have removed it
            with np.load(file, allow_pickle=False) as kept:
                is_ours = bool(re.fullmatch(r"[0-9a-f]{16}\.npz", file.name)) and "state" in kept
                root = os.fsdecode(kept["root"].tobytes()) if "root" in kept else ""
            if is_ours and not os.path.isdir(root):
                file.unlink()

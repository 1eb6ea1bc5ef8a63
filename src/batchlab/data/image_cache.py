"""What was read of a folder's images, in one file that is kept until one of them changes; it can be deleted."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL

from batchlab.data.image_decoding import FileContents
from batchlab.system.file_lock import only_one

FORMAT = 1
"""Of the file and of what `image_decoding.decode` makes of an image; one more whenever either changes."""


def cache_file(folder: str, root: Path, image_size: int) -> Path:
    """Return the one file that a cache folder has for a folder of images and a size."""
    name = hashlib.sha256(os.fsencode(f"{root} {image_size}")).hexdigest()
    return Path(folder).expanduser().absolute() / f"{name[:16]}.npz"


def state_of(paths: Sequence[str], image_size: int) -> bytes | None:
    """Hash names, sizes and times of files as they are now, and how they are decoded; None where one is not there."""
    try:
        files = [f"{path} {(facts := os.stat(path)).st_size} {facts.st_mtime_ns}" for path in paths]
    except OSError:
        return None
    return hashlib.sha256(os.fsencode("\n".join([f"{FORMAT} {PIL.__version__} {image_size}", *files]))).digest()


def read(file: Path, state: bytes, num_files: int, image_size: int) -> FileContents | None:
    """Return what is kept of files in that state; None where nothing is, or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as kept:  # which looks at the check sums
            if kept["state"].tobytes() != state:
                return None
            images, sha256 = kept["images"], kept["sha256"]
    except Exception:  # a damaged file may be wrong in any way
        return None
    shapes = (num_files, 3, image_size, image_size), (num_files, 32)
    is_ours = (images.shape, sha256.shape) == shapes and images.dtype == sha256.dtype == np.uint8
    return FileContents(images, sha256, {}) if is_ours else None


def write(file: Path, state: bytes, contents: FileContents, order: np.ndarray) -> None:
    """Keep what was read; nothing happens where that cannot be, or where another process is about to.

    Args:
        file: see `cache_file`.
        state: of the files before they were read.
        contents: of the files, of which none has a fault.
        order: [N] place of each row of `contents` among the files.
    """
    part = file.with_suffix(".part")
    with suppress(OSError, MemoryError):
        file.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(file.parent).free < 2 * contents.images.nbytes:
            return  # the last of a disk is for results
        if (lock := only_one(file.with_suffix(".lock"), "")) is None:
            return
        with lock:
            try:
                with part.open("wb") as opened:
                    images, sha256 = (_by_file(each, order) for each in (contents.images, contents.sha256))
                    np.savez(opened, state=np.frombuffer(state, np.uint8), images=images, sha256=sha256)
                part.replace(file)
            finally:
                for each in (part, file.with_suffix(".lock")):
                    each.unlink(missing_ok=True)


def _by_file(rows: np.ndarray, order: np.ndarray) -> np.ndarray:
    ordered = np.empty_like(rows)
    ordered[order] = rows
    return ordered

"""What the image files of a folder hold: read now, or kept, or decoded when it is asked for."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from batchlab.data import image_cache
from batchlab.data.argument_checks import refuse
from batchlab.data.class_folders import MAX_SHOWN
from batchlab.data.image_decoding import FileContents, Range, Trait, decode, reason_of
from batchlab.data.image_processes import read_all
from batchlab.errors import ConfigError
from batchlab.system.deferred_writes import write_when_checked


class ImageFiles:
    """Images that are decoded when they are asked for: uint8 [N, channels, size, size], as `dataset.Inputs`."""

    dtype = torch.uint8

    def __init__(self, paths: np.ndarray, channels: int, image_size: int, value_range: Range | None) -> None:
        self._paths, self._value_range = paths, value_range
        self.shape = (len(paths), channels, image_size, image_size)

    def __getitem__(self, indices: Tensor, /) -> Tensor:
        """Return images [len(indices), channels, size, size].

        Raises:
            ConfigErrors: where a file cannot be decoded; the message names it.
        """
        paths = self._paths[np.asarray(indices)]
        images = torch.empty((len(paths), *self.shape[1:]), dtype=torch.uint8)
        faults = dict[int, str]()
        with ThreadPoolExecutor(1 if get_worker_info() else os.cpu_count()) as pool:  # a loader has several workers
            for row, image in enumerate(pool.map(self._decode, paths)):
                if isinstance(image, str):
                    faults[row] = image
                else:
                    images[row] = torch.from_numpy(image.copy())
        refuse(broken_images(paths, faults))
        return images

    def _decode(self, path: str) -> np.ndarray | str:
        try:
            return decode(Path(path).read_bytes(), self.shape[-1], self._value_range)
        except Exception as error:  # see `decode`
            return reason_of(error)


def read_images(
    root: Path,
    paths: np.ndarray,
    image_size: int,
    cache: str | None,
    choose: Callable[[dict[int, str]], list[np.ndarray]],
) -> tuple[FileContents, list[np.ndarray], tuple[str, ...]]:
    """Read what the files of a folder hold, from the cache where it has them as they are, and keep it there.

    Args:
        root: the folder.
        paths: [N] of its images.
        image_size: see `image_decoding.read_files`.
        cache: see `folder.load_folder`.
        choose: from the faults of files to the rows of train, val and test; may refuse.

    Returns:
        What the files of train, then val, then test hold, wide images in the range of those of train; the rows
        that were chosen; what is to be said.
    """
    names = paths.tolist()
    entry = image_cache.entry_of(cache, root, names, image_size) if cache else None
    kept = image_cache.read(entry) if entry else None
    read = kept or read_all(names, image_size)
    chosen = choose(read.faults)
    contents = _in_range_of(chosen[0], read, paths, image_size)
    order = np.concatenate(chosen)
    arrays = {name: getattr(contents, name)[order] for name in image_cache.ARRAYS}
    ordered = replace(contents, **arrays)
    is_read = contents.sha256[list(contents.faults)].any(1).all()  # a file that cannot be read today may be tomorrow
    if not entry or contents is kept or not is_read:
        return ordered, chosen, ()
    if why := image_cache.why_not_kept(entry, ordered.images.nbytes):
        return ordered, chosen, (f"decoded images are not kept for the next command: {why}",)
    write_when_checked(entry.file, partial(image_cache.write, entry, ordered, order))
    return ordered, chosen, ()


def _in_range_of(train: np.ndarray, contents: FileContents, paths: np.ndarray, image_size: int) -> FileContents:
    """Return the contents with wide images decoded in the range of those in the rows to train with."""
    wide = np.flatnonzero(contents.traits & Trait.WIDE)
    if not len(wide):
        return contents
    own = np.intersect1d(wide, train)
    ranges = contents.ranges[own if len(own) else wide]
    value_range = float(ranges[:, 0].min()), float(ranges[:, 1].max())
    if value_range == contents.value_range:
        return contents
    if image_size:
        again = read_all(paths[wide].tolist(), image_size, value_range)
        refuse(broken_images(paths[wide], again.faults))
        contents.images[wide] = again.images
    return replace(contents, value_range=value_range)


def broken_images(paths: np.ndarray, faults: dict[int, str]) -> Iterator[ConfigError]:
    """Return an error for each of the first rows whose file has a fault; the last of them counts the rest."""
    rows = sorted(faults)
    for place, row in enumerate(rows[:MAX_SHOWN], 1):
        rest = f", like {len(rows) - place:,} more files" if place == MAX_SHOWN < len(rows) else ""
        allowed = f"this image cannot be decoded ({faults[row]}){rest}; replace, remove or leave it out"
        yield ConfigError("data.path", paths[row], allowed, "data.skip_broken=true too")

"""A folder of images, one sub-folder a class."""

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from batchlab.data import image_cache
from batchlab.data.argument_checks import class_counts, flag, refuse, split_settings, whole_number
from batchlab.data.dataset import Augment, Dataset, Split, make_dataset, split_indices
from batchlab.data.image_decoding import FileContents, decode, reason_of
from batchlab.data.image_processes import read_all
from batchlab.errors import ConfigError, config_error
from batchlab.system.deferred_writes import write_when_checked

MAX_DECODED_BYTES = 2 * 1024**3
MAX_SHOWN = 8


class ImageFiles:
    """Images that are decoded when they are asked for: uint8 [N, 3, size, size], as `dataset.Inputs`."""

    dtype = torch.uint8

    def __init__(self, paths: np.ndarray, image_size: int) -> None:
        self._paths, self._image_size = paths, image_size
        self.shape = (len(paths), 3, image_size, image_size)

    def __getitem__(self, indices: Tensor, /) -> Tensor:
        """Return images [len(indices), 3, size, size].

        Raises:
            ConfigErrors: where a file cannot be decoded; the message names it.
        """
        paths = self._paths[np.asarray(indices)]
        images = torch.empty((len(paths), *self.shape[1:]), dtype=torch.uint8)
        faults: list[ConfigError] = []
        with ThreadPoolExecutor(1 if get_worker_info() else os.cpu_count()) as pool:  # a loader has several workers
            for row, image in enumerate(pool.map(lambda path: _decode(path, self._image_size), paths)):
                if isinstance(image, ConfigError):
                    faults.append(image)
                else:
                    images[row] = torch.from_numpy(image.copy())
        refuse(faults[:MAX_SHOWN])
        return images


def load_folder(
    path: str | None,
    image_size: int,
    augment_flip: bool,
    augment_crop: int,
    val_fraction: float,
    test_fraction: float,
    split_seed: int,
    cache: str | None = None,
) -> Dataset:
    """Load images of a folder with one sub-folder a class, as RGB, resized (short side) and cropped at the centre.

    All are decoded now where that takes less than 2 GiB; else each when it is asked for, and a file that
    cannot be decoded is found only then. The digest covers relative names and content of the files in each
    split and the image size.

    Args:
        path: the folder.
        image_size: height and width after the crop, in pixels.
        augment_flip: flip training images at random.
        augment_crop: crop training images at random after so many pixels of zero padding; 0 is off.
        val_fraction: of the split, with the next two; see `dataset.split_indices`.
        test_fraction: see there.
        split_seed: see there.
        cache: folder in which what was read of the files is kept until one of them changes; None = nowhere.

    Returns:
        Inputs [N, 3, image_size, image_size] uint8; classes are numbered by sorted folder name.

    Raises:
        ConfigErrors: where an argument is not allowed, the folder has not two classes with images, or an image
            cannot be decoded.
    """
    refuse(
        whole_number("data.image_size", image_size, 1, 64),
        flag("data.augment_flip", augment_flip),
        whole_number("data.augment_crop", augment_crop, 0, 4),
        split_settings(val_fraction, test_fraction, split_seed),
    )
    root = _existing(path)
    paths, targets, names = _find_images(root)
    chosen = split_indices(targets, val_fraction, test_fraction, split_seed)
    decode_now = math.prod((len(paths), 3, image_size, image_size)) < MAX_DECODED_BYTES
    order = np.concatenate(chosen)
    contents = _read(root, paths, order, image_size if decode_now else 0, cache)
    ends = np.cumsum([len(part) for part in chosen])[:-1]
    images = [torch.from_numpy(each) for each in np.split(contents.images, ends)]
    inputs = images if decode_now else [ImageFiles(paths[part], image_size) for part in chosen]
    splits = map(Split, inputs, (targets[part] for part in chosen))
    augment = Augment(augment_flip, augment_crop) if augment_flip or augment_crop else None
    hashes = np.split(contents.sha256, ends)
    digest = _digest(root, image_size, [(paths[part], targets[part]) for part in chosen], hashes)
    shown = ", ".join(names[:MAX_SHOWN]) + (" ..." if len(names) > MAX_SHOWN else "")
    facts = (f"{len(paths):,} images in {len(names)} folders of {root}: {shown}",)
    if not decode_now:
        facts += ("images are decoded on demand: all of them take 2 GiB or more",)
    return make_dataset(root.name, splits, len(names), facts, augment, digest)


def _existing(path: str | None) -> Path:
    fix = "data.path=/folder/with/one/folder/a/class"
    if not path:
        raise config_error("data.path", path, "a folder with one folder of images a class is needed", fix)
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise config_error("data.path", path, f"{root} {what}", fix)
    return root


def _find_images(root: Path) -> tuple[np.ndarray, Tensor, list[str]]:
    from torchvision.datasets import ImageFolder

    fix = "data.path=/another/folder"
    try:
        found = ImageFolder(root, allow_empty=True)
    except OSError as error:
        raise config_error("data.path", root, f"no class folders with images found ({error})", fix) from None
    if not found.samples:
        raise config_error("data.path", root, f"its {len(found.classes)} folders hold no images", fix)
    paths = np.array([path for path, _ in found.samples])
    targets = torch.tensor([number for _, number in found.samples])
    fix = "data.path=/another/folder, or add images to these classes or remove their folders"
    refuse(class_counts("data.path", root, targets, found.classes, fix))
    return paths, targets, found.classes


def _read(root: Path, paths: np.ndarray, order: np.ndarray, image_size: int, cache: str | None) -> FileContents:
    """Return what the files hold, from the cache where it has them as they are, in this order; without faults."""
    names = paths.tolist()
    file = image_cache.cache_file(cache, root, image_size) if cache else None
    state = image_cache.state_of(names, image_size) if file else None
    found = image_cache.read(file, state, len(names), image_size) if file and state else None
    is_new, found = found is None, found or read_all(names, image_size)
    refuse([_fault(names[row], found.faults[row]) for row in sorted(found.faults)[:MAX_SHOWN]])
    contents = FileContents(found.images[order], found.sha256[order], {})
    if file and state and is_new:
        write_when_checked(file, partial(image_cache.write, file, state, contents, order))
    return contents


def _decode(path: str, image_size: int) -> np.ndarray | ConfigError:
    try:
        return decode(Path(path).read_bytes(), image_size)
    except Exception as error:  # see `decode`
        return _fault(path, reason_of(error))


def _fault(path: str, why: str) -> ConfigError:
    fix = "data.path=/another/folder, or replace or remove this file"
    return ConfigError("data.path", path, f"this image cannot be decoded ({why})", fix)


def _digest(root: Path, image_size: int, splits: list[tuple[np.ndarray, Tensor]], hashes: list[np.ndarray]) -> str:
    sha, above = hashlib.sha256(str(image_size).encode()), os.path.join(root, "")
    for (paths, targets), contents in zip(splits, hashes, strict=True):
        names = (path.removeprefix(above) for path in paths.tolist())
        rows = zip(names, targets.tolist(), map(bytes, contents), strict=True)
        files = (f"{name} {target} {content.hex()}" for name, target, content in rows)
        sha.update("".join([f"split {len(paths)}", *files]).encode())
    return sha.hexdigest()

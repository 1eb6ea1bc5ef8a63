"""A folder of images, one sub-folder a class."""

import hashlib
import math
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from batchlab.data.argument_checks import flag, refuse, split_settings, whole_number
from batchlab.data.class_folders import SPLITS, FoundImages, check_classes, find_images
from batchlab.data.dataset import Augment, Dataset, Split, make_dataset, split_indices
from batchlab.data.image_decoding import FileContents, Trait, num_channels
from batchlab.data.image_facts import constant_splits, facts_of_contents, facts_of_folder
from batchlab.data.image_files import ImageFiles, broken_images, read_images
from batchlab.errors import ConfigErrors, config_error

MAX_DECODED_BYTES = 2 * 1024**3


def load_folder(
    path: str | None,
    image_size: int,
    augment_flip: bool,
    augment_crop: int,
    val_fraction: float,
    test_fraction: float,
    split_seed: int,
    cache: str | None = None,
    skip_broken: bool = False,
) -> Dataset:
    """Load images of a folder with one sub-folder a class, or with such a folder for each split, at one size.

    All are decoded now where that takes less than 2 GiB; else each when it is asked for, and a file that
    cannot be decoded is found only then, unless broken ones are skipped. The digest covers relative names and
    content of the files in each split, the image size, and what else decides over the pixels.

    Args:
        path: the folder.
        image_size: height and width in pixels: images are resized (short side) and cropped at the centre.
        augment_flip: flip training images at random.
        augment_crop: crop training images at random after so many pixels of zero padding; 0 is off.
        val_fraction: of the images, where the folder has no val; with the next two, see `dataset.split_indices`.
        test_fraction: of the images, where the folder has no test.
        split_seed: see there.
        cache: folder in which what was read of the files is kept until one of them changes; None = nowhere.
        skip_broken: leave out images that cannot be decoded, instead of refusing them.

    Returns:
        Inputs [N, channels, image_size, image_size] uint8, of one channel where all images are grey, else RGB;
        classes are numbered by sorted folder name.

    Raises:
        ConfigErrors: where an argument is not allowed, the folder has not two classes with images in each split,
            an image cannot be decoded, or those of a split are constant.
    """
    refuse(
        whole_number("data.image_size", image_size, 1, 64),
        flag("data.augment_flip", augment_flip),
        whole_number("data.augment_crop", augment_crop, 0, 4),
        split_settings(val_fraction, test_fraction, split_seed),
        flag("data.skip_broken", skip_broken),
    )
    root = _existing(path)
    found = find_images(root)
    decode_now = math.prod((len(found.paths), 3, image_size, image_size)) < MAX_DECODED_BYTES
    size = image_size if decode_now else int(skip_broken)  # one pixel tells which are broken

    def choose(faults: dict[int, str]) -> list[np.ndarray]:
        if not skip_broken:
            refuse(broken_images(found.paths, faults))
        usable = np.delete(np.arange(len(found.paths)), list(faults))
        refuse(check_classes(root, found, usable))
        return _split(found, usable, {"val": val_fraction, "test": test_fraction}, split_seed)

    contents, chosen, facts = read_images(root, found.paths, size, cache, choose)
    paths, targets = [found.paths[rows] for rows in chosen], [found.targets[rows] for rows in chosen]
    images, hashes = (_by_split(each, chosen) for each in (contents.images, contents.sha256))
    if decode_now:
        inputs = [torch.from_numpy(each) for each in images]
    else:
        channels = num_channels(contents.traits)
        inputs = [ImageFiles(names, channels, image_size, contents.value_range) for names in paths]
        facts += ("images are decoded on demand: all of them take 2 GiB or more",)
    splits = [Split(*each) for each in zip(inputs, targets, strict=True)]
    refuse(constant_splits(root, splits, contents.value_range))
    facts = (*facts_of_folder(root, found, chosen), *facts_of_contents(root, found, contents, chosen), *facts)
    augment = Augment(augment_flip, augment_crop) if augment_flip or augment_crop else None
    digest = _digest(root, image_size, contents, list(zip(paths, targets, hashes, strict=True)))
    return make_dataset(root.name, splits, len(found.classes), facts, augment, digest)


def _existing(path: str | None) -> Path:
    fix = "data.path=/folder/with/one/folder/a/class"
    if not path:
        raise config_error("data.path", path, "a folder with one folder of images a class is needed", fix)
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise config_error("data.path", path, f"{root} {what}", fix)
    return root


def _split(found: FoundImages, usable: np.ndarray, fractions: dict[str, float], seed: int) -> list[np.ndarray]:
    """Return the rows of train, val and test: those of their folders, or cut from train."""
    train, *parts = (usable[found.split_of[usable] == place] for place in range(len(SPLITS)))
    if len(found.folders) < 2:
        return [train[part] for part in split_indices(found.targets[train], fractions["val"], fractions["test"], seed)]
    for place, (split, fraction) in enumerate(fractions.items()):
        if split not in found.folders:
            try:
                rest, part, _ = split_indices(found.targets[train], fraction, 0.0, seed)
            except ConfigErrors as error:
                key, allowed = f"data.{split}_fraction", error.errors[0].allowed
                raise config_error(key, fraction, allowed, f"{key}=0.5") from None
            train, parts[place] = train[rest], train[part]
    return [train, *parts]


def _by_split(rows: np.ndarray, chosen: list[np.ndarray]) -> list[np.ndarray]:
    return np.split(rows, np.cumsum([len(each) for each in chosen])[:-1])


def _digest(
    root: Path, image_size: int, contents: FileContents, splits: list[tuple[np.ndarray, Tensor, np.ndarray]]
) -> str:
    """Return the sha256 over the files of each split, and over how those that are not plain are decoded."""
    traits = int(np.bitwise_or.reduce(contents.traits) & (Trait.ALPHA | Trait.TURNED))
    decided = ["grey"] if num_channels(contents.traits) == 1 else []
    decided += [str(each) for each in (contents.value_range, traits) if each]
    sha, above = hashlib.sha256(" ".join([str(image_size), *decided]).encode()), os.path.join(root, "")
    for paths, targets, hashes in splits:
        names = (path.removeprefix(above) for path in paths.tolist())
        rows = zip(names, targets.tolist(), map(bytes, hashes), strict=True)
        files = (f"{name} {target} {content.hex()}" for name, target, content in rows)
        sha.update("".join([f"split {len(paths)}", *files]).encode())
    return sha.hexdigest()

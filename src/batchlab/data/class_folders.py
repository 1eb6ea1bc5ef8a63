"""Find the images of a folder with one sub-folder a class, or with such a folder for each split."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from batchlab.data.argument_checks import class_counts
from batchlab.errors import ConfigError, config_error

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
"""Names of a split's folder, in small or capital letters."""
Walk = tuple[dict[str, list[str]], list[str]]
"""The images of each class folder, and the files that are none or outside of these."""
ANOTHER = "data.path=/another/folder"
MAX_SHOWN = 8


@dataclass(frozen=True)
class FoundImages:
    """N images by their names, class after class, of one split after the other where each has its folder."""

    paths: np.ndarray  # [N] str
    targets: Tensor  # [N] int64, the place of the class
    split_of: np.ndarray  # [N] int64, the place in `SPLITS`; 0 where splits have no folders
    classes: tuple[str, ...]  # sorted
    folders: dict[str, str]  # split -> its folder's name; empty where splits have none
    facts: tuple[str, ...]  # what was skipped


def find_images(root: Path) -> FoundImages:
    """Find the images in the class folders of a folder, or of its folders train, val and test.

    Hidden folders are left out, and so are files of other suffixes, or outside of a class's folder.

    Raises:
        ConfigErrors: where there are no class folders with images, or only some of train, val and test have them.
    """
    try:
        folders = _split_folders(root, _folders_in(root))
        walks = {split: _by_class(root / name) for split, name in folders.items()} or {"train": _by_class(root)}
        facts = tuple(_facts_of_files(root, folders, walks)) + tuple(_facts_of_folders(root, folders))
    except OSError as error:
        raise config_error("data.path", root, f"cannot be read ({error})", ANOTHER) from None
    classes = tuple(sorted({name for images, _ in walks.values() for name in images}))
    paths, counts = list[str](), list[tuple[int, int, int]]()
    for split, (images, _) in walks.items():
        for name in sorted(images):
            paths += images[name]
            counts.append((list(SPLITS).index(split), classes.index(name), len(images[name])))
    if not paths:
        what = f"its {len(classes)} folders hold no images" if classes else "no class folders with images found"
        raise config_error("data.path", root, what, ANOTHER)
    splits, targets, repeats = np.array(counts).T
    split_of, targets = np.repeat(splits, repeats), torch.from_numpy(np.repeat(targets, repeats))
    return FoundImages(np.array(paths), targets, split_of, classes, folders, facts)


def check_classes(root: Path, found: FoundImages, rows: np.ndarray) -> Iterator[ConfigError]:
    """Find classes of which a split has no image, or too few to be divided.

    Args:
        root: the folder.
        found: its images.
        rows: which of them can be used.
    """
    targets, split_of = found.targets[rows], found.split_of[rows]
    train = targets[split_of == 0]
    fix = f"{ANOTHER}, or add images to these classes or remove their folders"
    if found.folders:
        lacks = list(_lacks(found, targets.numpy(), split_of))
        if lacks:
            allowed = f"each split needs images of each class; without any: {', '.join(lacks[:MAX_SHOWN])}"
            train_alone = f"data.path={root / found.folders['train']}, or add images to these classes"
            yield ConfigError("data.path", root, allowed, train_alone)
            return
    if len(found.folders) < len(SPLITS) or len(found.classes) < 2:
        yield from class_counts("data.path", root, train, found.classes, fix)


def counted(number: int, noun: str) -> str:
    """Return ``1 file`` or ``2 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _lacks(found: FoundImages, targets: np.ndarray, split_of: np.ndarray) -> Iterator[str]:
    for number, split in enumerate(SPLITS):
        if split in found.folders:
            counts = np.bincount(targets[split_of == number], minlength=len(found.classes))
            yield from (f"{found.folders[split]}/{found.classes[each]}" for each in np.flatnonzero(counts == 0))


def _split_folders(root: Path, names: list[str]) -> dict[str, str]:
    """Return the folder of each split, train first; none where the folders are classes."""
    named = {name: split for split, words in SPLITS.items() for name in names if name.casefold() in words}
    holding = {name: _holds_classes(root / name) for name in named}
    nested = {name: named[name] for name, holds in holding.items() if holds}
    flat = [name for name, holds in holding.items() if holds is False]
    if not nested or len(nested) + len(flat) == 1 < len(names):
        return {}
    folders = {split: name for split in SPLITS for name in nested if nested[name] == split}
    wrong = ""
    if flat:
        wrong = f", {', '.join(flat)} only images: whose class is not known"
    elif "train" not in folders:
        wrong = ": none of them is train"
    elif len(folders) < len(nested):
        wrong = ": two are of the same split"
    if wrong:
        allowed = f"its folders {', '.join(nested)} hold a folder a class{wrong}"
        raise config_error("data.path", root, allowed, f"data.path={root / next(iter(folders.values()))}")
    return folders


def _holds_classes(folder: Path) -> bool | None:
    """Tell whether a folder has sub-folders with images; False where it has images alone, None where none."""
    if any(_images_of(folder / name)[0] for name in _folders_in(folder)):
        return True
    return False if any(_is_image(name) for name in _files_in(folder)) else None


def _by_class(folder: Path) -> Walk:
    """Return the images of each class folder, and the files that are none or outside of these."""
    images, others = dict[str, list[str]](), _files_in(folder)
    for name in _folders_in(folder):
        images[name], skipped = _images_of(folder / name)
        others += skipped
    return images, others


def _images_of(folder: Path) -> tuple[list[str], list[str]]:
    """Return the images under a folder, in the order of torchvision's ImageFolder, and the other files."""
    walk = sorted(os.walk(folder, onerror=_fail, followlinks=True))
    found = [os.path.join(parent, name) for parent, _, names in walk for name in sorted(names)]
    return [path for path in found if _is_image(path)], [path for path in found if not _is_image(path)]


def _fail(error: OSError) -> None:
    raise error


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _folders_in(folder: Path, is_hidden: bool = False) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(each.name for each in entries if each.is_dir() and each.name.startswith(".") == is_hidden)


def _files_in(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.path for entry in entries if not entry.is_dir()]


def _facts_of_files(root: Path, folders: dict[str, str], walks: dict[str, Walk]) -> Iterator[str]:
    """Say how many files of which kinds are no images, and how many images are in no class's folder."""
    others = [path for _, skipped in walks.values() for path in skipped] + (_files_in(root) if folders else [])
    counts = Counter(_kind(path) for path in others if not _is_image(path))
    if counts:
        most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in most[:MAX_SHOWN])
        yield f"{counted(counts.total(), 'file')} skipped: {kinds}{', ...' if len(most) > MAX_SHOWN else ''}"
    if stray := sum(map(_is_image, others)):
        yield f"{counted(stray, 'image')} skipped: in no class's folder"


def _facts_of_folders(root: Path, folders: dict[str, str]) -> Iterator[str]:
    """Say which folders were left out, hidden or beside those of the splits."""
    names = [name for name in _folders_in(root) if name not in folders.values()] if folders else []
    for parent in ("", *folders.values()):
        names += [os.path.join(parent, name) for name in _folders_in(root / parent, is_hidden=True)]
    if names:
        yield f"folders left out: {', '.join(names[:MAX_SHOWN])}{', ...' if len(names) > MAX_SHOWN else ''}"


def _kind(path: str) -> str:
    name = os.path.basename(path)
    return os.path.splitext(name)[1].lower() or (name if name.startswith(".") else "without suffix")

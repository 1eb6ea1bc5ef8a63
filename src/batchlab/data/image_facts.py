"""What is said of a folder's images before they are learned from, and what is refused."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from batchlab.data.class_folders import ANOTHER, MAX_SHOWN, SPLITS, FoundImages, counted
from batchlab.data.dataset import Split
from batchlab.data.image_decoding import FileContents, Range, Trait
from batchlab.errors import ConfigError

WORDS = {
    Trait.ALPHA: "have an alpha channel, or a transparent colour: they are put on white",
    Trait.TURNED: "are turned upright, as their EXIF orientation says",
    Trait.UPPER_BITS: "have 16 bits a channel with colour or alpha: the upper 8 are used",
    Trait.FRAMES: "have several frames or pages: the first is used",
}


def facts_of_folder(root: Path, found: FoundImages, chosen: Sequence[np.ndarray]) -> Iterator[str]:
    """Say which folders the images of train, val and test come from, and what was left out."""
    names = ", ".join(found.classes[:MAX_SHOWN]) + (" ..." if len(found.classes) > MAX_SHOWN else "")
    yield f"{sum(map(len, chosen)):,} images in {len(found.classes)} folders of {root}: {names}"
    if found.folders:
        counts = dict(zip(SPLITS, map(len, chosen), strict=True))
        given = ", ".join(f"{found.folders[split]} ({counts[split]:,})" for split in found.folders)
        cut = [f"{split} ({counts[split]:,})" for split in counts if split not in found.folders]
        rest = f"; {' and '.join(cut)} cut from {found.folders['train']}" if cut else ", data.*_fraction is not used"
        yield f"splits are those of its folders: {given}{rest}"
    yield from found.facts


def facts_of_contents(
    root: Path, found: FoundImages, contents: FileContents, chosen: Sequence[np.ndarray]
) -> Iterator[str]:
    """Say how many images were left out, had to be decoded in another way, or are there twice.

    Args:
        root: the folder.
        found: its images.
        contents: of those that were chosen.
        chosen: rows of train, val and test.
    """
    if rows := sorted(contents.faults):
        named = [f"{Path(found.paths[row]).relative_to(root)} ({contents.faults[row]})" for row in rows[:MAX_SHOWN]]
        more = ", ..." if len(rows) > MAX_SHOWN else ""
        yield f"{counted(len(rows), 'broken image')} skipped: {', '.join(named)}{more}"
    yield from _facts_of_traits(contents)
    hashes = np.ascontiguousarray(contents.sha256).view(np.uint64)[:, 0]  # 64 of 256 bits tell a billion files apart
    _, file_of = np.unique(hashes, return_inverse=True)
    if copies := _num_in_several(file_of, np.repeat(range(len(chosen)), [len(rows) for rows in chosen])):
        yield f"{copies:,} images are equal to one in another split: val and test look better than they are"
    if copies := _num_in_several(file_of, found.targets[np.concatenate(chosen)].numpy()):
        yield f"{copies:,} images are equal to one in another class: no model can tell these apart"


def _facts_of_traits(contents: FileContents) -> Iterator[str]:
    count, grey = len(contents.traits), _num_with(contents, Trait.GREY)
    if grey == count:
        yield "all images are grey: they have one channel"
    elif grey:
        yield f"{grey:,} of {count:,} images are grey: shown as colour, like the others"
    if contents.value_range:
        low, high = contents.value_range
        wide = f"{_num_with(contents, Trait.WIDE):,} of {count:,} images have grey values of more than 8 bits"
        yield f"{wide}: {low:,.6g} to {high:,.6g}, the range of those to train with, become 0 to 255"
    for trait, words in WORDS.items():
        if with_it := _num_with(contents, trait):
            yield f"{with_it:,} of {count:,} images {words}"


def constant_splits(root: Path, splits: Sequence[Split], value_range: Range | None) -> Iterator[ConfigError]:
    """Find splits in which every pixel has one value; of images in colour, one in each channel."""
    seen = []
    for name, split in zip(SPLITS, splits, strict=True):
        first = split.inputs[torch.tensor([0])][:, :, :1, :1]
        if all((split.inputs[rows] == first).all() for rows in torch.arange(len(split)).split(16)):
            value = first.flatten().tolist()
            seen.append(
                f"every pixel of the {len(split):,} images of {name} is {value[0] if len(value) == 1 else value}"
            )
    if seen:
        low, high = value_range or (0, 255)
        scale = f" ({low:,.6g} to {high:,.6g} became 0 to 255)" if value_range else ""
        yield ConfigError("data.path", root, f"nothing can be learned from it: {', '.join(seen)}{scale}", ANOTHER)


def _num_with(contents: FileContents, trait: int) -> int:
    return int(np.count_nonzero(contents.traits & trait))


def _num_in_several(file_of: np.ndarray, group_of: np.ndarray) -> int:
    """Count the images [N] whose file stands in more than one group."""
    num_groups = int(group_of.max()) + 1
    pairs = np.unique(file_of * num_groups + group_of)
    return int((np.bincount(pairs // num_groups) > 1)[file_of].sum())

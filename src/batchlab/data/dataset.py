"""What a data set is: three splits of examples, and what was fitted on the first."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from batchlab.errors import config_error


class Inputs(Protocol):
    """Inputs of N examples: a tensor [N, ...], or anything that makes rows of one on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return N, and the shape of one example."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Return uint8 for images, float32 for everything else."""
        ...

    def __getitem__(self, indices: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class Split:
    """N examples on the host."""

    inputs: Inputs | Tensor  # [N, *input_shape]; uint8 for images [N, C, H, W], float32 for everything else
    targets: Tensor  # [N]; int64 class numbers, or float32 for regression

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Augment:
    """Random changes of training images: horizontal flips, and crops after zero padding (in pixels)."""

    flip: bool = False
    crop_padding: int = 0


@dataclass(frozen=True)
class Dataset:
    """A data set, split and described."""

    name: str  # short name, e.g. ``digits``.
    train: Split
    val: Split
    test: Split
    num_classes: int | None  # number of classes; None for regression
    mean: Tensor  # subtracted from inputs (as float32), fitted on `train` only; broadcasts to input_shape
    std: Tensor  # divides what is left; fitted on `train` only, never 0
    augment: Augment | None  # random changes of the training inputs, or None
    facts: tuple[str, ...]  # lines to show to the person, e.g. rows dropped.
    digest: str  # sha256 over the content of all splits
    target_mean: float = 0.0  # of regression: subtracted from the targets' own values, fitted on `train` only
    target_std: float = 1.0  # and what divides what is left: the targets' own unit

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one example's input."""
        return tuple(self.train.inputs.shape[1:])


def split_indices(
    targets: Tensor, val_fraction: float, test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return train, val and test indices; stratified by class for int64 targets.

    Args:
        targets: [N] class numbers (int64) or values (float32).
        val_fraction: share of N, in (0, 1).
        test_fraction: share of N, in [0, 1); 0 where the data brings its own test split.
        seed: the split's own.

    Returns:
        Three sorted index arrays that partition range(N); test is empty for test_fraction 0.

    Raises:
        ConfigErrors: where a split would be empty or a class has too few examples to stand in each.
    """
    classes = targets.numpy() if targets.dtype == torch.int64 else None
    try:
        parts = _drawn(len(targets), classes, val_fraction, test_fraction, seed)
        if classes is None or are_in_each(classes, parts):
            return parts
        error = "some split has none of a class"
    except ValueError as raised:
        error = str(raised)
    smallest = min(fraction for fraction in (val_fraction, test_fraction) if fraction > 0) * len(targets)
    if classes is not None and smallest >= len(np.unique(classes)):
        parts = _drawn_class_by_class(classes, val_fraction, test_fraction, seed)
        if are_in_each(classes, parts):
            return parts
    fractions = f"{val_fraction}, data.test_fraction={test_fraction}"
    allowed = f"each split needs an example of each class; {len(targets)} examples do not give that ({error})"
    raise config_error("data.val_fraction", fractions, allowed, "larger fractions, or use more data")


def are_in_each(classes: np.ndarray, parts: Iterable[np.ndarray]) -> bool:
    """Tell whether each class, of the class numbers [N], has an example in each part that is not empty."""
    num_classes = len(np.unique(classes))
    return all(len(np.unique(classes[part])) == num_classes for part in parts if len(part))


def _drawn(
    count: int, classes: np.ndarray | None, val_fraction: float, test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    indices = np.arange(count)
    rest, test = indices, indices[:0]
    if test_fraction > 0:
        rest, test = train_test_split(indices, test_size=test_fraction, random_state=seed, stratify=classes)
    share = val_fraction / (1 - test_fraction)
    stratify = None if classes is None else classes[rest]
    train, val = train_test_split(rest, test_size=share, random_state=seed, stratify=stratify)
    return np.sort(train), np.sort(val), np.sort(test)


def _drawn_class_by_class(
    classes: np.ndarray, val_fraction: float, test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split with an example or more of each class in val and in test, however rare it is."""
    random, parts = np.random.default_rng(seed), ([], [], [])
    for number in np.unique(classes):
        rows = random.permutation(np.flatnonzero(classes == number))
        val, test = (max(1, int(share * len(rows))) if share else 0 for share in (val_fraction, test_fraction))
        for part, some in zip(parts, (rows[val + test :], rows[:val], rows[val : val + test]), strict=True):
            part.append(some)
    train, val, test = (np.sort(np.concatenate(part)) for part in parts)
    return train, val, test


def image_statistics(images: Inputs | Tensor, num_sampled: int = 50_000) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel of uint8 images [N, C, H, W], from a histogram of pixels.

    Both are [C, 1, 1] float32, in the units of the pixels (0 to 255); std is at least 1e-3.
    """
    count = images.shape[0]
    picked = torch.linspace(0, count - 1, min(count, num_sampled)).long()
    histogram = torch.zeros(images.shape[1], 256, dtype=torch.float64)
    for part in picked.split(4096):
        for channel, pixels in enumerate(images[part].unbind(1)):
            # not torch's: its threads, for each small part, wait for each other on a shared machine
            histogram[channel] += torch.from_numpy(np.bincount(pixels.numpy().ravel(), minlength=256))
    levels = torch.arange(256, dtype=torch.float64)
    shares = histogram / histogram.sum(dim=1, keepdim=True)
    mean = shares @ levels
    std = (shares @ levels.square() - mean.square()).clamp_min(0).sqrt().clamp_min(1e-3)
    return mean.float().view(-1, 1, 1), std.float().view(-1, 1, 1)


def digest_of(*tensors: Tensor) -> str:
    """Return the sha256 over dtype, shape and bytes of the tensors, as hexadecimal."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        sha.update(tensor.contiguous().numpy().data)
    return sha.hexdigest()


def make_dataset(
    name: str,
    splits: Iterable[Split],
    num_classes: int | None,
    facts: tuple[str, ...],
    augment: Augment | None = None,
    digest: str | None = None,
    is_standardised: bool = False,
) -> Dataset:
    """Return the `Dataset` of train, val and test: uint8 images get the training split's statistics, floats none.

    Without a digest of the content, it is that of the splits' tensors. With `is_standardised` targets that are
    numbers become those of mean 0 and standard deviation 1 in the training split.
    """
    train, val, test = splits
    target_mean, target_std = 0.0, 1.0
    if is_standardised and num_classes is None:
        target_mean, target_std = train.targets.double().mean().item(), train.targets.double().std().item() or 1.0
        train, val, test = (_standardised(each, target_mean, target_std) for each in (train, val, test))
    if train.inputs.dtype == torch.uint8:
        mean, std = image_statistics(train.inputs, 50_000 if isinstance(train.inputs, Tensor) else 2_000)
    else:
        mean, std = torch.zeros(train.inputs.shape[1]), torch.ones(train.inputs.shape[1])
    if digest is None:
        digest = digest_of(*(part for split in (train, val, test) for part in (split.inputs, split.targets)))  # type: ignore[misc]
    return Dataset(name, train, val, test, num_classes, mean, std, augment, facts, digest, target_mean, target_std)


def _standardised(split: Split, mean: float, std: float) -> Split:
    return Split(split.inputs, ((split.targets.double() - mean) / std).float())

"""Image data sets that everybody knows, read by torchvision's own classes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from batchlab.data.argument_checks import flag, refuse, split_settings, whole_number
from batchlab.data.dataset import Augment, Dataset, Split, make_dataset, split_indices
from batchlab.errors import ConfigError, config_error, nearest

NAMES = {
    "MNIST": "mnist",
    "FashionMNIST": "fashion_mnist",
    "KMNIST": "kmnist",
    "CIFAR10": "cifar10",
    "CIFAR100": "cifar100",
    "SVHN": "svhn",
}


def load_vision(
    name: str,
    root: str | Path,
    download: bool,
    augment_flip: bool,
    augment_crop: int,
    val_fraction: float,
    split_seed: int,
    num_train: int | None = None,
) -> Dataset:
    """Load one of torchvision's data sets, from packed or unpacked files, checked by torchvision's checksums.

    Args:
        name: torchvision's class: MNIST, FashionMNIST, KMNIST, CIFAR10, CIFAR100 or SVHN.
        root: folder of the files in torchvision's layout, which may be read-only.
        download: fetch the files where they are missing or damaged.
        augment_flip: flip training images at random.
        augment_crop: crop training images at random after so many pixels of zero padding; 0 is off.
        val_fraction: share of the training images that goes to val, in (0, 1).
        split_seed: seed of the stratified split.
        num_train: so many examples of the training split, stratified by class; None = all of them.

    Returns:
        Inputs [N, C, H, W] uint8; `test` is the data set's own test split.

    Raises:
        ConfigErrors: where an argument is not allowed, or files are missing, damaged or cannot be downloaded.
    """
    refuse(
        _name_errors(name, root),
        flag("data.download", download),
        flag("data.augment_flip", augment_flip),
        whole_number("data.augment_crop", augment_crop, 0, 4),
        split_settings(val_fraction, None, split_seed),
        [] if num_train is None else whole_number("data.num_train", num_train, 1, 8000),
    )
    (images, targets), (test_images, test_targets), num_classes = _read(name, root, download)
    train_indices, val_indices, _ = split_indices(targets, val_fraction, 0.0, split_seed)
    if num_train is not None:
        train_indices = _part(train_indices, targets, num_train, split_seed)
    splits = [Split(images[indices], targets[indices]) for indices in (train_indices, val_indices)]
    facts = (f"{len(targets):,} images to train and validate, {len(test_targets):,} of its own test split",)
    if num_train is not None:
        facts += (f"{num_train:,} images of the training split are used",)
    augment = Augment(augment_flip, augment_crop) if augment_flip or augment_crop else None
    return make_dataset(NAMES[name], [*splits, Split(test_images, test_targets)], num_classes, facts, augment)


def _name_errors(name: str, root: object) -> list[ConfigError]:
    found = []
    if name not in NAMES:
        allowed = f"one of {', '.join(NAMES)} is allowed"
        found.append(ConfigError("data.name", name, allowed, f"data.name={nearest(str(name), NAMES) or 'MNIST'}"))
    if not isinstance(root, str | Path) or not str(root):
        found.append(ConfigError("data.root", root, "a folder is needed", "data.root=data"))
    return found


def _part(indices: np.ndarray, targets: Tensor, count: int, seed: int) -> np.ndarray:
    """Draw so many of the indices, in order, each class with its share."""
    num_classes = len(targets.unique())
    if count > len(indices):
        allowed = f"at most {len(indices)}, the size of the training split"
        raise config_error("data.num_train", count, allowed, "data.num_train=null")
    if count > len(indices) - num_classes:  # too few are left out for one of each class; nearly all is all
        return np.sort(np.random.default_rng(seed).permutation(indices)[:count])
    if count < num_classes:
        allowed = f"at least {num_classes}, one example of each class"
        raise config_error("data.num_train", count, allowed, f"data.num_train={min(len(indices), 100 * num_classes)}")
    kept, _ = train_test_split(indices, train_size=count, random_state=seed, stratify=targets[indices].numpy())
    return np.sort(kept)


def _read(name: str, root: str | Path, download: bool) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], int]:
    # torchvision takes seconds to import, and most runs use none of it
    from torchvision import datasets

    from batchlab.data.archives import readable_root

    kind: Any = getattr(datasets, name)
    with readable_root(kind, root, download) as folder:
        try:
            if name == "SVHN":
                train, test = kind(folder, split="train"), kind(folder, split="test")
            else:
                train, test = kind(folder, train=True), kind(folder, train=False)
        except Exception as error:  # whatever torchvision's readers raise on files that are not what they seem
            fix = "data.root=/another/folder, or remove the unpacked files and keep the packed ones"
            raise config_error("data.root", root, f"torchvision cannot read {name} there ({error})", fix) from None
    return _tensors(train), _tensors(test), len(getattr(train, "classes", range(10)))


def _tensors(dataset: Any) -> tuple[Tensor, Tensor]:
    images = torch.as_tensor(np.ascontiguousarray(dataset.data))
    if images.dim() == 3:
        images = images.unsqueeze(1)
    elif images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2).contiguous()
    labels = dataset.labels if hasattr(dataset, "labels") else dataset.targets
    return images, torch.as_tensor(labels).long()

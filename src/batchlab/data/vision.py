"""Image data sets that everybody knows, read by torchvision's own classes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchlab.data.checks import flag, refuse, split_settings, whole_number
from batchlab.dataset import Augment, Dataset, Split, digest_of, image_statistics, split_indices
from batchlab.mistake import Mistake, nearest, wrong

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
) -> Dataset:
    """One of torchvision's data sets, from packed or unpacked files, checked by torchvision's checksums.

    Args:
        name: torchvision's class: MNIST, FashionMNIST, KMNIST, CIFAR10, CIFAR100 or SVHN.
        root: folder of the files in torchvision's layout, which may be read-only.
        download: fetch the files where they are missing or damaged.
        augment_flip: flip training images at random.
        augment_crop: crop training images at random after so many pixels of zero padding; 0 is off.
        val_fraction: share of the training images that goes to val, in (0, 1).
        split_seed: seed of the stratified split.

    Returns:
        Inputs [N, C, H, W] uint8; `test` is the data set's own test split.

    Raises:
        WrongInput: where an argument is not allowed, or files are missing, damaged or cannot be downloaded.
    """
    refuse(
        _name_mistakes(name, root),
        flag("data.download", download),
        flag("data.augment_flip", augment_flip),
        whole_number("data.augment_crop", augment_crop, 0, 4),
        split_settings(val_fraction, None, split_seed),
    )
    (images, targets), (test_images, test_targets), num_classes = _read(name, root, download)
    chosen = split_indices(targets, val_fraction, 0.0, split_seed)[:2]
    train, val = (Split(images[indices], targets[indices]) for indices in chosen)
    test = Split(test_images, test_targets)
    mean, std = image_statistics(train.inputs)
    tensors = [part for split in (train, val, test) for part in (split.inputs, split.targets)]
    return Dataset(
        name=NAMES[name],
        train=train,
        val=val,
        test=test,
        num_classes=num_classes,
        mean=mean,
        std=std,
        augment=Augment(augment_flip, augment_crop) if augment_flip or augment_crop else None,
        facts=(f"{len(targets):,} images to train and validate, {len(test_targets):,} of its own test split",),
        digest=digest_of(*tensors),  # type: ignore[arg-type]
    )


def _name_mistakes(name: str, root: object) -> list[Mistake]:
    found = []
    if name not in NAMES:
        allowed = f"one of {', '.join(NAMES)} is allowed"
        found.append(Mistake("data.name", name, allowed, f"data.name={nearest(str(name), NAMES) or 'MNIST'}"))
    if not isinstance(root, str | Path) or not str(root):
        found.append(Mistake("data.root", root, "a folder is needed", "data.root=data"))
    return found


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
            mend = "data.root=/another/folder, or remove the unpacked files and keep the packed ones"
            raise wrong("data.root", root, f"torchvision cannot read {name} there ({error})", mend) from None
    return _tensors(train), _tensors(test), len(getattr(train, "classes", range(10)))


def _tensors(dataset: Any) -> tuple[Tensor, Tensor]:
    images = torch.as_tensor(np.ascontiguousarray(dataset.data))
    if images.dim() == 3:
        images = images.unsqueeze(1)
    elif images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2).contiguous()
    labels = dataset.labels if hasattr(dataset, "labels") else dataset.targets
    return images, torch.as_tensor(labels).long()

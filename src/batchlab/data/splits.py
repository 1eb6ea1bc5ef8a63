"""Splits of a data set: placed on a device, normalised, sampled, read in order."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from batchlab.data.dataset import Dataset, Split
from batchlab.data.transforms import Prepare


def placed(dataset: Dataset, device: torch.device) -> Dataset:
    """Return the data set with all examples as tensors on the device."""

    def place(split: Split) -> Split:
        inputs = split.inputs
        if not isinstance(inputs, Tensor):
            inputs = inputs[torch.arange(len(split))]
        return Split(inputs.to(device), split.targets.to(device))

    return replace(dataset, train=place(dataset.train), val=place(dataset.val), test=place(dataset.test))


def normalised(dataset: Dataset, device: torch.device) -> Dataset:
    """Return a placed data set with its inputs as the float32 that the model sees, so that no step computes them."""

    def prepare(split: Split) -> Split:
        assert isinstance(split.inputs, Tensor)
        return replace(split, inputs=Prepare(dataset, device)(split.inputs))

    splits = {name: prepare(getattr(dataset, name)) for name in ("train", "val", "test")}
    return replace(dataset, **splits, mean=torch.zeros_like(dataset.mean), std=torch.ones_like(dataset.std))


def sampled(split: Split, count: int, seed: int) -> Split:
    """Draw at most `count` examples of a split, drawn by the seed alone."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    index = order[:count].to(split.targets.device)
    return Split(split.inputs[index], split.targets[index])


def in_order(split: Split, prepare: Prepare, device: torch.device, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the examples of a split as they lie, `size` at a time, prepared on the device."""
    for start in range(0, len(split), size):
        index = torch.arange(start, min(start + size, len(split)))
        raw = split.inputs[start : start + size] if isinstance(split.inputs, Tensor) else split.inputs[index]
        yield prepare(raw.to(device)), split.targets[start : start + size].to(device)

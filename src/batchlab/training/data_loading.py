"""Data sets of a `data` node: loaded once per process, and placed on a device."""

import json
import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from batchlab.config.instantiate import made
from batchlab.data.argument_checks import not_numbers, refuse
from batchlab.data.dataset import Dataset
from batchlab.data.splits import normalised, placed
from batchlab.errors import ConfigErrors, config_error, raised
from batchlab.system.child_processes import available_cores
from batchlab.system.device_memory import free_bytes

PLACEMENT = ("resident", "num_workers")
"""Settings of a `data` node that say where the examples lie and who reads them; its loader is not given them."""
MOST_WORKERS = 8
"""Processes that read data by themselves: beyond so many a disk or a device is the limit."""


def load_dataset(data: dict[str, Any]) -> Dataset:
    """Return the data set of a `data` node, read once per process.

    Raises:
        ConfigErrors: what the loader found wrong.
    """
    return _load(json.dumps({key: value for key, value in data.items() if key not in PLACEMENT}))


@lru_cache(maxsize=2)
def _load(data: str) -> Dataset:
    node = json.loads(data)
    target = node["_target_"]
    try:
        dataset = made(node)
    except ConfigErrors:
        raise
    except Exception as error:  # whatever a loader raises, a person's own too
        raise config_error("data._target_", target, raised(error), "other settings of data.*") from None
    if not isinstance(dataset, Dataset):
        allowed = f"must return a batchlab.data.dataset.Dataset, returned {type(dataset).__name__}"
        raise config_error("data._target_", target, allowed, "data=digits, or a loader that does")
    refuse(not_numbers(target, dataset))
    return dataset


def load_placed(data: dict[str, Any], device: torch.device) -> tuple[Dataset, bool]:
    """Return the data set, and whether its examples lie on the device as tensors (`data.resident`).

    Images are uint8 there; on a CPU whose memory they take little of, without augmentation, they are
    normalised float32 at once.
    """
    return _load_placed(json.dumps(data), device)


def is_resident(data: dict[str, Any], dataset: Dataset, device: torch.device) -> bool:
    """Tell whether the examples lie on the device: auto is if they take less than half of its free memory."""
    resident = data.get("resident", "auto")
    if resident != "auto":
        return resident
    inputs = [split.inputs for split in (dataset.train, dataset.val, dataset.test)]
    tensors = [each for each in inputs if isinstance(each, Tensor)]
    fits = device.type == "cpu" or sum(each.nbytes for each in tensors) < free_bytes(device) / 2
    return len(tensors) == len(inputs) and fits


def count_workers(data: dict[str, Any], dataset: Dataset, num_processes: int) -> int:
    """Return how many processes read a stream that is not resident; a process of a run has its share of the cores."""
    num_workers = data.get("num_workers", "auto")
    if num_workers != "auto":
        return num_workers
    share = len(available_cores()) // num_processes
    return 0 if isinstance(dataset.train.inputs, Tensor) else min(MOST_WORKERS, max(1, share))


@lru_cache(maxsize=2)
def _load_placed(text: str, device: torch.device) -> tuple[Dataset, bool]:
    data = json.loads(text)
    dataset = load_dataset(data)
    if not is_resident(data, dataset, device):
        return dataset, False
    dataset = placed(dataset, device)
    num_examples = sum(len(split) for split in (dataset.train, dataset.val, dataset.test))
    num_bytes = 4 * num_examples * math.prod(dataset.input_shape)
    is_small = device.type == "cpu" and num_bytes < free_bytes(device) / 8
    return (normalised(dataset, device) if is_small and dataset.augment is None else dataset), True

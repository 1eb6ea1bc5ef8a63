"""Choose the batch sizes and the data of a benchmark."""

import math
from dataclasses import replace
from typing import Any

import torch
from omegaconf import OmegaConf

from batchlab.config.command_keys import Benchmark
from batchlab.config.installation import CONF
from batchlab.config.schema import Config
from batchlab.training.build import pick_device
from batchlab.training.data_loading import load_dataset
from batchlab.training.plan import num_examples_of


def sizes_of(keys: Benchmark, config: Config, num_train: int) -> list[int]:
    """Return the batch sizes that are asked for, rising, each once; those above N are refused by gate 2.

    Raises:
        ValueError: where coulom does not apply.
    """
    if keys.batch_sizes == "coulom":
        return coulom_sizes(keys, config, num_train)
    if keys.batch_sizes == "auto":
        powers = [2**power for power in range(3, 30) if 2**power < num_train]
        return [*powers[-12:], num_train]
    return sorted({num_examples_of(size, num_train) for size in keys.batch_sizes})


def coulom_sizes(keys: Benchmark, config: Config, num_train: int) -> list[int]:
    """Return int(n * 2^14 * SM / (H*W*C)), n = 1, 2, ...: full waves of 128x128 tiles over a GPU's multiprocessors.

    Raises:
        ValueError: without images or a number of multiprocessors, or where not one size fits the data.

    Source: Rémi Coulom, twitter.com/Remi_Coulom/status/1259188988646129665.
    """
    shape, count = keys.wave_shape or load_dataset(config.data).input_shape, keys.num_multiprocessors
    if len(shape) != 3 or not all(isinstance(length, int) and length > 0 for length in shape):
        raise ValueError("coulom needs images, or wave_shape=[64,32,32] of a layer")
    device = pick_device(config.device)
    if count is None and device.type == "cuda":
        count = torch.cuda.get_device_properties(device).multi_processor_count
    if count is None:
        raise ValueError("coulom needs a GPU, or num_multiprocessors=132 for one that you have elsewhere")
    unit = 2**14 * count / math.prod(shape)
    sizes = sorted({int(n * unit) for n in range(1, 65) if 1 <= int(n * unit) <= num_train})
    if not sizes:
        raise ValueError(f"coulom's first size, {int(unit)}, is larger than the training split, {num_train}")
    return sizes


def with_images(keys: Benchmark, configs: list[Config]) -> list[Config]:
    """Return the configurations with images of `image_size` as data, as many as the largest batch needs."""
    if keys.image_size is None:
        return configs
    listed = [size for size in keys.batch_sizes if isinstance(size, int)] if isinstance(keys.batch_sizes, list) else []
    node: Any = OmegaConf.to_container(OmegaConf.load(CONF / "data" / "synthetic_images.yaml"))
    train_fraction = 1 - node["val_fraction"] - node["test_fraction"]
    needed = math.ceil(max(listed, default=0) / train_fraction) + 10  # the other splits are rounded up
    data = node | {"image_size": keys.image_size, "num_examples": max(node["num_examples"], needed)}
    return [replace(config, data=data) for config in configs]

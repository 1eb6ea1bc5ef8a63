"""Every error of a benchmark's command line."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from batchlab.config.command_keys import Benchmark
from batchlab.config.schema import Config
from batchlab.errors import ConfigError
from batchlab.profiling.benchmark_sizes import sizes_of, with_images
from batchlab.training.data_loading import load_dataset
from batchlab.validation.dry_run import check_data

MAX_SIZES = 200


def check(keys: Benchmark, configs: list[Config]) -> Iterator[ConfigError]:
    """Find batch sizes that are none, and keys that have no effect or cannot go together."""
    yield from _batch_sizes(keys.batch_sizes)
    if keys.clock == "process" and any(config.num_threads != 1 for config in configs):
        allowed = "the process's own time adds up its threads"
        yield ConfigError("clock", "process", allowed, "clock=process num_threads=1")
    replaceable = (".load_digits", ".load_synthetic_images")  # the default, and what image_size means
    if keys.image_size is not None and not all(each.data["_target_"].endswith(replaceable) for each in configs):
        yield ConfigError("image_size", keys.image_size, "has no effect with data of its own size", "it without data=")
    if any(config.micro_batch_size == "auto" for config in configs):
        allowed = "none or an integer: each batch size is timed as it is"
        yield ConfigError("micro_batch_size", "auto", allowed, "micro_batch_size=none")
    if len({config.num_threads for config in configs}) > 1:
        allowed = "one number: all are timed in one process"
        yield ConfigError("num_threads", "several", allowed, "num_threads=1, then the command again")
    if (most := max(config.num_processes for config in configs)) > 1:
        yield from _processes(keys, most, len(configs))


def _batch_sizes(sizes: Any) -> Iterator[ConfigError]:
    if sizes in ("auto", "coulom"):
        return
    if not isinstance(sizes, list):
        allowed = "a list of integers and full, a range, auto or coulom"
        yield ConfigError("batch_sizes", sizes, allowed, "batch_sizes=[32,128,512]")
    elif not sizes:
        yield ConfigError("batch_sizes", "[]", "an empty list times nothing", "batch_sizes=[32,128,512]")
    elif wrong := [size for size in sizes if size != "full" and (type(size) is not int or size < 1)]:
        yield ConfigError("batch_sizes", wrong[0], "integers from 1, or full", "batch_sizes=[32,128,full]")
    elif len(sizes) > MAX_SIZES:
        yield ConfigError("batch_sizes", f"{len(sizes)} sizes", f"at most {MAX_SIZES}", "a shorter range")


def _processes(keys: Benchmark, num_processes: int, num_configs: int) -> Iterator[ConfigError]:
    """Find what does not go together with several processes: each makes the steps of one run, from its own stream."""
    if num_configs > 1:
        allowed = "one configuration at a time is compared with itself in one process"
        yield ConfigError("num_processes", num_processes, allowed, "one value for every other key")
    for key, value in {"modes": "train", "feeds": "loader"}.items():
        if getattr(keys, key) not in ([value], None):
            allowed = f"processes that share batches are timed with {value}"
            yield ConfigError(key, getattr(keys, key), allowed, f"{key}=[{value}]")
    if isinstance(keys.devices, list) and len(keys.devices) > 1:
        yield ConfigError("devices", keys.devices, "one value where processes share batches", "devices=[...]")
    if keys.clock == "process":
        yield ConfigError("clock", "process", "says nothing of other processes", "clock=wall")


def check_batches(keys: Benchmark, configs: list[Config]) -> Iterator[ConfigError]:
    """Find what shows when the runs are built, at the smallest and the largest batch size."""
    for config, device in product(with_images(keys, configs), keys.devices):
        here, num_train = replace(config, device=device), len(load_dataset(config.data).train)
        try:
            sizes = sizes_of(keys, here, num_train)
        except ValueError as error:
            yield ConfigError("batch_sizes", keys.batch_sizes, str(error), "batch_sizes=[32,128,512]")
            return
        for error in (error for size in {sizes[0], sizes[-1]} for error in check_data(replace(here, batch_size=size))):
            fix = error.fix.replace("batch_size=full", "batch_sizes=[...,full]")
            yield replace(error, key="batch_sizes" if error.key == "batch_size" else error.key, fix=fix)

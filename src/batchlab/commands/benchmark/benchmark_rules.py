"""Every error of a benchmark's command line."""

import math
from collections.abc import Iterator
from dataclasses import replace

from batchlab.config.schema import Config
from batchlab.errors import ConfigError
from batchlab.profiling.benchmark_settings import Benchmark
from batchlab.profiling.benchmark_sizes import sizes_of, with_images
from batchlab.profiling.timing import MIN_BLOCKS
from batchlab.training.data_loading import load_dataset
from batchlab.validation.dry_run import check_data

CHOICES = {"clock": ("wall", "process"), "modes": ("train", "inference"), "feeds": ("resident", "loader")}
MAX_SIZES = 200


def check(keys: Benchmark, configs: list[Config]) -> list[ConfigError]:
    """Every item of a benchmark's keys, then of its configurations at the smallest and the largest batch size."""
    errors = [*_lists(keys), *_numbers(keys, configs), *_processes(keys, configs)]
    if errors:
        return errors
    for config in with_images(keys, configs):
        for device in keys.devices:
            here = replace(config, device=device)
            num_train = len(load_dataset(here.data).train)
            try:
                sizes = sizes_of(keys, here, num_train)
            except ValueError as error:
                return [ConfigError("batch_sizes", keys.batch_sizes, str(error), "batch_sizes=[32,128,512]")]
            for size in {sizes[0], sizes[-1]}:
                errors += check_data(replace(here, batch_size=size))
    return [_renamed(item) for item in errors]


def _renamed(error: ConfigError) -> ConfigError:
    fix = error.fix.replace("batch_size=full", "batch_sizes=[...,full]")
    return replace(error, key="batch_sizes" if error.key == "batch_size" else error.key, fix=fix)


def _lists(keys: Benchmark) -> Iterator[ConfigError]:
    sizes = keys.batch_sizes
    if isinstance(sizes, list):
        config_error = [size for size in sizes if size != "full" and (type(size) is not int or size < 1)]
        if not sizes:
            yield ConfigError("batch_sizes", "[]", "an empty list times nothing", "batch_sizes=[32,128,512]")
        elif config_error:
            yield ConfigError("batch_sizes", config_error[0], "integers from 1, or full", "batch_sizes=[32,128,full]")
        elif len(sizes) > MAX_SIZES:
            yield ConfigError("batch_sizes", f"{len(sizes)} sizes", f"at most {MAX_SIZES}", "a shorter range")
    elif sizes not in ("auto", "coulom"):
        allowed = "a list of integers and full, a range, auto or coulom"
        yield ConfigError("batch_sizes", sizes, allowed, "batch_sizes=[32,128,512]")
    for name in ("devices", "modes", "feeds", "cudnn_benchmark"):
        values, allowed = getattr(keys, name), CHOICES.get(name)
        if name == "feeds" and values is None:
            continue
        if not isinstance(values, list) or not values:
            yield ConfigError(name, values, "a list with at least one value", f"{name}=[{(allowed or ['auto'])[0]}]")
        elif allowed and (config_error := [value for value in values if value not in allowed]):
            yield ConfigError(
                name, config_error[0], f"one or several of {', '.join(allowed)}", f"{name}=[{allowed[0]}]"
            )


def _processes(keys: Benchmark, configs: list[Config]) -> Iterator[ConfigError]:
    """What does not go together with several processes: each makes the steps of one run, from its own stream."""
    most = max(config.num_processes for config in configs)
    if most == 1:
        return
    if len(configs) > 1:
        allowed = "one configuration at a time is compared with itself in one process"
        yield ConfigError("num_processes", most, allowed, "one value for every other key")
    one_of_each = {"modes": ["train"], "feeds": ["loader"]}
    for key, value in one_of_each.items():
        if getattr(keys, key) not in (value, None):
            allowed = f"processes that share batches are timed with {value[0]}"
            yield ConfigError(key, getattr(keys, key), allowed, f"{key}=[{value[0]}]")
    for key in ("devices", "cudnn_benchmark"):
        if len(getattr(keys, key)) > 1:
            yield ConfigError(key, getattr(keys, key), "one value where processes share batches", f"{key}=[...]")
    if keys.clock == "process":
        yield ConfigError("clock", "process", "says nothing of other processes", "clock=wall")


def _numbers(keys: Benchmark, configs: list[Config]) -> Iterator[ConfigError]:
    if keys.num_blocks < MIN_BLOCKS:
        yield ConfigError("num_blocks", keys.num_blocks, f"at least {MIN_BLOCKS}: fewer say nothing", "num_blocks=20")
    if not 0 < keys.budget_seconds < math.inf:
        yield ConfigError("budget_seconds", keys.budget_seconds, "a finite number above 0", "budget_seconds=60")
    if keys.clock not in CHOICES["clock"]:
        yield ConfigError("clock", keys.clock, "wall or process", "clock=wall")
    if keys.output not in ("text", "json"):
        yield ConfigError("output", keys.output, "text or json", "output=text")
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

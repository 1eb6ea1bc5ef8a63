"""Time every variant at every batch size in the same blocks, and fit the laws."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from batchlab.config.command_keys import Benchmark
from batchlab.config.schema import Config
from batchlab.distributed.leader import shared
from batchlab.laws.equivalence import Verdict, judge_sizes
from batchlab.laws.step_time import StepTime, fit_step_time
from batchlab.profiling.benchmark_sizes import sizes_of, with_images
from batchlab.profiling.timing import Cell, Timings, time_cells
from batchlab.training.build import Built, build
from batchlab.training.data_loading import load_dataset
from batchlab.training.plan import part_sizes


@dataclass(frozen=True)
class Variant:
    """What is timed at every batch size."""

    label: str  # what tells it from the others; its model where it is the only one
    built: Built  # at the largest batch size
    mode: Any  # train or inference
    feed: str  # resident or loader


@dataclass(frozen=True)
class VariantTimes:
    """One variant's timings and what follows from them."""

    variant: Variant  # what was timed
    batch_sizes: list[int]  # those that could be timed, rising
    seconds: np.ndarray  # [num_blocks, n] seconds per step
    peak_bytes: np.ndarray  # [n]
    law: StepTime | None  # None with fewer than two sizes
    verdicts: list[Verdict]  # of sizes with enough neighbours
    failed: dict[int, str]  # batch size -> why it could not be timed


def variants_of(keys: Benchmark, configs: list[Config]) -> list[Variant]:
    """Build every combination of configuration, device, mode and feed at the largest batch size.

    A configuration of several processes stands beside itself in one.
    """
    made, most = [], max(config.num_processes for config in configs)
    shared, alone = with_images(keys, configs), {"launch": "single", "num_processes": 1, "sync_batch_norm": False}
    single = [replace(config, **alone) for config in shared if config.num_processes > 1]
    for config, device in product([*single, *shared], keys.devices):
        here = replace(config, device=device)
        num_train = len(load_dataset(here.data).train)
        built = build(replace(here, batch_size=sizes_of(keys, here, num_train)[-1]), config.seed)
        feeds = keys.feeds or (["resident"] if most == 1 else ["loader"])
        made += [(built, *each) for each in product(keys.modes, feeds)]
    parts = [_parts_of(*each) for each in made]
    differing = [name for name in parts[0] if len({each[name] for each in parts}) > 1] or ["model", "device"]
    labels = [" ".join(each[name] for name in differing) for each in parts]
    return [Variant(label, *each) for label, each in zip(labels, made, strict=True)]


@contextmanager
def sharing(variants: list[Variant]) -> Iterator[list[Variant]]:
    """Yield the variants, those of several processes joined by them."""
    with ExitStack() as stack:
        yield [replace(each, built=stack.enter_context(shared(each.built))) for each in variants]


def model_name(config: Config) -> str:
    """Return a model's own name, or that of its function."""
    return str(config.model.get("name", config.model["_target_"].rsplit(".", 1)[-1]))


def _parts_of(built: Built, mode: str, feed: str) -> dict[str, str]:
    config = built.config
    return {
        "model": model_name(config),
        "device": str(built.device),
        "precision": config.precision,
        "compile": {True: "compiled", False: "eager"}.get(config.compile, str(config.compile)),
        "micro": f"m={config.micro_batch_size}",
        "mode": mode,
        "feed": feed,
        "processes": f"{config.num_processes} process{'es' if config.num_processes > 1 else ''}",
        "cudnn": "cudnn.benchmark" if config.cudnn_benchmark else "cudnn default",
    }


def time_variants(
    keys: Benchmark, variants: list[Variant], tell: Callable[[float], None]
) -> tuple[Timings, list[VariantTimes]]:
    """Time every variant at every batch size in the same blocks, and fit the laws."""
    cells, owners = [], []
    for place, variant in enumerate(variants):
        built, stay = variant.built, None
        sizes = sizes_of(keys, built.config, len(built.dataset.train))
        if variant.feed == "resident":
            assert built.config.num_processes == 1
            inputs, targets = built.stream.take(0, sizes[-1])
            stay = inputs.clone(), targets.clone()
        micro = built.plan.micro_batch_size
        cells += [Cell(built, size, variant.mode, stay, micro) for size in sizes]
        owners += [place] * len(sizes)
    clock: Any = keys.clock
    timings = time_cells(cells, keys.num_blocks, keys.budget_seconds, clock, tell)
    return timings, [
        _times_of_variant(variant, place, cells, owners, timings) for place, variant in enumerate(variants)
    ]


def _times_of_variant(
    variant: Variant, place: int, cells: list[Cell], owners: list[int], timings: Timings
) -> VariantTimes:
    mine = [index for index, owner in enumerate(owners) if owner == place]
    good = [index for index in mine if index not in timings.failed]
    sizes, seconds = [cells[index].batch_size for index in good], timings.seconds[:, good]
    failed = {cells[index].batch_size: timings.failed[index] for index in mine if index in timings.failed}
    micro = variant.built.plan.micro_batch_size
    # above the largest part the law is accumulation's, another one
    alone = [index for index, size in enumerate(sizes) if len(part_sizes(size, micro)) == 1]
    law = None
    if len(alone) > 1 and len(seconds):
        law = fit_step_time([sizes[index] for index in alone], seconds[:, alone])
    return VariantTimes(variant, sizes, seconds, timings.peak_bytes[good], law, judge_sizes(sizes, seconds), failed)

"""Keys that each command has beside those of a run; light, because --help composes them."""

from dataclasses import dataclass
from typing import Any

from annotated_types import Interval

from batchlab.config.argument_keys import DEVICE
from batchlab.config.keys import COUNT, MOST, POSITIVE, key, keys_of
from batchlab.errors import ConfigError

FROM_ZERO = Interval(ge=0, le=MOST)
OUTPUT = "how the answer is printed", ("text", "json")


@dataclass
class Advise:
    """Keys of `batchlab advise`."""

    budget_seconds: float = key(
        60, "seconds for short trainings to a target at three batch sizes, lr tuned for each; 0 = none", FROM_ZERO
    )
    target: float | None = key(
        None, "score that the trainings go to; null = what the first of them reaches", None, fix=0.9
    )
    price_per_hour: float | None = key(
        None, "what an hour of this machine costs, in any currency; adds a column", POSITIVE, fix=2.5
    )
    method: str = key(
        "laws",
        "fill_then_reduce: the largest throughput first, then smaller until it converges",
        ("laws", "fill_then_reduce"),
    )
    output: str = key("text", *OUTPUT)


@dataclass
class Benchmark:
    """Keys of `batchlab benchmark`."""

    batch_sizes: Any = key(
        "auto", "[32,128,full], range(96,161), coulom, or auto = powers of two and the whole training split"
    )
    devices: Any = key(
        ["auto"], "devices that are compared, e.g. [cpu,cuda]; their crossing is printed", kind=list, pattern=DEVICE
    )
    modes: Any = key(["train"], "passes that are compared", ("train", "inference"), kind=list)
    feeds: Any = key(
        None,
        "resident = one batch that stays on the device, loader = the run's own stream; null = resident, and loader "
        "where several processes each take their share of the stream",
        ("resident", "loader"),
        kind=list,
        fix=["resident"],
    )
    image_size: int | None = key(
        None, "pixels on a side of images made on the spot (data=synthetic_images)", COUNT, fix=32
    )
    num_multiprocessors: int | None = key(
        None, "multiprocessors of the GPU for batch_sizes=coulom; null = asked from it", COUNT, fix=132
    )
    wave_shape: Any = key(
        None, "[C,H,W] of the layer that batch_sizes=coulom is about, e.g. [64,32,32]; null = of an input", kind=list
    )
    num_blocks: int = key(20, "blocks, each of which times everything once, in shuffled order", Interval(ge=5, le=MOST))
    budget_seconds: float = key(60, "seconds after which blocks are cut short", POSITIVE)
    clock: str = key(
        "wall", "on a CPU; process = its own seconds, with num_threads=1, which no neighbour stretches",
        ("wall", "process")
    )  # fmt: skip
    output: str = key("text", *OUTPUT)


@dataclass
class Noise:
    """Keys of `batchlab noise`."""

    num_examples: int = key(
        2000, "most training examples whose single gradients are measured", Interval(ge=64, le=MOST)
    )
    num_draws: int = key(
        512, "batches of each size whose gradient is compared with that of all", Interval(ge=16, le=MOST)
    )
    output: str = key("text", *OUTPUT)


@dataclass
class Report:
    """Keys of `batchlab report`."""

    storage: Any = key(None, "Optuna's store, as hydra.sweeper.storage was typed; null = optuna.db in mlruns")
    output: str = key("text", *OUTPUT)


@dataclass
class Claims:
    """Keys of `batchlab claims`."""

    names: Any = key([], "experiments in conf/experiment, also without names=; none = all")
    preset: str = key(
        "small", "minutes on two cores, or the full scale at which the claims were made, for a GPU", ("small", "full")
    )
    budget_minutes: float = key(90, "minutes after which no run begins; the same command goes on", FROM_ZERO)
    num_workers: int = key(2, "trainings side by side; what is about seconds runs alone", COUNT)
    max_seeds: int = key(
        24, "most seeds that are looked at; 0 = nothing is run, what is recorded is judged", (0, 3, 6, 12, 24)
    )
    write: bool = key(True, "whether docs/claims.md is written; only where all claims are asked for")
    output: str = key("text", *OUTPUT)


KEYS: dict[str, type] = {
    "advise": Advise, "benchmark": Benchmark, "noise": Noise, "report": Report, "claims": Claims
}  # fmt: skip
"""By the command's name, which is that of its file in conf/ too."""


def key_errors(name: str, values: Any) -> list[ConfigError]:
    """Find values that the declarations of a command's keys do not allow; none for `train`, which has none."""
    declared = keys_of(KEYS[name]) if name in KEYS else []
    return [error for each in declared if (error := each.error(getattr(values, each.name)))]

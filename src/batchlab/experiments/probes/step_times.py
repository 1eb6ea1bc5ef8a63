"""Step times by batch size, measured in interleaved blocks while nothing else runs, and those of the 2017 post."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from batchlab.config.command_keys import Benchmark
from batchlab.config.schema import Config
from batchlab.laws.step_time import crossing, crossing_of_table, fit_step_time
from batchlab.profiling.step_time_benchmark import VariantTimes, time_variants, variants_of

PUBLISHED_NUM_TRAIN = 135_844
PUBLISHED_EPOCHS = 50
PUBLISHED = {
    100: (128.12, 522.08),
    500: (75.07, 134.50),
    1000: (60.54, 85.05),
    2000: (54.33, 60.93),
    3000: (50.80, 51.55),
    4000: (51.04, 47.00),
    5000: (53.98, 44.81),
    6000: (53.30, 44.37),
    7000: (54.55, 42.49),
    8000: (53.13, 40.09),
    9000: (53.11, 40.22),
    10000: (52.63, 39.74),
    135844: (69.00, 35.23),
}
"""Batch size -> seconds on the CPU, on the GPU (a GTX 1060), for 50 epochs of a 6x64 MLP with 135,844 examples."""


def step_times(
    config: Config, seed: int, *, batch_sizes: list[Any], num_blocks: int, budget_seconds: float, feed: str = "resident"
) -> dict[str, float]:
    """Time the run's step at each batch size, on the process's own clock, which a busy neighbour does not stretch.

    The settings are those of `batchlab benchmark`; the run has one thread.

    Returns:
        step_seconds/<B>, epoch_seconds/<B>, throughput/<B> (examples per second), step_time/alpha_seconds,
        step_time/beta_seconds, step_time/half_speed, with a floor step_time/floor_seconds and step_time/knee,
        step_time/r_squared; residual/<B> of sizes that have enough
        neighbours, as a logarithm; and full_over_best, the time of a pass with the largest size over that of the best.
    """
    keys = Benchmark(
        batch_sizes=batch_sizes, feeds=[feed], num_blocks=num_blocks, budget_seconds=budget_seconds, clock="process"
    )
    (variant,) = variants_of(keys, [replace(config, seed=seed)])
    _, (measured,) = time_variants(keys, [variant], lambda _share: None)
    if not len(measured.seconds):
        raise RuntimeError(f"no block of {len(batch_sizes)} sizes fitted into {budget_seconds} s")
    return _numbers(measured, len(variant.built.dataset.train))


def _numbers(measured: VariantTimes, num_train: int) -> dict[str, float]:
    seconds = np.median(measured.seconds, axis=0)
    sizes = np.array(measured.batch_sizes, dtype=np.float64)
    epochs = seconds * num_train / sizes
    found = {"full_over_best": float(epochs[-1] / epochs.min()), "best_batch_size": float(sizes[epochs.argmin()])}
    for size, step, epoch in zip(measured.batch_sizes, seconds.tolist(), epochs.tolist(), strict=True):
        found |= {f"step_seconds/{size}": step, f"epoch_seconds/{size}": epoch, f"throughput/{size}": size / step}
    if measured.law is not None:
        law = measured.law
        found |= {f"step_time/{name}": each.value for name, each in law.estimates().items()}
        found["step_time/r_squared"] = law.r_squared
        distances = np.log(seconds / law.at(sizes)).tolist()
        found |= {f"distance/{size}": value for size, value in zip(measured.batch_sizes, distances, strict=True)}
    found |= {f"residual/{each.batch_size}": math.log1p(each.residual.value) for each in measured.verdicts}
    return found


def table_and_step_times(config: Config, seed: int, **settings: Any) -> dict[str, float]:
    """Time what this machine takes, and refit what the 2017 post's table says of its own; settings of `step_times`.

    Returns:
        The numbers of `step_times`, and s0/gpu_r_squared, s0/cpu_r_squared, s0/crossing_of_laws, s0/crossing.
    """
    sizes, table = list(PUBLISHED), np.array(list(PUBLISHED.values()))
    blocks = (table.T / PUBLISHED_EPOCHS * np.array(sizes) / PUBLISHED_NUM_TRAIN)[:, None, :]
    (cpu, gpu), laws = blocks[:, 0], [fit_step_time(sizes, block) for block in blocks]
    return step_times(config, seed, **settings) | {
        "s0/cpu_r_squared": laws[0].r_squared,
        "s0/gpu_r_squared": laws[1].r_squared,
        "s0/crossing_of_laws": crossing(laws[1], laws[0]).value,
        "s0/crossing": crossing_of_table(sizes, gpu, cpu),
    }

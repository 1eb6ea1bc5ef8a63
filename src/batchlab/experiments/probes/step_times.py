"""Step times by batch size, measured in interleaved blocks while nothing else runs."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from batchlab.config.command_keys import Benchmark
from batchlab.config.schema import Config
from batchlab.profiling.step_time_benchmark import VariantTimes, time_variants, variants_of


def step_times(
    config: Config, seed: int, *, batch_sizes: list[Any], num_blocks: int, budget_seconds: float, feed: str = "resident"
) -> dict[str, float]:
    """Time the run's step at each batch size, on the process's own clock, which a busy neighbour does not stretch.

    Args:
        config: of the run; one thread.
        seed: of model and batch.
        batch_sizes: integers, full, or ranges as in scripts/benchmark.py.
        num_blocks: each times every size once.
        budget_seconds: blocks are cut short after so long.
        feed: resident, or loader.

    Returns:
        step_seconds/<B>, epoch_seconds/<B>, throughput/<B> (examples per second), step_time/alpha_seconds,
        step_time/beta_seconds, step_time/half_speed, step_time/r_squared; residual/<B> of sizes that have enough
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
        found |= {"step_time/alpha_seconds": law.alpha_seconds.value, "step_time/beta_seconds": law.beta_seconds.value}
        found |= {"step_time/half_speed": law.half_speed.value, "step_time/r_squared": law.r_squared}
        predicted = law.alpha_seconds.value + law.beta_seconds.value * sizes
        distances = np.log(seconds / predicted).tolist()
        found |= {f"distance/{size}": value for size, value in zip(measured.batch_sizes, distances, strict=True)}
    found |= {f"residual/{each.batch_size}": math.log1p(each.residual.value) for each in measured.verdicts}
    return found

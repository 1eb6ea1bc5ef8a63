"""The 2017 post's own table, refitted: seconds of 50 epochs on a CPU and on a GPU by batch size, one run each."""

import numpy as np

from batchlab.config.schema import Config
from batchlab.experiments.probes.step_times import step_times
from batchlab.laws.step_time import crossing, crossing_of_table, fit_step_time

NUM_TRAIN = 135_844
NUM_EPOCHS = 50
TABLE = {
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


def table_and_step_times(
    config: Config, seed: int, *, batch_sizes: list[int], num_blocks: int, budget_seconds: float
) -> dict[str, float]:
    """What this machine takes, beside what the 2017 post's table says of its own.

    Args:
        config: of the run.
        seed: of model and batch.
        batch_sizes: that are timed.
        num_blocks: each times every size once.
        budget_seconds: blocks are cut short after so long.

    Returns:
        The numbers of `step_times`, and s0/gpu_r_squared, s0/cpu_r_squared, s0/crossing_of_laws, s0/crossing.
    """
    own = step_times(config, seed, batch_sizes=batch_sizes, num_blocks=num_blocks, budget_seconds=budget_seconds)
    return own | refit()


def refit() -> dict[str, float]:
    """The law fitted to both rows of the 2017 post's table, and where the GPU overtakes the CPU."""
    sizes = list(TABLE)
    cpu, gpu = (np.array([[TABLE[size][row] / NUM_EPOCHS * size / NUM_TRAIN for size in sizes]]) for row in (0, 1))
    laws = fit_step_time(sizes, cpu), fit_step_time(sizes, gpu)
    return {
        "s0/cpu_r_squared": laws[0].r_squared,
        "s0/gpu_r_squared": laws[1].r_squared,
        "s0/crossing_of_laws": crossing(laws[1], laws[0]).value,
        "s0/crossing": crossing_of_table(sizes, gpu[0], cpu[0]),
    }

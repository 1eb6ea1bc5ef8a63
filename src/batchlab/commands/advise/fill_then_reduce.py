"""Procedure of a primer: fill the device, then make the batch smaller until the training converges."""

import math
import time
from dataclasses import dataclass

from batchlab.commands.advise.advise_measurements import Measured
from batchlab.commands.advise.trainings import MAX_EPOCHS, Training

PLATEAU = 0.95
"""The device is filled by the smallest batch with so much of the greatest measured throughput."""


@dataclass(frozen=True)
class Filled:
    """Batch size that the procedure ends at."""

    batch_size: int | None  # the first that reached the target; None where none did in the time
    lr: float  # it was trained with
    plateau: int  # batch size that fills the device
    tried: list[Training]  # trainings, largest batch first


def fill_then_reduce(measured: Measured, base_batch_size: int) -> Filled:
    """Train at the plateau of the throughput, halve the batch until the target is reached.

    lr goes with the square root of the batch size from the configured one, which holds at `base_batch_size`, as in the
    trainings of method=laws, so that the two methods differ in the batch size alone.

    Source: a primer on convolutional networks, "fill the GPU, then reduce".
    """
    trainings = measured.trainings
    assert trainings is not None
    plateau = plateau_of(measured.throughput)
    size, lr = plateau, measured.config.lr
    while size >= 2 and time.perf_counter() < trainings.deadline:
        lr = measured.config.lr * math.sqrt(size / base_batch_size)
        if trainings.train(size, lr, measured.config.seed, MAX_EPOCHS * measured.num_train).is_reached:
            return Filled(size, lr, plateau, list(trainings.done))
        size //= 2
    return Filled(None, lr, plateau, list(trainings.done))


def plateau_of(throughput: dict[int, float]) -> int:
    """Return the smallest batch size with 95 % of the greatest throughput."""
    most = max(throughput.values())
    return min(size for size, rate in throughput.items() if rate >= PLATEAU * most)

"""Count the FLOPs of a step, and measure the device's peak."""

import time
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from batchlab.training.build import Built
from batchlab.training.gradient import DTYPES

MATMUL_SIZES = {"cpu": 1024, "cuda": 8192, "mps": 4096}
MATMUL_REPEATS = 5
MATMUL_SECONDS = 2.0
"""No repeat begins after so long: a precision that the device only emulates is slow."""
COUNTED_EXAMPLES = 8
"""FLOPs of a network are proportional to the batch; so many examples are counted (batch norm needs two)."""


def flops_per_example(built: Built, mode: str) -> float:
    """Return the floating-point operations of one example, a multiplication and an addition being two.

    Counted by torch on matrix products and convolutions; forward and backward for ``train``, forward for
    ``inference``. The optimizer's step, which does not grow with the batch, is not in it.
    """
    train_step = built.train_step
    count = min(COUNTED_EXAMPLES, len(built.dataset.train))
    inputs, targets = (each.clone() for each in built.stream.take(0, count))
    buffers = {name: buffer.clone() for name, buffer in train_step.model.named_buffers()}
    train_step.model.train(mode == "train")
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(mode == "train"):
        logits = train_step.model(inputs)
        if mode == "train":
            built.loss_function(logits, targets).backward()
    train_step.optimizer.zero_grad()
    for name, buffer in train_step.model.named_buffers():
        buffer.copy_(buffers[name])
    return counter.get_total_flops() / count


@lru_cache(maxsize=8)
def matmul_peak(device: torch.device, precision: str) -> float:
    """Measure FLOP/s of a large square matrix product in a precision, the best of some repeats.

    Measured once per process, so that variants that are compared are held against one number.
    """
    size = MATMUL_SIZES[device.type]
    dtype = DTYPES.get(precision, torch.float32)
    left, right = (torch.randn(size, size, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
    best, until = float("inf"), time.perf_counter() + MATMUL_SECONDS
    for repeat in range(MATMUL_REPEATS + 1):
        if repeat > 1 and time.perf_counter() > until:
            break
        _synchronize(device)
        started = time.perf_counter()
        _ = left @ right
        _synchronize(device)
        best = min(best, time.perf_counter() - started) if repeat else best
    return 2 * size**3 / best


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()

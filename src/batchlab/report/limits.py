"""What limits the time to a target, in words, and how an estimate is written."""

import math
from collections.abc import Sequence

from batchlab.laws.estimate import Estimate

LIMITS = {
    "overhead": "overhead: more than half of a step at this batch size is not work on examples",
    "work": "work: the device is busy with examples that are needed; only a faster device or a smaller model helps",
    "memory": "memory: a larger batch would be faster if it fitted",
    "noise": "noise: the gradient is precise already; a larger batch spends examples without saving as many steps",
}
BALANCED = (
    "overhead and noise alike: a smaller batch would spend more time on overhead, a larger one on examples that save "
    "few steps; less overhead (compile, fewer kernels) would help"
)
UNKNOWN = "not known, the interval of B* is too wide to say"


def describe_limits(limits: Sequence[str]) -> str:
    """Words of `laws.optimum.limits_of` as a sentence; empty for none.

    Args:
        limits: overhead, work, memory or noise.
    """
    if {"overhead", "noise"} <= set(limits):
        return BALANCED
    return "; ".join(LIMITS[word] for word in limits if word in LIMITS)


def format_interval(estimate: Estimate, unit: float = 1.0, digits: int = 3) -> str:
    """``value [low, high]`` in a unit."""
    value, low, high = (each * unit for each in (estimate.value, estimate.low, estimate.high))
    return f"{_short(value, digits)} [{_short(low, digits)}, {_short(high, digits)}]"


def _short(number: float, digits: int) -> str:
    if math.isnan(number):
        return "?"
    if math.isinf(number):
        return "no end"
    return f"{number:,.0f}" if abs(number) >= 10**digits else f"{number:.{digits}g}"

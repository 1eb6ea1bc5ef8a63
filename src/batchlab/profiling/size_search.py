"""Search the largest size that fits by doubling, then bisection, over sizes that were really tested."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

RESOLUTION = 1 / 32
"""The answer is within this share of the smallest size that does not fit; a closer look says no more about a run."""


@dataclass(frozen=True)
class SizeTest:
    """A size that was tested, and what came of it."""

    size: int  # examples in one forward and backward pass
    num_parts: int  # 1 = the pass was a step of its own; 2 = it was one of two whose gradients add up
    bytes: float  # at the peak; NaN where it did not get that far
    fits: bool  # whether it ran and left the headroom free
    cause: str  # why it does not fit; empty where it does
    seconds: float  # the test took


@dataclass(frozen=True)
class Sizes:
    """The sizes that may be tested: multiples of `unit` from `first` to `maximum`."""

    first: int
    maximum: int
    unit: int = 1


def search_sizes(test: Callable[[int], SizeTest], sizes: Sizes, known: Iterable[SizeTest] = ()) -> list[SizeTest]:
    """Test sizes until the largest that fits is known.

    Returns:
        Every test, the known ones too, by size; `largest_fitting` picks the answer.
    """
    tested = list(known)
    while (size := next_size(tested, sizes)) is not None:
        tested.append(test(size))
    return sorted(tested, key=lambda each: each.size)


def next_size(tested: Sequence[SizeTest], sizes: Sizes) -> int | None:
    """Return the size to test next: twice the largest that fits, then between that and the smallest that does not.

    None where nothing is left to find out.
    """
    best, failing, unit = largest_fitting(tested), smallest_failing(tested), sizes.unit
    maximum = sizes.maximum // unit * unit
    low = best.size if best else 0
    if low >= maximum or (failing and failing.size <= sizes.first) or maximum < sizes.first:
        return None
    if best is None:
        return sizes.first
    if failing is None or failing.size > maximum:
        return min(maximum, 2 * low)
    if failing.size - low <= max(unit, low * RESOLUTION):
        return None
    return low + max(unit, (failing.size - low) // 2 // unit * unit)


def largest_fitting(tested: Iterable[SizeTest]) -> SizeTest | None:
    """Return the largest tested size that fits, with none below it that does not; None where there is none.

    Where a size failed, larger ones that fitted do not count: it may fail again.
    """
    tested = list(tested)
    failing = smallest_failing(tested)
    fitting = [each for each in tested if each.fits and (failing is None or each.size < failing.size)]
    return max(fitting, key=lambda each: each.size, default=None)


def smallest_failing(tested: Iterable[SizeTest]) -> SizeTest | None:
    """Return the smallest tested size that does not fit."""
    return min((each for each in tested if not each.fits), key=lambda each: each.size, default=None)

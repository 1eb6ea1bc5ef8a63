"""Tell whether a batch size is out of line with its neighbours: equal, different, or not enough data to say."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from batchlab.laws.estimate import Estimate
from batchlab.laws.line import Array

MARGIN = 0.02
"""Stated before any measurement: a residual within +-2 % does not matter."""
WINDOW = 0.10
"""Neighbours of a size lie within +-10 % of it."""
MIN_NEIGHBOURS = 3
TRIM = 0.1
"""Share of the blocks left out at each end: a neighbour on the machine spoils a few of them by a factor."""
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Verdict:
    """What the blocks say of one size.

    Attributes:
        batch_size: the size.
        residual: its time over the local line's minus 1, with a 90 % interval (that of the two one-sided tests).
        p_equal: of the two one-sided tests, Holm-corrected over sizes.
        p_different: of the two-sided test against 0, Holm-corrected over sizes.
        said: ``equal``, ``different`` or ``not enough data``.
    """

    batch_size: int
    residual: Estimate
    p_equal: float
    p_different: float
    said: str

    @property
    def in_words(self) -> str:
        """Return what was said, e.g. ``equal``, ``different by +3.1 %``."""
        return f"different by {self.residual.value:+.1%}" if self.said == "different" else self.said


def local_residuals(batch_sizes: list[int], blocks: Array) -> dict[int, Array]:
    """Return each size's log time over a line through its neighbours, itself left out, block by block.

    Raw times of 127, 128 and 129 differ by the law alone; what a size has of its own is its distance from the line
    through the sizes around it. `blocks` are [num_blocks, n] seconds per step of n rising sizes; only those with at
    least three neighbours within 10 % have residuals, [num_blocks].
    """
    sizes = np.array(batch_sizes, dtype=np.float64)
    residuals: dict[int, Array] = {}
    for place, size in enumerate(sizes):
        near = (np.abs(sizes / size - 1) <= WINDOW) & (sizes != size)
        if near.sum() >= MIN_NEIGHBOURS:
            design = np.column_stack([np.ones(near.sum()), sizes[near] - size])
            here = np.linalg.pinv(design)[0]  # value at the size itself, as weights of the neighbours
            residuals[int(size)] = np.log(blocks[:, place] / (blocks[:, near] @ here))
    return residuals


def judge_sizes(batch_sizes: list[int], blocks: Array, margin: float = MARGIN) -> list[Verdict]:
    """Say of each size whether it is out of line.

    Equivalence by two one-sided tests against +-margin, difference by a two-sided test against 0, both on trimmed
    means over blocks and Holm-corrected over sizes. A size that is equal and differs is equal: it differs by less than
    matters. Sizes without enough neighbours are left out; batch_sizes and blocks as in `local_residuals`.

    Source: Schuirmann 1987 (two one-sided tests); Holm 1979; Tukey and McLaughlin 1963 (trimmed t).
    """
    residuals = local_residuals(batch_sizes, blocks)
    if not residuals or len(blocks) < 5:
        return []
    estimates, *p_values = zip(*(_tests(values, margin) for values in residuals.values()), strict=True)
    equal, different = (holm(np.array(each)).tolist() for each in p_values)
    verdicts: list[Verdict] = []
    for size, estimate, p_equal, p_different in zip(residuals, estimates, equal, different, strict=True):
        other = "different" if p_different < SIGNIFICANCE else "not enough data"
        said = "equal" if p_equal < SIGNIFICANCE else other
        verdicts.append(Verdict(size, estimate, p_equal, p_different, said))
    return verdicts


def _tests(values: Array, margin: float) -> tuple[Estimate, float, float]:
    """Return the residual with its 90 % interval, p of equivalence, p of difference."""
    mean, error, freedom = trimmed_mean(values)
    student = stats.t(freedom)
    half = student.ppf(0.95) * error
    low, high = math.log1p(-margin), math.log1p(margin)
    p_equal = max(student.sf((mean - low) / error), student.cdf((mean - high) / error))
    p_different = 2 * student.sf(abs(mean) / error)
    return Estimate(mean, mean - half, mean + half).map(math.expm1), float(p_equal), float(p_different)


def trimmed_mean(values: Array) -> tuple[float, float, int]:
    """Return the mean of [n] values without the tenth at each end, its standard error and degrees of freedom.

    Source: Tukey and McLaughlin 1963: the winsorised standard deviation over (1 - 2*trim) sqrt(n).
    """
    ordered, cut = np.sort(values), int(TRIM * len(values))
    kept = ordered[cut : len(ordered) - cut]
    winsorised = np.clip(ordered, kept[0], kept[-1])
    error = winsorised.std(ddof=1) / ((1 - 2 * cut / len(values)) * math.sqrt(len(values)))
    return float(kept.mean()), max(float(error), 1e-12), len(kept) - 1


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct p values so that the chance of any false rejection stays at the level; [n].

    Source: Holm 1979 (A simple sequentially rejective multiple test procedure).
    """
    order, n = np.argsort(p_values), len(p_values)
    stepped = np.maximum.accumulate(p_values[order] * (n - np.arange(n)))
    corrected = np.empty(n)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected

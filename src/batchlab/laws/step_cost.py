"""What a step takes at any batch size, from step times at a few: in one part, and in several."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from batchlab.laws.estimate import Estimate, of_draws, resampled
from batchlab.laws.line import Array
from batchlab.laws.step_time import fit_step_time

FEW_DRAWS = 500
"""Of the law of several parts; each is a small fit of its own."""


@dataclass(frozen=True)
class Timed:
    """Steps of one size that were timed.

    Attributes:
        batch_size: examples per step, B.
        num_parts: forward and backward passes per step, k.
        seconds: of a step, one number from each block.
    """

    batch_size: int
    num_parts: int
    seconds: Sequence[float]


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step: alpha + beta*B in one part, alpha_0 + k*alpha + beta*B in k parts.

    Attributes:
        alpha_seconds: of a step in one part, in s; None where none was timed, as the next two.
        beta_seconds: per example, in s.
        worst: largest distance of a median from the line within its range, relative to the line.
        beyond: sizes from the end of that range upwards, (batch size, seconds): the line does not hold there, and
            seconds are read off between them.
        update_seconds: alpha_0, what comes once however many parts there are; None where none was timed.
        part_seconds: alpha, what comes with every part.
        part_beta_seconds: per example of such a step.
        floor_seconds: what a step in one part takes at least; None where no floor was seen.
    """

    alpha_seconds: Estimate | None
    beta_seconds: Estimate | None
    worst: float | None
    beyond: tuple[tuple[int, float], ...]
    update_seconds: Estimate | None = None
    part_seconds: Estimate | None = None
    part_beta_seconds: Estimate | None = None
    floor_seconds: Estimate | None = None

    def seconds(self, batch_size: int, num_parts: int = 1) -> float | None:
        """Return the seconds of a step of B examples in k parts; None where nothing of its kind was timed."""
        if num_parts > 1:
            if self.update_seconds is None or self.part_seconds is None or self.part_beta_seconds is None:
                return None
            passes = num_parts * self.part_seconds.value
            return self.update_seconds.value + passes + self.part_beta_seconds.value * batch_size
        if self.alpha_seconds is None or self.beta_seconds is None:
            return None
        if not self.beyond or batch_size <= self.beyond[0][0]:
            floor = self.floor_seconds.value if self.floor_seconds else 0.0
            return max(floor, self.alpha_seconds.value + self.beta_seconds.value * batch_size)
        sizes, seconds = (list(column) for column in zip(*self.beyond, strict=True))
        scale = max(1.0, batch_size / sizes[-1])  # above all that was timed: as many seconds per example
        return scale * float(np.interp(batch_size, sizes, seconds))


def fit_step_cost(timed: Sequence[Timed]) -> StepCost | None:
    """Fit the laws to one model's timed steps, each batch size once; None where there are none."""
    one = sorted((each for each in timed if each.num_parts == 1), key=lambda each: each.batch_size)
    several = [each for each in timed if each.num_parts > 1]
    if not timed:
        return None
    cost = _of_one_part(one)
    return _with_several(cost, several) if several else cost


def extended(cost: StepCost, known: Sequence[Timed], more: Sequence[Timed]) -> StepCost:
    """Extend the laws by what lies beyond them; what they gave before they still give.

    Args:
        cost: through `known`.
        known: what was timed before.
        more: timed since, at other sizes, together with the largest of the known ones in one part: their seconds are
            taken relative to it, because a host is never twice the same.
    """
    one = sorted((each for each in more if each.num_parts == 1), key=lambda each: each.batch_size)
    several = [each for each in more if each.num_parts > 1]
    sizes = [each.batch_size for each in known if each.num_parts == 1]
    if not sizes and one:
        of_one = _of_one_part(one)
        cost = replace(
            of_one,
            update_seconds=cost.update_seconds,
            part_seconds=cost.part_seconds,
            part_beta_seconds=cost.part_beta_seconds,
        )
    elif one:
        largest = max(sizes)
        medians = {each.batch_size: float(np.median(each.seconds)) for each in one}
        there = cost.seconds(largest)
        scale = there / medians[largest] if there is not None and largest in medians else 1.0
        ends = cost.beyond or ((largest, there if there is not None else medians[min(medians)]),)
        cost = replace(cost, beyond=(*ends, *((size, scale * t) for size, t in medians.items() if size > largest)))
    if several and cost.update_seconds is None:
        cost = _with_several(cost, several)
    return cost


def _of_one_part(timed: Sequence[Timed]) -> StepCost:
    """Fit the law of steps in one part, and what lies beyond its range; a lone size is all overhead."""
    if not timed:
        return StepCost(None, None, None, ())
    blocks = blocks_of(timed)
    if len(timed) == 1:
        (rows,) = np.median(blocks[resampled(len(blocks))], axis=1).T
        return StepCost(of_draws(float(np.median(blocks)), rows), Estimate(0.0, 0.0, 0.0), 0.0, ())
    law = fit_step_time([each.batch_size for each in timed], blocks)
    medians = np.median(blocks, axis=0)
    above = [
        (each.batch_size, float(seconds))
        for each, seconds in zip(timed, medians, strict=True)
        if each.batch_size > law.largest
    ]
    beyond = ((law.largest, law.seconds(law.largest).value), *above) if above else ()
    return StepCost(law.alpha_seconds, law.beta_seconds, law.worst, beyond, floor_seconds=law.floor_seconds)


def _with_several(cost: StepCost, timed: Sequence[Timed]) -> StepCost:
    """Fit alpha_0, alpha and beta of steps in several parts, by relative residuals, none below 0."""
    sizes = np.array([each.batch_size for each in timed], dtype=np.float64)
    counts = np.array([each.num_parts for each in timed], dtype=np.float64)
    blocks = blocks_of(timed)

    def fitted(seconds: Array) -> Array:
        """Fit the three numbers; columns are scaled to one size, or the solver loses one beside the others."""
        scales = np.array([1.0, counts.max(), sizes.max()])
        columns = np.column_stack([np.ones(len(sizes)), counts, sizes]) / scales
        found, _ = nnls(columns / seconds[:, None], np.ones(len(sizes)))
        return found / scales

    samples = np.median(blocks[resampled(len(blocks), num_draws=FEW_DRAWS)], axis=1)
    draws = np.array([fitted(row) for row in samples])
    values = fitted(np.median(blocks, axis=0))
    update, part, beta = (of_draws(float(value), draw) for value, draw in zip(values, draws.T, strict=True))
    return replace(cost, update_seconds=update, part_seconds=part, part_beta_seconds=beta)


def blocks_of(timed: Sequence[Timed]) -> Array:
    """Return seconds [num_blocks, n]: as many blocks as every size has; evenly spaced quantiles keep the medians."""
    count = min(len(each.seconds) for each in timed)
    shares = (np.arange(count) + 0.5) / count
    rows = [each.seconds if len(each.seconds) == count else np.quantile(each.seconds, shares) for each in timed]
    return np.array(rows, dtype=np.float64).T

"""The time-optimal batch size: seconds to a target are E(B)/B steps of t(B) seconds each."""

import math
from dataclasses import dataclass, replace

import numpy as np

from batchlab.laws.convergence import Convergence
from batchlab.laws.estimate import NUM_DRAWS, Estimate, of_draws
from batchlab.laws.line import Array
from batchlab.laws.step_time import StepTime

NOISE_FACTOR = 3.0
"""The gradient noise scale tells the critical batch size to this factor.

Source: McCandlish et al. 2018, figure 4 and section 2.2; own measurements in docs/results.
"""
UNSURE = 16.0
"""An interval of the best batch size whose ends differ by more says that it is not known."""
RESOLUTION = 200
"""Batch sizes that are tried where the closed form does not hold, evenly spaced in logarithm."""


@dataclass(frozen=True)
class Costs:
    """What the time to a target rests on; each as draws, so that their uncertainty goes through every formula.

    Attributes:
        alpha: [num_draws] seconds of overhead per step, or per part under accumulation.
        beta: [num_draws] seconds per example.
        floor: [num_draws] seconds of a step, or part, at least; zeros where no floor is seen.
        critical: [num_draws] B_crit, in examples.
        min_examples: [num_draws] E_min, in examples; ones where only ratios are wanted.
        update_seconds: alpha_0, seconds of a step that do not come again with each part.
        largest_part: most examples that fit into memory at once; infinite where nothing limits.
        largest_batch: examples of the training split.
    """

    alpha: Array
    beta: Array
    floor: Array
    critical: Array
    min_examples: Array
    update_seconds: float = 0.0
    largest_part: float = math.inf
    largest_batch: float = math.inf

    def step_seconds(self, batch_size: Array) -> Array:
        """Return t(B), in s, [num_draws, n]: max(c, alpha + beta*B) while it fits, else alpha_0 + ceil(B/m) parts."""
        parts = np.maximum(1.0, np.ceil(batch_size / self.largest_part))
        line = np.maximum(self.alpha[:, None] - self.update_seconds, 0.0) + self.beta[:, None] * batch_size / parts
        return self.update_seconds + parts * np.maximum(line, self.floor[:, None] - self.update_seconds)

    def unlimited_best(self) -> Array:
        """Return max(sqrt(B_crit * alpha / beta), knee): [num_draws], in examples, whatever fits.

        Up to the knee every step takes the floor, and a larger batch costs nothing.
        """
        knee = np.maximum(self.floor - self.alpha, 0.0) / self.beta
        return np.maximum(np.sqrt(self.critical * self.alpha / self.beta), knee)

    def examples(self, batch_size: Array) -> Array:
        """Return E(B), in examples: [num_draws, n]."""
        return self.min_examples[:, None] * (1 + batch_size / self.critical[:, None])

    def seconds(self, batch_size: Array) -> Array:
        """Return the seconds to the target: [num_draws, n]."""
        return self.examples(batch_size) / batch_size * self.step_seconds(batch_size)


def costs_of_laws(
    step: StepTime, law: Convergence, num_train: float, update_seconds: float = 0.0, largest_part: float = math.inf
) -> Costs:
    """Pair the draws of both laws at random; the first draw is that of the estimates.

    No batch is larger than `num_train`, the examples of the training split; the next two arguments as in `Costs`.
    """
    random = np.random.default_rng(1)
    rates = step_draws(step, random)
    value, critical = law.min_examples.value, law.critical_batch_size.value
    rows = law.draws[random.integers(0, len(law.draws), NUM_DRAWS)].copy()
    rows[0] = value, value / critical
    with np.errstate(divide="ignore"):
        bounds = rows[:, 0] / np.maximum(rows[:, 1], rows[:, 0] / (1000 * num_train))
    examples = np.maximum(rows[:, 0], 1.0)
    return Costs(*rates, np.maximum(bounds, 1e-3), examples, update_seconds, largest_part, num_train)


def step_draws(step: StepTime, random: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return draws of alpha, beta (both above 0) and floor in a random order, the first being the estimates."""
    rates = step.draws[random.permutation(NUM_DRAWS)]
    rates[0] = step.values
    return np.maximum(rates[:, 0], 1e-12), np.maximum(rates[:, 1], 1e-12), rates[:, 2]


def of_noise(noise_scale: Estimate, num_draws: int = NUM_DRAWS) -> Array:
    """Draw B_crit from the gradient noise scale alone: 95 % within a factor of three, and its own error.

    The noise scale B_simple, in examples, is the first draw; its upper end may be infinite.
    """
    random = np.random.default_rng(0)
    low, high = max(noise_scale.low, noise_scale.value / 30), min(noise_scale.high, noise_scale.value * 30)
    own = (math.log(high) - math.log(low)) / (2 * 1.96) if np.isfinite([low, high]).all() else 0.0
    spread = math.hypot(math.log(NOISE_FACTOR) / 1.96, own)
    draws = noise_scale.value * np.exp(spread * random.standard_normal(num_draws))
    draws[0] = noise_scale.value
    return draws


def best_batch_size(costs: Costs) -> Estimate:
    """Return B*, the batch size of the least time to the target, in examples, at least 1.

    Where neither memory nor data limit it, B* is `Costs.unlimited_best`; else the best of a grid under the law of
    accumulation. The first draw is the estimate, the others make its interval.
    """
    free = costs.unlimited_best()
    limit = min(costs.largest_part, costs.largest_batch)
    found = np.maximum(free, 1.0)
    if (free > limit).any():
        found = np.where(free <= limit, found, _best_of_grid(costs))
    return of_draws(float(found[0]), found)


def is_known(best: Estimate) -> bool:
    """Return whether an interval of the best batch size says anything."""
    return math.isfinite(best.high) and best.high / max(best.low, 1e-9) <= UNSURE


def _best_of_grid(costs: Costs) -> Array:
    """The best batch size of each draw, among sizes up to the data and whole numbers of full parts."""
    top = costs.largest_batch if math.isfinite(costs.largest_batch) else 100 * costs.largest_part
    grid = np.geomspace(1.0, top, RESOLUTION)
    if math.isfinite(costs.largest_part):
        whole = costs.largest_part * np.arange(1, min(top // costs.largest_part, 1000) + 1)
        grid = np.union1d(grid[grid <= costs.largest_part], np.append(whole, top))
    best, least = np.empty(len(costs.alpha)), np.full(len(costs.alpha), np.inf)
    for size in grid:
        seconds = costs.seconds(np.array([size]))[:, 0]
        best, least = np.where(seconds < least, size, best), np.minimum(seconds, least)
    return best


def seconds_to_target(costs: Costs, batch_size: float) -> Estimate:
    """Predict the seconds to the target at a batch size."""
    draws = costs.seconds(np.array([float(batch_size)]))[:, 0]
    return of_draws(float(draws[0]), draws)


def good_range(costs: Costs, tolerance: float = 1.1) -> tuple[float, float]:
    """Return the least and the greatest batch size within a factor of the least predicted time, by the estimates."""
    top = costs.largest_batch if math.isfinite(costs.largest_batch) else 1e7
    grid = np.unique(np.round(np.geomspace(1.0, top, 4 * RESOLUTION)))
    first = {name: getattr(costs, name)[:1] for name in ("alpha", "beta", "floor", "critical", "min_examples")}
    estimates = replace(costs, **first)
    seconds = estimates.seconds(grid)[0]
    good = grid[seconds <= tolerance * seconds.min()]
    return float(good[0]), float(good[-1])


def limits_of(costs: Costs, batch_size: float) -> list[str]:
    """Name what limits the time to the target at a batch size: overhead, work, memory, noise.

    *overhead*: more than half of a step is alpha. *noise*: more than a third of the examples are spent because
    batches are beyond what the noise asks for, B > B_crit / 2. *memory*: the batch is cut into parts, or would be
    larger if more fitted. *work*: none of these; the device is busy with examples that are needed. The first draw
    counts.
    """
    size = np.array([float(batch_size)])
    overhead = 1 - float(costs.beta[0] * batch_size / costs.step_seconds(size)[0, 0])
    free = float(costs.unlimited_best()[0])
    words = ["overhead"] if overhead > 0.5 else []
    words += ["noise"] if batch_size > costs.critical[0] / 2 else []
    words += ["memory"] if costs.largest_part < min(free, costs.largest_batch) else []
    return words or ["work"]

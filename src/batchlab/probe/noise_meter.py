"""The gradient noise scale along a run: for free from accumulated steps, else from a small sample at evaluations."""

import math
import time
from dataclasses import replace

from batchlab.build import Built
from batchlab.fit import EvalPoint
from batchlab.laws.gradient_noise import NoiseScale, unknown
from batchlab.plan import part_sizes
from batchlab.probe.gradient_noise import MAX_FLOATS, parts_noise
from batchlab.probe.gradients import Sample, num_parameters, training_sample

NAME = "noise/gradient_noise_scale"
PART_SIZE = 64
"""Examples in a part: enough that a pass is more work than overhead, below the scale of most models."""
MIN_PARTS, MAX_PARTS = 8, 16
"""Fewer give no fair interval; 16 parts are 1,024 examples."""
EVALUATED = 2000
"""Training examples that an evaluation sends forward, see run.py."""
MEASUREMENTS = 10
"""The sample is measured each time so many equal shares of the budget are used up, and at the end."""


class NoiseMeter:
    """Adds B_simple of the training split, tr(Sigma)/|G|^2, to the points of a run; off the training clock.

    G is the gradient of the whole training split, N examples, so that the scale stays finite when the model has
    learned its examples by heart. Steps that are added up from parts give it as training sees it: with augmentation,
    dropout and the parts' own batch norm statistics. The sample gives it in evaluation mode, without augmentation.

    Args:
        built: the run; with `measure.gradient_noise` false nothing is done.

    Attributes:
        seconds: spent here so far.
    """

    def __init__(self, built: Built) -> None:
        self._built, self._is_wanted = built, built.config.measure.gradient_noise
        self._sample: Sample | None = None
        self._next, self._last, self._measured_at = 0.0, -1, -1
        self._newest = unknown("the run ended before its first evaluation")
        self.seconds = 0.0

    def __call__(self, point: EvalPoint) -> EvalPoint:
        """The point with its noise scale, where one is due."""
        self._last = point.counts.steps
        found = self._timed(point) if self._is_wanted else None
        return point if found is None else replace(point, gradient_noise_scale=finite(found.scale.value))

    def finals(self, is_usable: bool) -> dict[str, float]:
        """Scale and interval at the end of the run; NaN where it ended without a usable model.

        Args:
            is_usable: the weights are those at the end of the budget.
        """
        if not self._is_wanted:
            return {}
        if not is_usable:
            self._newest = unknown("the run ended without a usable model")
        elif self._measured_at != self._last:
            self._timed(None)
        scale = self._newest.scale
        return {NAME: finite(scale.value), f"{NAME}_low": scale.low, f"{NAME}_high": scale.high}

    @property
    def reasons(self) -> dict[str, str]:
        """Why the final scale is NaN, by metric; empty where it is not."""
        return {NAME: self._newest.reason} if self._is_wanted and self._newest.reason else {}

    def _timed(self, point: EvalPoint | None) -> NoiseScale | None:
        """A measurement, kept; None where none is due at this point. No point = the end of the run."""
        started = time.perf_counter()
        found = None if point is None else self._of_steps(point)
        if found is None and (point is None or point.is_last or point.progress >= self._next):
            found = self._of_sample()
            share = 1.0 if point is None else point.progress
            self._next = (math.floor(share * MEASUREMENTS) + 1) / MEASUREMENTS
        if found is not None:
            self._newest, self._measured_at = found, self._last
        self.seconds += time.perf_counter() - started
        return found

    def _of_steps(self, point: EvalPoint) -> NoiseScale | None:
        """From accumulated steps; not where a closure ran several times, at weights already fitted to its batch."""
        tally = self._built.learner.tally
        if tally is None or point.counts.processed != point.counts.drawn:
            return None
        return tally.read(self._built.plan.num_train)

    def _of_sample(self) -> NoiseScale:
        built = self._built
        try:
            if self._sample is None:
                self._sample, self._num_parts = self._draw()
            return parts_noise(built.learner.model, built.loss_function, self._sample, self._num_parts)
        except (MemoryError, RuntimeError) as error:  # a side measurement must not end a run that trains
            return unknown(f"{type(error).__name__}: {str(error).splitlines()[0]}")

    def _draw(self) -> tuple[Sample, int]:
        """The sample and its number of parts: as much work as an evaluation, and no more memory than training."""
        plan, dataset = self._built.plan, self._built.dataset
        # a pass forward and backward costs as much as three forward, which is what an evaluation is
        wanted = (len(dataset.val) + min(len(dataset.train), EVALUATED)) // 3
        largest = max(8, part_sizes(plan.batch_size, plan.micro_batch_size)[0])
        size = max(1, min(PART_SIZE, largest, plan.num_train // MIN_PARTS))
        held = max(4, MAX_FLOATS // num_parameters(self._built.learner.model))
        num_parts = min(max(MIN_PARTS, wanted // size), MAX_PARTS, held, plan.num_train)
        return training_sample(self._built, num_parts * size), num_parts


def finite(value: float) -> float:
    """The value, NaN for inf: no chart has a place for it."""
    return value if math.isfinite(value) else math.nan

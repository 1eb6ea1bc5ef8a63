"""The gradient noise scale along a run: for free from accumulated steps, else from a small sample at evaluations."""

import math
import time
from dataclasses import asdict
from typing import Any

from batchlab.data.dataset import Split
from batchlab.data.splits import in_order
from batchlab.data.transforms import Prepare
from batchlab.laws.estimate import Estimate
from batchlab.laws.gradient_noise import NoiseScale, unknown
from batchlab.measures.gradients import drawn, num_parameters
from batchlab.measures.noise_estimators import MAX_FLOATS, parts_noise
from batchlab.training.build import Built
from batchlab.training.loop import LoopPoint
from batchlab.training.plan import part_sizes

NAME = "noise/gradient_noise_scale"
PART_SIZE = 64
"""Examples in a part: enough that a pass is more work than overhead, below the scale of most models."""
MIN_PARTS, MAX_PARTS = 8, 16
"""At an evaluation. Fewer give no fair interval; 16 parts are 1,024 examples."""
FINAL_PARTS, FINAL_PART_SIZE = 32, 128
"""At the end: four times as many examples."""
EVALUATED = 2000
"""Training examples that an evaluation sends forward, see run.py."""
MEASUREMENTS = 10
"""The sample is measured each time so many equal shares of the budget are used up, and at the end."""


class NoiseMeter:
    """Measures B_simple of the training split, tr(Sigma)/|G|^2, at evaluations of a run; off the training clock.

    G is the gradient of the whole training split, N examples, so that the scale stays finite when the model has
    learned its examples by heart. Steps that are added up from parts give it as training sees it: with augmentation,
    dropout, the parts' own batch norm statistics, and examples that this pass has not seen yet. The sample gives it in
    evaluation mode, without augmentation. The last value is always that of a sample, so that runs can be compared.
    With `measure.gradient_noise` false nothing is done.

    Attributes:
        seconds: spent here so far.
    """

    def __init__(self, built: Built) -> None:
        self._built, self._is_wanted = built, built.config.measure.gradient_noise
        self._prepare = Prepare(built.dataset, built.device)
        self._sample: Split | None = None
        self._next = 0.0
        self._newest = unknown("the run ended before its first evaluation")
        self.seconds = 0.0

    def along(self, point: LoopPoint, is_last: bool) -> dict[str, float]:
        """Return ``noise/gradient_noise_scale`` at an evaluation where one is due, and the last, else nothing."""
        if not self._is_wanted:
            return {}
        started, found = time.perf_counter(), None
        if not math.isfinite(point.train_loss):
            found = unknown(f"the training loss was {point.train_loss}")
        elif not is_last:
            found = self._of_steps(point)
        if found is None and (is_last or point.progress >= self._next):
            found = self._of_sample(is_last)
            self._next = (math.floor(point.progress * MEASUREMENTS) + 1) / MEASUREMENTS
        self.seconds += time.perf_counter() - started
        if found is None:
            return {}
        self._newest = found
        return {NAME: finite(found.scale.value)}

    def finals(self, is_usable: bool) -> dict[str, float]:
        """Return scale and interval at the end of the run; NaN where it ended without a usable model."""
        if not self._is_wanted:
            return {}
        if not is_usable and not self._newest.reason:
            self._newest = unknown("the run ended without a usable model")
        scale = self._newest.scale
        return {NAME: finite(scale.value), f"{NAME}_low": scale.low, f"{NAME}_high": scale.high}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"seconds": self.seconds, "next": self._next, "newest": asdict(self._newest)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what another process has measured of the run."""
        newest = state["newest"] | {"scale": Estimate(**state["newest"]["scale"])}
        self.seconds, self._next, self._newest = state["seconds"], state["next"], NoiseScale(**newest)

    @property
    def reasons(self) -> dict[str, str]:
        """Return why the final scale is NaN, by metric; empty where it is not."""
        return {NAME: self._newest.reason} if self._is_wanted and self._newest.reason else {}

    def _of_steps(self, point: LoopPoint) -> NoiseScale | None:
        """From accumulated steps; not where a closure ran several times, at weights already fitted to its batch."""
        grad_norms = self._built.train_step.grad_norms
        if grad_norms is None or point.counts.processed != point.counts.drawn:
            return None
        return grad_norms.read(self._built.plan.num_train)

    def _of_sample(self, is_end: bool) -> NoiseScale:
        built = self._built
        try:
            num_parts, size = self._parts(is_end)
            sample = self._sample if not is_end and self._sample else Split(*drawn(built, num_parts * size))
            self._sample = None if is_end else sample
            parts = in_order(sample, self._prepare, built.device, size)
            return parts_noise(built.train_step.model, built.loss_function, parts, built.plan.num_train)
        except (MemoryError, RuntimeError) as error:  # a side measurement must not end a run that trains
            return unknown(f"{type(error).__name__}: {str(error).splitlines()[0]}")

    def _parts(self, is_end: bool) -> tuple[int, int]:
        """Count parts, and examples in each: as much work as an evaluation, and no more memory than training."""
        if is_end:
            return self._held(FINAL_PARTS), self._size(FINAL_PART_SIZE, FINAL_PARTS)
        dataset, size = self._built.dataset, self._size(PART_SIZE, MIN_PARTS)
        # a pass forward and backward costs as much as three forward, which is what an evaluation is
        wanted = (len(dataset.val) + min(len(dataset.train), EVALUATED)) // 3
        return self._held(min(max(MIN_PARTS, wanted // size), MAX_PARTS)), size

    def _size(self, at_most: int, num_parts: int) -> int:
        plan = self._built.plan
        largest = max(8, part_sizes(plan.batch_size, plan.micro_batch_size)[0])
        return max(1, min(at_most, largest, plan.num_train // num_parts))

    def _held(self, num_parts: int) -> int:
        """As many parts as have their gradients in memory at once, and as there are examples."""
        fitting = max(4, MAX_FLOATS // num_parameters(self._built.train_step.model))
        return min(num_parts, fitting, self._built.plan.num_train)


def finite(value: float) -> float:
    """Return the value, NaN for inf: no chart has a place for it."""
    return value if math.isfinite(value) else math.nan

"""What is measured of a run's model while its clock stands: sharpness on a sample of its training examples."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.config.instantiate import bound
from batchlab.data.dataset import Split
from batchlab.data.splits import in_order, sampled
from batchlab.data.transforms import Prepare
from batchlab.measures.landscape import Landscape, held, named, precise_loss
from batchlab.models.norm import pass_sizes
from batchlab.system.device_memory import peak_bytes, reset_peak
from batchlab.tasks.evaluate import NOT_A_NUMBER
from batchlab.training.build import Built

NUMBERS_OF_A_PART = 2**25
"""Activations of a part of the sample: 128 MiB; a product with the Hessian takes a few times as much."""
TRAIN_LOSS = "sharpness/train_loss"


class Measurer:
    """Measures one run: at its end, and along it where wanted; says what it could not measure, and why.

    Attributes:
        seconds: that measuring took.
        peak: bytes of memory that the run took before it was measured last; 0 where it was not.
        missing: reasons by metric name.
    """

    def __init__(self, built: Built) -> None:
        self._built, self._settings = built, built.config.measure
        self.seconds, self.peak, self.missing = 0.0, 0.0, dict[str, str]()
        self._num_evals, self._latest = 0, dict[str, float]()

    def along(self, is_last: bool) -> dict[str, float]:
        """Return ``sharpness/...`` at every n-th evaluation and the last (`measure.every_evals`), else nothing."""
        every, self._num_evals = self._settings.every_evals, self._num_evals + 1
        if every is None or not (is_last or self._num_evals % every == 0):
            return {}
        self.peak = max(self.peak, peak_bytes(self._built.device))
        self._latest = self._measured()
        reset_peak(self._built.device)
        return self._latest

    def finals(self, is_usable: bool) -> dict[str, float]:
        """Return ``sharpness/...`` at the end of the run; NaN where it ended without a usable model."""
        if not is_usable:
            return self._nothing()
        return self._measured() if self._settings.every_evals is None else self._latest

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        peak = max(self.peak, peak_bytes(self._built.device))
        found = {"missing": self.missing, "latest": self._latest, "num_evals": self._num_evals}
        return {"seconds": self.seconds, "peak": peak} | found

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what another process has measured of the run."""
        self.seconds, self.peak, self.missing = state["seconds"], state["peak"], state["missing"]
        self._latest, self._num_evals = state["latest"], state["num_evals"]

    def _nothing(self) -> dict[str, float]:
        names = self._settings.sharpness
        return dict.fromkeys([TRAIN_LOSS, *(f"sharpness/{name}" for name in names)], NOT_A_NUMBER) if names else {}

    def _measured(self) -> dict[str, float]:
        found, self.missing = self._nothing(), {}
        if not found:
            return {}
        started, built = time.perf_counter(), self._built
        model, loss, lr = built.train_step.model, precise_loss(built.loss_function), built.settings["lr"]
        with held(model, self._settings.batch_norm or "eval"):
            for name, node in {"train_loss": None, **self._settings.sharpness}.items():
                try:
                    landscape = Landscape(model, loss, self._parts, lr, built.seed)
                    values = landscape.loss() if node is None else bound(node)(landscape)
                    found |= named(name, values)
                except Exception as error:  # a measure may fail in any way; the run it looks at is done and stays
                    reason = " ".join(str(error).split())[:300]
                    self.missing[f"sharpness/{name}"] = f"{type(error).__name__}: {reason}"
        for name in (name for name, value in found.items() if not math.isfinite(value)):
            self.missing.setdefault(name, "it is not finite")
            found[name] = NOT_A_NUMBER
        self.seconds += time.perf_counter() - started
        return found

    @cached_property
    def _parts(self) -> "Parts":
        built, model = self._built, self._built.train_step.model
        train = built.dataset.train
        sample = sampled(train, self._settings.num_examples or len(train), built.seed)
        _, step = pass_sizes(model)
        parts = Parts(sample, Prepare(built.dataset, built.device), built.device, max(2, step))
        first, _ = next(iter(parts))
        num_parts = math.ceil(len(sample) * activations_of(model, first) / len(first) / NUMBERS_OF_A_PART)
        size = math.ceil(len(sample) / num_parts)
        if self._settings.batch_norm == "train":  # equal parts, which ghost batch norm can divide
            size = max(step, size // step * step)
            sample = sampled(train, len(sample) // size * size, built.seed)
        return replace(parts, sample=sample, size=size)


@dataclass(frozen=True)
class Parts:
    """A sample in parts of `size`, prepared on the device anew each time it is iterated."""

    sample: Split
    prepare: Prepare
    device: torch.device
    size: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return in_order(self.sample, self.prepare, self.device, self.size)


def activations_of(model: nn.Module, inputs: Tensor) -> int:
    """Count the numbers that the layers of a model put out for inputs [n, ...], the inputs counted too."""
    total = inputs.numel()

    def count(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal total
        total += output.numel() if isinstance(output, Tensor) else 0

    hooks = [module.register_forward_hook(count) for module in model.modules() if not list(module.children())]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total

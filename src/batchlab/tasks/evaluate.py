"""Evaluate a model on a split: its loss and metrics, in a stream."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.tasks.metric import Metric

NOT_A_NUMBER = float("nan")


class Tally:
    """Metrics of a split, updated with its batches on the host.

    Args:
        metrics: which; the loss is left out.
        num_classes: None for regression.
        unit: the targets' own unit per unit of the outputs.
    """

    def __init__(self, metrics: Sequence[Metric], num_classes: int | None, unit: float) -> None:
        self._made = {each: each.make(num_classes or 1) for each in metrics if each.make is not None}
        self._num_classes, self._unit, self._is_finite = num_classes, unit, True
        self._seen = torch.zeros(num_classes or 0, dtype=torch.int64)
        for made in self._made.values():
            made.set_dtype(torch.float64)
        self._least, self._most = float("inf"), float("-inf")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch: outputs [n, C] and class numbers [n], or outputs [n] or [n, 1] and values [n]."""
        outputs, targets = outputs.detach().cpu().double(), targets.cpu()
        self._is_finite = self._is_finite and bool(outputs.isfinite().all())
        if not self._is_finite:
            return
        if self._num_classes is not None:
            self._seen += torch.bincount(targets, minlength=self._num_classes)
        read = {"answers": lambda: outputs.argmax(1), "probabilities": lambda: outputs.softmax(1)}
        kinds = {each.reads for each in self._made}
        values = {kind: read[kind]() if kind in read else outputs.reshape(targets.shape) for kind in kinds}
        if "values" in kinds:
            targets = targets.double()
            self._least, self._most = min(self._least, float(targets.min())), max(self._most, float(targets.max()))
        for metric, made in self._made.items():
            made.update(values[metric.reads], targets)

    def compute(self) -> dict[str, float]:
        """Return the metrics by name; NaN where an output was not finite, of areas where a class is missing."""
        varies = bool((self._seen > 0).all()) if self._num_classes is not None else self._least < self._most
        return {
            metric.name: self._value(metric, made)
            if self._is_finite and (varies or not metric.needs_variety)
            else NOT_A_NUMBER
            for metric, made in self._made.items()
        }

    def _value(self, metric: Metric, made: Any) -> float:
        value = made.compute()
        return float(value[1] if value.ndim else value) * (self._unit if metric.unit == "target" else 1.0)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    forward: Callable[[Tensor], Tensor],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    tally: Tally,
) -> dict[str, float]:
    """Run a model over a split in evaluation mode, which is put back afterwards; returns ``loss`` and the metrics.

    Args:
        model: whose mode is switched.
        forward: inputs [n, ...] -> outputs [n, C]; the model under its precision.
        loss_function: (outputs, targets) -> scalar mean.
        batches: of the split.
        tally: that of the metrics, fresh.
    """
    was_training = model.training
    model.eval()
    losses, count = list[Tensor](), 0
    for inputs, targets in batches:
        outputs = forward(inputs).float()
        losses.append(loss_function(outputs, targets).double() * len(targets))
        count += len(targets)
        tally.update(outputs, targets)
    model.train(was_training)
    return {"loss": (torch.stack(losses).sum() / count).item()} | tally.compute()


MOST_ANSWERS = 20
"""Of more classes only the most frequent one is tried as the answer."""


def chance_level(
    metric: Metric, train_targets: Tensor, targets: Tensor, num_classes: int | None, unit: float = 1.0
) -> float:
    """Return the best that a metric is on a split for an output that looks at no input; NaN for a loss."""
    if metric.make is None:
        return NOT_A_NUMBER
    levels = list[float]()
    for output in constant_outputs(train_targets, num_classes):
        tally = Tally([metric], num_classes, unit)
        tally.update(output.expand(len(targets), -1), targets)
        levels.append(tally.compute()[metric.name])
    return max(levels, key=lambda level: metric.sign * level)


def constant_outputs(train_targets: Tensor, num_classes: int | None) -> list[Tensor]:
    """Return outputs [1, C] that look at no input: each class, and the classes' shares; of numbers mean and median."""
    if num_classes is None:
        return [train_targets.float().mean().view(1, 1), train_targets.float().median().view(1, 1)]
    shares = torch.bincount(train_targets.cpu(), minlength=num_classes).double() / len(train_targets)
    by_shares = shares.clamp_min(1e-12).log().float().view(1, -1)
    return [by_shares, *(torch.eye(num_classes)[:, None] if num_classes <= MOST_ANSWERS else [])]

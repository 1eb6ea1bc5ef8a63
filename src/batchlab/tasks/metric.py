"""A metric: what a task is measured by on a split, which way it is better, and in which unit it is written."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

SIGNIFICANT = 4
"""Digits of a value that is no share."""


@dataclass(frozen=True)
class Metric:
    """A metric, which is recorded, may be an objective, and stands in table and page."""

    name: str  # last part of its names, as in ``val/<name>`` and ``final/val_<name>``
    title: str  # in sentences and tables, e.g. ``accuracy`` or ``RMSE``
    direction: Literal["maximize", "minimize"]
    # share: 0 to 1, of which 1 is best; target: the unit of what is predicted; loss: the loss's own
    unit: Literal["share", "target", "loss"]
    reads: Literal["answers", "probabilities", "values"] = "values"  # what `make` is updated with, beside the targets
    make: Callable[[int], Any] | None = None  # number of classes -> torchmetrics.Metric; None: the loss itself
    needs_variety: bool = False  # is not known where a class is missing, or all targets are equal

    @property
    def sign(self) -> int:
        """Return 1 where larger values are better, -1 where smaller ones are."""
        return 1 if self.direction == "maximize" else -1

    @property
    def axis(self) -> str:
        """Return its title with its unit, for a figure's axis."""
        units = {"share": "share of examples" if self.name == "accuracy" else "1 is best", "target": "target's unit"}
        return f"validation {self.title}" + (f" ({units[self.unit]})" if self.unit in units else "")

    def digits(self, value: float) -> int:
        """Return the digits after the point that a value is written with."""
        if self.unit == "share" or not value or not math.isfinite(value):
            return 4
        return max(0, SIGNIFICANT - 1 - math.floor(math.log10(abs(value))))

    def text(self, value: float) -> str:
        """Write a value."""
        return f"{value:.{self.digits(value)}f}"

    def standard_error(self, value: float, num_examples: int) -> float:
        """Estimate how far a value is off that was measured on so many examples: binomial for shares, else Gaussian."""
        if self.unit == "share":
            return math.sqrt(max(value * (1 - value), 1e-9) / num_examples)
        return abs(value) / math.sqrt(2 * num_examples)


def distance(direction: str, value: float) -> float:
    """Return how far a value is from the best there can be: 1 where larger is better, else 0."""
    return 1 - value if direction == "maximize" else value


ALONE = {"sync_on_compute": False}
"""Settings of each torchmetrics.Metric: of several processes one evaluates, on the whole split."""
LOSS = Metric("loss", "loss", "minimize", "loss")

"""The search space: dimensions with Optuna's distributions, and overrides of a trial's parameters."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)


@dataclass(frozen=True)
class Dimension:
    """One dimension of a search space."""

    key: str  # what stands before the = of an override, e.g. ``batch_size`` or ``+new``.
    # Optuna's parameter; ``log2(batch_size)`` or ``place(batch_size)`` where Optuna's number is an exponent of two or a
    # place in `items`, else the key without its sign
    name: str
    distribution: BaseDistribution  # Optuna's
    items: tuple[str, ...]  # the list's values as text, in order; empty for an interval
    probes: tuple[str, ...]  # values to check before anything runs, as text: both ends, or every item of a list
    is_structural: bool  # whether it changes which files are composed
    is_typed: bool  # whether it was typed, and not read from a file

    def line(self, suggested: Any) -> str:
        """Format the override of a value that Optuna suggested."""
        return f"{self.key}={self.text(suggested)}"

    def text(self, suggested: Any) -> str:
        """Format the value to type for what Optuna suggested."""
        if self.name.startswith("log2("):
            return str(2**suggested)
        if self.name.startswith("place("):
            return self.items[suggested]
        if not self.items:
            return repr(suggested)
        if isinstance(self.distribution, CategoricalDistribution):
            return self.items[self.distribution.choices.index(suggested)]
        return min(self.items, key=lambda item: abs(float(item) - suggested))

    def suggested(self, value: float) -> Any:
        """Convert a value of the setting to Optuna's: the nearest number; None where it is not among the choices."""
        if self.name.startswith("log2("):
            return self._clipped(round(math.log2(value)))
        if self.name.startswith("place("):
            return min(range(len(self.items)), key=lambda place: abs(float(self.items[place]) - value))
        if isinstance(self.distribution, FloatDistribution):
            return self._clipped(float(value))
        if isinstance(self.distribution, IntDistribution):
            step, low = self.distribution.step, self.distribution.low
            return self._clipped(low + step * round((value - low) / step))
        assert isinstance(self.distribution, CategoricalDistribution)
        return value if value in self.distribution.choices else None

    def _clipped(self, number: Any) -> Any:
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return min(max(number, self.distribution.low), self.distribution.high)

    def described(self) -> str:
        """Describe what is searched, for people and for the study's fingerprint."""
        if self.items:
            return ", ".join(self.items) if len(self.items) <= 8 else f"{self.items[0]} ... {self.items[-1]}"
        low, high = self.probes
        kind = "powers of two" if self.name.startswith("log2(") else "integers"
        if isinstance(self.distribution, FloatDistribution):
            kind = "numbers"
        log = ", log scale" if getattr(self.distribution, "log", False) else ""
        return f"{kind} from {low} to {high}{log}"


@dataclass(frozen=True)
class Space:
    """Dimensions and fixed overrides of a study."""

    structural: tuple[Dimension, ...]  # dimensions that change which files are composed; asked first
    plain: tuple[Dimension, ...]  # the others; one is active where its key exists under the structural choices
    fixed: tuple[str, ...]  # overrides of every trial, as typed

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Return all dimensions, in the order in which they are asked."""
        return self.structural + self.plain

    @property
    def is_discrete(self) -> bool:
        """Tell whether there are finitely many points."""
        reals = [each.distribution for each in self.dimensions if isinstance(each.distribution, FloatDistribution)]
        return all(real.single() for real in reals)

    def suggest(
        self, ask: Callable[[Dimension], Any], is_active: Callable[[Sequence[str], Dimension], bool]
    ) -> tuple[list[str], list[str]]:
        """Suggest one point: overrides of the structural and of the active plain dimensions.

        `is_active` tells whether a plain dimension is asked under the structural overrides.
        """
        structural = [each.line(ask(each)) for each in self.structural]
        return structural, [each.line(ask(each)) for each in self.plain if is_active(structural, each)]

    def lines(self, params: Mapping[str, Any]) -> list[str]:
        """Format a trial's parameters as overrides; those of a `custom_search_space` under their own names."""
        by_name = {each.name: each for each in self.dimensions}
        return [by_name[name].line(value) if name in by_name else f"{name}={value}" for name, value in params.items()]

    def shown(self, params: Mapping[str, Any]) -> dict[str, str]:
        """Format a trial's parameters by key, for people: numbers with four digits."""
        pairs = (line.lstrip("+").split("=", 1) for line in self.lines(params))
        return {key: short(value) for key, value in pairs}


def in_words(lines: Sequence[str]) -> str:
    """Format overrides as people read them, ``batch_size 64, lr 0.05``."""
    pairs = (line.lstrip("+").split("=", 1) for line in lines)
    return ", ".join(f"{key} {short(value)}" for key, value in pairs)


def short(value: str) -> str:
    """Format a number with four digits, an integer with all; other text as it is."""
    try:
        return f"{float(value):.4g}" if not value.lstrip("-").isdigit() else value
    except ValueError:
        return value

"""From Hydra's override syntax to Optuna's distributions, and back to overrides.

Differs from hydra-optuna-sweeper 1.3 on purpose: a range excludes its end as Hydra says, an interval typed with
integers is one of integers, and a list of numbers keeps its order.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from batchlab.mistake import Mistake, WrongInput, wrong

TAGS = ("log", "pow2")
Point = dict[str, Any]
"""Optuna's parameters by name."""


@dataclass(frozen=True)
class Dimension:
    """One dimension of a search space.

    Attributes:
        key: what stands before the = of an override, e.g. ``batch_size`` or ``+new``.
        name: Optuna's parameter; ``log2(batch_size)`` or ``place(batch_size)`` where Optuna's number is an exponent
            of two or a place in `items`, else the key without its sign.
        distribution: Optuna's.
        items: the list's values as text, in order; empty for an interval.
        probes: values to check before anything runs, as text: both ends, or every item of a list.
        is_structural: whether it changes which files are composed.
        is_typed: whether it was typed, and not read from a file.
    """

    key: str
    name: str
    distribution: BaseDistribution
    items: tuple[str, ...]
    probes: tuple[str, ...]
    is_structural: bool
    is_typed: bool

    def line(self, suggested: Any) -> str:
        """The override of a value that Optuna suggested."""
        return f"{self.key}={self.text(suggested)}"

    def text(self, suggested: Any) -> str:
        """The value to type for what Optuna suggested."""
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
        """Optuna's number for a value of the setting: the nearest that the distribution has."""
        if self.name.startswith("log2("):
            return self._clipped(round(math.log2(value)))
        if self.name.startswith("place("):
            return min(range(len(self.items)), key=lambda place: abs(float(self.items[place]) - value))
        if isinstance(self.distribution, FloatDistribution):
            return self._clipped(float(value))
        if isinstance(self.distribution, IntDistribution):
            step, low = self.distribution.step, self.distribution.low
            return self._clipped(low + step * round((value - low) / step))
        return value

    def _clipped(self, number: Any) -> Any:
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return min(max(number, self.distribution.low), self.distribution.high)

    def described(self) -> str:
        """What is searched, for people and for the study's fingerprint."""
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
    """What a study searches.

    Attributes:
        structural: dimensions that change which files are composed; asked first.
        plain: the others; one is active where its key exists under the structural choices.
        fixed: overrides of every trial, as typed.
    """

    structural: tuple[Dimension, ...]
    plain: tuple[Dimension, ...]
    fixed: tuple[str, ...]

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """All of them, in the order in which they are asked."""
        return self.structural + self.plain

    @property
    def is_discrete(self) -> bool:
        """Whether there are finitely many points."""
        reals = [each.distribution for each in self.dimensions if isinstance(each.distribution, FloatDistribution)]
        return all(real.step is not None or real.single() for real in reals)

    def suggest(
        self, ask: Callable[[Dimension], Any], is_active: Callable[[Sequence[str], Dimension], bool]
    ) -> tuple[list[str], list[str]]:
        """One point: overrides of the structural and of the active plain dimensions.

        Args:
            ask: a dimension -> what Optuna suggests for it.
            is_active: (structural overrides, plain dimension) -> whether it is asked at all.
        """
        structural = [each.line(ask(each)) for each in self.structural]
        return structural, [each.line(ask(each)) for each in self.plain if is_active(structural, each)]

    def lines(self, params: Mapping[str, Any]) -> list[str]:
        """A trial's parameters as overrides; those that a `custom_search_space` asked for under their own names."""
        by_name = {each.name: each for each in self.dimensions}
        return [by_name[name].line(value) if name in by_name else f"{name}={value}" for name, value in params.items()]


def make_space(
    params: Iterable[Override], typed: Sequence[Override], is_structural: Callable[[Override], bool]
) -> Space:
    """The space of a search.

    Args:
        params: parsed lines of hydra.sweeper.params.
        typed: parsed arguments of the command line; each replaces the param of its key, a plain value fixes it.
        is_structural: whether an override changes which files are composed.

    Returns:
        The space; dimensions with one value stay dimensions.

    Raises:
        WrongInput: every line that has no distribution.
    """
    mistakes: list[Mistake] = []
    dimensions: list[Dimension] = []
    fixed = [override.input_line or "" for override in typed if not override.is_sweep_override()]
    typed_keys = {override.key_or_group for override in typed}
    from_file = [override for override in params if override.key_or_group not in typed_keys]
    fixed += [override.input_line or "" for override in from_file if not override.is_sweep_override()]
    for override in (*typed, *from_file):
        if override.is_sweep_override():
            try:
                dimensions.append(_dimension(override, is_structural(override), override.key_or_group in typed_keys))
            except WrongInput as error:
                mistakes += error.mistakes
    if mistakes:
        raise WrongInput(*mistakes)
    structural = tuple(each for each in dimensions if each.is_structural)
    return Space(structural, tuple(each for each in dimensions if not each.is_structural), tuple(fixed))


def _dimension(override: Override, is_structural: bool, is_typed: bool) -> Dimension:
    key = override.get_key_element()
    name, _, text = (override.input_line or "").partition("=")
    name = name.lstrip("+")
    if override.is_interval_sweep():
        name, distribution, ends = _interval(name, text, override.value())
        return Dimension(key, name, distribution, (), ends, is_structural, is_typed)
    items = list(override.sweep_string_iterator())
    if len(set(items)) < len(items):
        raise wrong(key, text, "has a value twice", f"{key}={','.join(dict.fromkeys(items))}")
    values = [_value(item) for item in items]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(items) or is_structural:
        choices = CategoricalDistribution(items if is_structural else values)
        return Dimension(key, name, choices, tuple(items), tuple(items), is_structural, is_typed)
    order = sorted(range(len(items)), key=lambda place: numbers[place])
    ordered = tuple(items[place] for place in order)
    name, distribution = _ordered(name, sorted(numbers))
    probes = (ordered[0], ordered[-1]) if isinstance(override.value(), RangeSweep) else ordered
    return Dimension(key, name, distribution, ordered, tuple(dict.fromkeys(probes)), is_structural, is_typed)


def _value(item: str) -> Any:
    """What Hydra's grammar makes of one item of a list; text stays text."""
    for kind in (int, float):
        try:
            return kind(item)
        except ValueError:
            continue
    return {"true": True, "false": False, "null": None}.get(item.lower(), item)


def _ordered(name: str, numbers: list[Any]) -> tuple[str, BaseDistribution]:
    """A rising list of numbers as a range where it is evenly spaced, else as its exponents or places."""
    are_integers = all(isinstance(number, int) for number in numbers)
    steps = [high - low for low, high in itertools.pairwise(numbers)]
    if not steps or max(steps) - min(steps) <= 1e-9 * max(abs(numbers[0]), abs(numbers[-1])):
        if are_integers:
            return name, IntDistribution(numbers[0], numbers[-1], step=steps[0] if steps else 1)
        return name, FloatDistribution(numbers[0], numbers[-1], step=steps[0] if steps else None)
    is_doubling = are_integers and all(high == 2 * low for low, high in itertools.pairwise(numbers))
    if is_doubling and numbers[0] > 0 and math.log2(numbers[0]).is_integer():
        return f"log2({name})", IntDistribution(numbers[0].bit_length() - 1, numbers[-1].bit_length() - 1)
    return f"place({name})", IntDistribution(0, len(numbers) - 1)


def _interval(name: str, text: str, value: Any) -> tuple[str, BaseDistribution, tuple[str, str]]:
    """Name, distribution and both ends of an interval."""
    low, high, tags = value.start, value.end, value.tags
    if unknown := sorted(set(tags) - set(TAGS)):
        raise wrong(name, text, f"tags are {' and '.join(TAGS)}", f"{name}={text.replace(unknown[0], 'log')}")
    literals = re.findall(r"interval\(([^()]*)\)", text)
    is_integer = (isinstance(low, int) and isinstance(high, int)) or (
        bool(literals) and "float(" not in text and not re.search(r"[.eE]|inf|nan", literals[0])
    )
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise wrong(
            name, text, "an interval has two finite ends, the lower one first", f"{name}=interval({high},{low})"
        )
    if low <= 0 and tags:
        raise wrong(
            name, text, "a log scale and powers of two start above 0", f"{name}=tag(log,interval(0.001,{high}))"
        )
    if "pow2" in tags:
        first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
        if last < first or first < 0:
            raise wrong(name, text, "has no power of two", f"{name}=tag(pow2,int(interval(16,1024)))")
        return f"log2({name})", IntDistribution(first, last), (str(2**first), str(2**last))
    if is_integer:
        return name, IntDistribution(int(low), int(high), log="log" in tags), (str(int(low)), str(int(high)))
    return name, FloatDistribution(low, high, log="log" in tags), (repr(low), repr(high))

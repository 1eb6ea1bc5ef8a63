"""Parse Hydra's override syntax into Optuna's distributions.

Differs from hydra-optuna-sweeper 1.3 on purpose: a range excludes its end as Hydra says, an interval typed with
integers is one of integers, and a list of numbers keeps its order.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hydra.core.override_parser.types import Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from batchlab.config.override_text import swept_values
from batchlab.errors import ConfigError, ConfigErrors, config_error
from batchlab.search.space import Dimension, Space

TAGS = ("log", "pow2")


def make_space(
    params: Iterable[Override], typed: Sequence[Override], is_structural: Callable[[Override], bool]
) -> Space:
    """Make the space of a search from hydra.sweeper.params; dimensions with one value stay dimensions.

    What was typed replaces the param of its key, a plain value fixes it. `is_structural` tells whether an override
    changes which files are composed.

    Raises:
        ConfigErrors: every line that has no distribution.
    """
    errors: list[ConfigError] = []
    dimensions: list[Dimension] = []
    fixed = [override.input_line or "" for override in typed if not override.is_sweep_override()]
    typed_keys = {override.key_or_group for override in typed}
    from_file = [override for override in params if override.key_or_group not in typed_keys]
    fixed += [override.input_line or "" for override in from_file if not override.is_sweep_override()]
    for override in (*typed, *from_file):
        if override.is_sweep_override():
            try:
                dimensions.append(_dimension(override, is_structural(override), override.key_or_group in typed_keys))
            except ConfigErrors as error:
                errors += error.errors
    if errors:
        raise ConfigErrors(*errors)
    structural = tuple(each for each in dimensions if each.is_structural)
    return Space(structural, tuple(each for each in dimensions if not each.is_structural), tuple(fixed))


def _dimension(override: Override, is_structural: bool, is_typed: bool) -> Dimension:
    key = override.get_key_element()
    name, _, text = (override.input_line or "").partition("=")
    name = name.lstrip("+")
    if override.is_interval_sweep():
        name, distribution, ends = _interval(name, text, override.value())
        return Dimension(key, name, distribution, (), ends, is_structural, is_typed)
    items = swept_values(override)
    if not items:
        raise config_error(key, text, "has no value: a range goes up and excludes its end", f"{key}=16,32,64")
    values = [value_of(item) for item in items]
    once = [item for place, item in enumerate(items) if values[place] not in values[:place]]
    if len(once) < len(items):
        raise config_error(key, text, "has a value twice", f"{key}={','.join(once)}")
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(items) or is_structural:
        choices = CategoricalDistribution(items if is_structural else values)
        return Dimension(key, name, choices, tuple(items), tuple(items), is_structural, is_typed)
    order = sorted(range(len(items)), key=lambda place: numbers[place])
    ordered = tuple(items[place] for place in order)
    name, distribution = _ordered(name, sorted(numbers))
    probes = (ordered[0], ordered[-1]) if isinstance(override.value(), RangeSweep) else ordered
    return Dimension(key, name, distribution, ordered, tuple(dict.fromkeys(probes)), is_structural, is_typed)


def value_of(item: str) -> Any:
    """Return what Hydra's grammar makes of one item of a list; text stays text."""
    for kind in (int, float):
        try:
            return kind(item)
        except ValueError:
            continue
    return {"true": True, "false": False, "null": None}.get(item.lower(), item)


def _ordered(name: str, numbers: list[Any]) -> tuple[str, BaseDistribution]:
    """A rising list of numbers: integers as a range or as exponents of two, all others as places in the list.

    Optuna cuts a range at its last step, which rounding may put before the last of two floats.
    """
    are_integers = all(isinstance(number, int) for number in numbers)
    steps = {high - low for low, high in itertools.pairwise(numbers)}
    if are_integers and len(steps) <= 1:
        return name, IntDistribution(numbers[0], numbers[-1], step=max(steps, default=1))
    is_doubling = are_integers and all(high == 2 * low for low, high in itertools.pairwise(numbers))
    if is_doubling and numbers[0] > 0 and math.log2(numbers[0]).is_integer():
        return f"log2({name})", IntDistribution(numbers[0].bit_length() - 1, numbers[-1].bit_length() - 1)
    return f"place({name})", IntDistribution(0, len(numbers) - 1)


def _interval(name: str, text: str, value: Any) -> tuple[str, BaseDistribution, tuple[str, str]]:
    """Name, distribution and both ends of an interval."""
    low, high, tags = value.start, value.end, value.tags
    if unknown := sorted(set(tags) - set(TAGS)):
        raise config_error(name, text, f"tags are {' and '.join(TAGS)}", f"{name}={text.replace(unknown[0], 'log')}")
    literals = re.findall(r"interval\(([^()]*)\)", text)
    is_integer = (isinstance(low, int) and isinstance(high, int)) or (
        bool(literals) and "float(" not in text and not re.search(r"[.eE]|inf|nan", literals[0])
    )
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise config_error(
            name, text, "an interval has two finite ends, the lower one first", f"{name}=interval({high:g},{low:g})"
        )
    if low <= 0 and tags:
        raise config_error(
            name, text, "a log scale and powers of two start above 0", f"{name}=tag(log,interval(0.001,{high}))"
        )
    if "pow2" in tags:
        first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
        if last < first or first < 0:
            raise config_error(name, text, "has no power of two", f"{name}=tag(pow2,int(interval(16,1024)))")
        return f"log2({name})", IntDistribution(first, last), (str(2**first), str(2**last))
    if is_integer:
        return name, IntDistribution(int(low), int(high), log="log" in tags), (str(int(low)), str(int(high)))
    return name, FloatDistribution(low, high, log="log" in tags), (repr(low), repr(high))

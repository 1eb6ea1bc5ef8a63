"""Declarations of configuration keys: what a value may be, what it means, what it affects."""

import dataclasses
import math
import re
from collections.abc import Iterator
from enum import Flag, auto
from functools import reduce
from operator import or_
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from annotated_types import Interval

from batchlab.config.override_text import override_text, value_text
from batchlab.config.units import amount, unit_of
from batchlab.errors import ConfigError, nearest

MISSING = "???"
"""What stands where a value must be given."""
MOST = 10**15
"""Steps, examples or seconds: more than any run takes, and still exact as a float."""
COUNT, POSITIVE = Interval(ge=1, le=MOST), Interval(gt=0, le=MOST)
KINDS = {int: "an integer", float: "a number", str: "text", bool: "true or false", list: "a list", dict: "settings"}


class Affects(Flag):
    """What changes when the value of a key changes."""

    NOTHING = 0
    IDENTITY = auto()
    """What a run does: a setting of its `config_key`."""
    SEEDS = auto()
    """Over which repetitions a configuration is averaged."""
    MEASURES = auto()
    """What is measured on a run, which trains the same without it."""
    STEP_TIME = auto()
    """Seconds of an optimizer step of a given batch size."""
    MEMORY = auto()
    """Bytes that a pass over a given number of examples takes, or may take."""
    BATCH = auto()
    """How many examples go through at once; memory and step time are tabulated over them."""
    LABEL = auto()
    """The series of a figure that a run belongs to, and whose learning curves it is compared with; batch size, lr and
    the length of the budget are its place in the series."""


@dataclasses.dataclass(frozen=True)
class Key:
    """One configuration key."""

    name: str  # dotted; ``model.*`` stands for every argument of a model that has no declaration of its own
    kind: type  # type of a value, e.g. int; of a number where there are words beside it.
    default: Any  # of the schema; `MISSING` where there is none (conf/ may have another)
    help: str  # what it means: a noun phrase
    numbers: Interval | None = None  # interval of the allowed numbers; None = no number is looked at
    words: tuple[Any, ...] = ()  # allowed texts, beside the numbers
    pattern: tuple[str, str] | None = None  # regular expression of the allowed texts, and the same in words; None = any
    is_optional: bool = False  # whether null is allowed
    affects: Affects = Affects.NOTHING  # what changes with it
    coarse: Affects = Affects.NOTHING  # of `affects`, what a fraction changes only by being zero or not
    fix: Any = None  # right value, offered where a wrong one is typed; None = the default

    @property
    def is_limited(self) -> bool:
        """Tell whether not every value of its type is allowed."""
        return bool(self.numbers or self.words or self.pattern)

    @property
    def allowed(self) -> str:
        """Say what a value may be, e.g. ``null or an integer from 1``."""
        if self.kind is list and self.is_limited:
            each = dataclasses.replace(self, kind=str, is_optional=False)
            return f"{'null or ' * self.is_optional}a list with at least one value, each {each.allowed}"
        parts = ["null"] if self.is_optional else []
        parts += [f"{KINDS[self.kind]}{_bounds(self.numbers)}"] if self.numbers else []
        parts += [self.pattern[1]] if self.pattern else list(map(value_text, self.words))
        parts = parts if parts not in ([], ["null"]) else [*parts, KINDS[self.kind]]
        return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"

    @property
    def unit(self) -> str:
        """Return the unit of the numbers; empty where they have none."""
        most = self.numbers and (self.numbers.lt or self.numbers.le)
        return "share" if most == 1 else unit_of(self.name)

    def is_allowed(self, value: Any) -> bool:
        """Tell whether the declaration allows a value."""
        if value is None or not self.is_limited:  # types are OmegaConf's to check
            return self.is_optional or value is not None or self.name.endswith(".*")
        if self.kind is list:
            each = dataclasses.replace(self, kind=str, is_optional=False)
            return isinstance(value, list) and bool(value) and all(map(each.is_allowed, value))
        if self.pattern:
            return isinstance(value, str) and re.fullmatch(self.pattern[0], value) is not None
        if any(type(value) is type(word) and value == word for word in self.words):
            return True
        if self.numbers is None:
            return False
        is_number = isinstance(value, int if self.kind is int else int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(value) and _is_in(value, self.numbers)

    def error(self, value: Any, name: str = "") -> ConfigError | None:
        """Return the error of a value that is not allowed; `name` where the declaration stands for several settings."""
        if self.is_allowed(value):
            return None
        most: Any = self.numbers.le if self.numbers else None
        is_above = isinstance(value, int | float) and most is not None and most < value < math.inf
        allowed = f"at most {most:,}" if is_above else self.allowed
        close = nearest(value, map(str, self.words)) if isinstance(value, str) and self.kind is not list else None
        fix = close or (self.default if self.fix is None else self.fix)
        if isinstance(value, list) and value and self.kind is not list and all(map(self.is_allowed, value)):
            several = override_text(name or self.name, value).replace("[", "").replace("]", "").strip("'")
            return ConfigError(
                name or self.name, value, "one value; several stand there without brackets", f"-m {several}"
            )
        meant = amount(value, self.unit) if isinstance(value, str) else None
        fix = meant if meant is not None and self.is_allowed(meant) else fix
        return ConfigError(name or self.name, value, f"{allowed}: {self.help}", override_text(name or self.name, fix))


def _bounds(interval: Interval) -> str:
    is_open = interval.gt is not None
    low = f" above {interval.gt}" if is_open else f" from {interval.ge}"
    if interval.lt is not None:
        return f"{low} {'and' if is_open else 'to'} below {interval.lt}"
    return low if interval.le in (None, MOST) else f"{low} {'and at most' if is_open else 'to'} {interval.le:,}"


def _is_in(value: Any, interval: Interval) -> bool:
    return (
        (interval.ge is None or value >= interval.ge)
        and (interval.gt is None or value > interval.gt)
        and (interval.le is None or value <= interval.le)
        and (interval.lt is None or value < interval.lt)
    )


def key(default: Any, about: str, values: Any = None, affects: Affects = Affects.NOTHING, **more: Any) -> Any:
    """Make the field of a schema's dataclass that declares its key.

    Args:
        default: of the schema; a list or dict is copied for each instance.
        about: the key's help, see `Key`.
        values: an interval of numbers, an allowed text, or a tuple of these; None = all of its type.
        affects: what changes with it.
        more: other attributes of `Key`; kind and is_optional follow from type and default.
    """
    metadata = {"declared": {"default": default, "help": about, "affects": affects, **split(values), **more}}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def split(values: Any) -> dict[str, Any]:
    """Sort allowed values into `Key.numbers` and `Key.words`."""
    values = values if isinstance(values, tuple) else () if values is None else (values,)
    numbers = next((each for each in values if isinstance(each, Interval)), None)
    return {"numbers": numbers, "words": tuple(each for each in values if each is not numbers)}


def keys_of(schema: type, prefix: str = "") -> Iterator[Key]:
    """List the keys that a dataclass declares with `key`, those of its groups behind them; other fields have none."""
    hints = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        if dataclasses.is_dataclass(hint):
            inner = list(keys_of(hint, f"{name}."))  # pyright: ignore[reportArgumentType]
            affects = reduce(or_, (each.affects for each in inner), Affects.NOTHING)
            yield from (Key(name, dict, MISSING, (hint.__doc__ or "").partition("\n")[0], affects=affects), *inner)
        elif "declared" in field.metadata:
            types = get_args(hint) if isinstance(hint, UnionType) else (hint,)
            kind = next(get_origin(each) or each for each in types if each is not NoneType)
            declared: dict[str, Any] = field.metadata["declared"]
            if kind is Any:  # what OmegaConf cannot check, so that it is refused in our words: a count or a word
                kind = int if declared["numbers"] else str
            is_optional = NoneType in types or declared["default"] is None
            yield Key(**{"name": name, "kind": kind, "is_optional": is_optional} | declared)

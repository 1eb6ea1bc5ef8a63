"""Quantities that a person types with a unit: ``10m``, ``2GiB``, ``50%``."""

import re
from collections.abc import Mapping

PLAIN = {"timeout": "seconds"}
"""Keys that another program named; a unit ends the name of all others."""
TIMES = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
SIZES = {"k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4, "ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}
UNITS: dict[str, Mapping[str, float]] = {
    "seconds": TIMES,
    "minutes": {name: seconds / 60 for name, seconds in TIMES.items()},
    "bytes": {"b": 1, **SIZES, **{f"{name}b": size for name, size in SIZES.items()}},
    "share": {"%": 0.01},
}
"""Unit of a key -> units that are typed, each in the key's."""


def unit_of(key: str) -> str:
    """Return the unit that ends the name of a key, ``seconds`` of ``budget.seconds``; empty where none does."""
    last = re.split(r"[._]", key)[-1]
    return PLAIN.get(last, last if last in UNITS else "")


def amount(text: str, unit: str) -> float | None:
    """Convert a number that was typed with a unit, ``600`` of ``10m`` in seconds; None for any other text."""
    typed = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) *([a-z%]+)", text.strip().lower())
    factor = UNITS.get(unit, {}).get(typed[2]) if typed else None
    if typed is None or factor is None:
        return None
    value = round(float(typed[1]) * factor, 9)
    return int(value) if value.is_integer() else value

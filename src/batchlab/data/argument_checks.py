"""What loaders check about their arguments and labels; each function returns the errors it finds."""

import math
from collections.abc import Iterable, Sequence
from itertools import chain

import torch
from torch import Tensor

from batchlab.data.dataset import Dataset
from batchlab.errors import ConfigError, ConfigErrors

MIN_PER_CLASS = 3  # one example for each of train, val and test
ROWS_AT_ONCE = 65_536
LARGEST_SEED = 2**32 - 1  # of scikit-learn's splits


def refuse(*found: Iterable[ConfigError]) -> None:
    """Raises ConfigErrors with every error that was found; returns where there is none."""
    errors = tuple(chain.from_iterable(found))
    if errors:
        raise ConfigErrors(*errors)


def whole_number(key: str, value: object, least: int, example: int, most: int = 2**62) -> list[ConfigError]:
    """An error where `value` is not an integer of at least `least`, or is above `most`."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return []
    is_above = isinstance(value, int) and value > most
    allowed = f"an integer of at least {least} is allowed" + (f", and at most {most:,}" if is_above else "")
    return [ConfigError(key, value, allowed, f"{key}={example}")]


def number(key: str, value: object, least: float, most: float, example: float) -> list[ConfigError]:
    """An error where `value` is not a number from `least` to `most`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and least <= value <= most:  # type: ignore[arg-type, operator]
        return []
    allowed = f"at least {least:g}" if most == float("inf") else f"from {least:g} to {most:g}"
    return [ConfigError(key, value, f"a number {allowed} is allowed", f"{key}={example}")]


def flag(key: str, value: object) -> list[ConfigError]:
    """An error where `value` is not true or false."""
    if isinstance(value, bool):
        return []
    return [ConfigError(key, value, "true or false is allowed", f"{key}=true")]


def split_settings(val_fraction: object, test_fraction: object | None, split_seed: object) -> list[ConfigError]:
    """Mistakes in the settings of the split.

    Args:
        val_fraction: share that goes to val.
        test_fraction: share that goes to test; None where the data brings its own test split.
        split_seed: the split's own seed, an integer from 0.

    Returns:
        One error for each wrong setting, or one for two fractions that leave nothing to train.
    """
    found = _share("data.val_fraction", val_fraction)
    if test_fraction is not None:
        found += _share("data.test_fraction", test_fraction)
    if not found and test_fraction is not None and val_fraction + test_fraction >= 1:  # type: ignore[operator]
        allowed = f"together with data.test_fraction={test_fraction} it must stay below 1: nothing is left to train"
        found = [ConfigError("data.val_fraction", val_fraction, allowed, "data.val_fraction=.15")]
    return found + whole_number("data.split_seed", split_seed, 0, 0, most=LARGEST_SEED)


def class_counts(key: str, value: object, targets: Tensor, names: Sequence[str], fix: str) -> list[ConfigError]:
    """An error where there are fewer than two classes, or classes too rare to stand in each split.

    Args:
        key: configuration key to blame, e.g. ``data.target``.
        value: its value.
        targets: [N] class numbers, int64.
        names: name of each class number.
        fix: the override to type instead.
    """
    if len(names) < 2:
        allowed = f"two classes or more are needed, every example is {', '.join(names) or 'without class'}"
        return [ConfigError(key, value, allowed, fix)]
    counts = torch.bincount(targets, minlength=len(names)).tolist()
    rare = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < MIN_PER_CLASS]
    if not rare:
        return []
    shown = ", ".join(rare[:8]) + (f" and {len(rare) - 8} more" if len(rare) > 8 else "")
    allowed = f"each class needs {MIN_PER_CLASS} examples or more to stand in each split; too rare: {shown}"
    return [ConfigError(key, value, allowed, fix)]


def not_numbers(loader: str, dataset: Dataset) -> list[ConfigError]:
    """An error for each split that has NaN or infinite inputs or targets; one would make every weight NaN.

    Args:
        loader: what made the data set.
        dataset: of any kind; what is decoded on demand is not looked at.
    """
    found = []
    for name in ("train", "val", "test"):
        split = getattr(dataset, name)
        for part in ("inputs", "targets"):
            values = getattr(split, part)
            if isinstance(values, Tensor) and values.is_floating_point():
                found += _not_finite(loader, f"{part} of {name}", values)
    return found


def _not_finite(loader: str, what: str, values: Tensor) -> list[ConfigError]:
    rows = [
        part.flatten(1).isfinite().all(1) if part.dim() > 1 else part.isfinite() for part in values.split(ROWS_AT_ONCE)
    ]
    bad = torch.cat(rows).logical_not().nonzero().flatten() if rows else torch.empty(0)
    if not len(bad):
        return []
    row = values[bad[0]]
    place = row.isfinite().logical_not().nonzero()[0].tolist()
    value, where = row[tuple(place)].item(), f"row {int(bad[0])}{f', place {place}' if place else ''}"
    allowed = f"{what}: {value} in {where}; {len(bad):,} of {len(values):,} rows have no finite number"
    return [ConfigError("data._target_", loader, allowed, "the same when the data is mended, or leaves these rows out")]


def _share(key: str, value: object) -> list[ConfigError]:
    if isinstance(value, int | float) and 0 < value < 1:
        return []
    return [ConfigError(key, value, "a share above 0 and below 1 is allowed", f"{key}=.15")]

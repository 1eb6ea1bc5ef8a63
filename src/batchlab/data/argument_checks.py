"""Checks of the arguments of data sets and models, and of labels; each returns the errors it finds."""

from collections.abc import Iterable, Sequence
from itertools import chain

import torch
from annotated_types import Interval
from torch import Tensor

from batchlab.config.keys import MOST, Key
from batchlab.data.dataset import Dataset
from batchlab.errors import ConfigError, ConfigErrors, config_error

MIN_PER_CLASS = 3  # one example for each of train, val and test
ROWS_AT_ONCE = 65_536
SHARE = Interval(gt=0, lt=1)
LARGEST_SEED = 2**32 - 1  # of scikit-learn's splits


def refuse(*found: Iterable[ConfigError]) -> None:
    """Raise ConfigErrors with every error that was found; return where there is none."""
    errors = tuple(chain.from_iterable(found))
    if errors:
        raise ConfigErrors(*errors)


def whole_number(key: str, value: object, least: int, example: int, most: int = MOST) -> list[ConfigError]:
    """Return an error where a value is not an integer from `least` to `most`."""
    return number(key, value, Interval(ge=least, le=most), example, int)


def number(key: str, value: object, numbers: Interval, example: float, kind: type = float) -> list[ConfigError]:
    """Return an error where a value is not a number of an interval; the message offers the example."""
    declared = Key(key, kind, example, "", numbers=numbers)
    return [] if declared.is_allowed(value) else [ConfigError(key, value, declared.allowed, f"{key}={example:g}")]


def flag(key: str, value: object) -> list[ConfigError]:
    """Return an error where `value` is not true or false."""
    return [] if isinstance(value, bool) else [ConfigError(key, value, "true or false is allowed", f"{key}=true")]


def image_shape(model: str, input_shape: Sequence[int], min_size: int) -> tuple[int, int, int]:
    """Return channels, height and width of an image input of a shape without batch; `min_size` is in pixels.

    Raises:
        ConfigErrors: where the input is no image, or one that is too small.
    """
    if len(input_shape) != 3:
        allowed = f"it takes images [channels, height, width], the data is {tuple(input_shape)}"
        raise config_error("model", model, allowed, "model=mlp")
    channels, height, width = input_shape
    if min(height, width) < min_size:
        allowed = f"it takes images of {min_size}x{min_size} pixels and up, the data is {height}x{width}"
        raise config_error("model", model, allowed, "model=mlp")
    return channels, height, width


def split_settings(val_fraction: object, test_fraction: object | None, split_seed: object) -> list[ConfigError]:
    """Return an error for each wrong setting of the split, or one for two fractions that leave nothing to train.

    `test_fraction` is None where the data brings its own test split.
    """
    found = number("data.val_fraction", val_fraction, SHARE, 0.15)
    if test_fraction is not None:
        found += number("data.test_fraction", test_fraction, SHARE, 0.15)
    if not found and test_fraction is not None and val_fraction + test_fraction >= 1:  # type: ignore[operator]
        allowed = f"together with data.test_fraction={test_fraction} it must stay below 1: nothing is left to train"
        found = [ConfigError("data.val_fraction", val_fraction, allowed, "data.val_fraction=.15")]
    return found + whole_number("data.split_seed", split_seed, 0, 0, most=LARGEST_SEED)


def class_counts(key: str, value: object, targets: Tensor, names: Sequence[str], fix: str) -> list[ConfigError]:
    """Return an error where there are fewer than two classes, or classes too rare to stand in each split.

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
    """Return an error for each split that has NaN or infinite inputs or targets; one would make every weight NaN.

    What is decoded on demand is not looked at.
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

"""The splits of a table: drawn at random, by groups or by time, or brought as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import GroupShuffleSplit
from torch import Tensor

from batchlab.data.dataset import split_indices
from batchlab.data.features import as_floats, column_kind
from batchlab.data.table_target import Target
from batchlab.errors import ConfigErrors, config_error

SPLITS = ("train", "val", "test")
MAX_SEEDS = 50
"""Seeds of the split that are tried, to offer one that gives each split each class."""
FEW = 3
Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """Rows of a table, and by what they are split."""

    targets: Tensor  # [N], int64 class numbers or float32
    names: Sequence[str] | None  # of each class; None for regression
    origin: np.ndarray  # [N]; 0 in data.path, 1 in data.val_path, 2 in data.test_path
    groups: np.ndarray | None  # [N] numbers; rows of one group stay in one split
    times: np.ndarray | None  # [N] float64; the earliest rows are train, the latest test
    group: str | None  # column of the groups
    time: str | None  # column of the times


def split_rows(rows: Rows, val_fraction: float, test_fraction: float, seed: int, num_train: int | None) -> Parts:
    """Return the rows of train, val and test; a file of val or test is that split, whatever its fraction.

    Args:
        rows: what is split.
        val_fraction: see `dataset.split_indices`, with the next two.
        test_fraction: see there.
        seed: see there.
        num_train: at most so many rows of train, each class with its share; None = all.

    Raises:
        ConfigErrors: where a split would be empty or lack a class.
    """
    parts = _parts(rows, val_fraction, test_fraction, seed)
    if lacking := _lacking(rows, parts):
        seeds = (each for each in range(MAX_SEEDS) if rows.group and each != seed)
        good = (each for each in seeds if not _lacking(rows, _parts(rows, val_fraction, test_fraction, each)))
        raise _error(rows, lacking, seed, next(good, None))
    if num_train is None:
        return parts
    if rows.names and num_train < len(rows.names):
        allowed = f"at least {len(rows.names)}, one row of each class"
        raise config_error("data.num_train", num_train, allowed, "data.num_train=null")
    return _drawn(parts[0], rows.targets, num_train, seed), parts[1], parts[2]


def _parts(rows: Rows, val_fraction: float, test_fraction: float, seed: int) -> Parts:
    own, val, test = (np.flatnonzero(rows.origin == number) for number in range(3))
    if len(val) and len(test):
        return own, val, test
    if len(test):
        train, val, _ = _cut(rows, own, val_fraction, 0.0, seed)
    elif len(val):
        train, test, _ = _cut(rows, own, test_fraction, 0.0, seed)
    else:
        train, val, test = _cut(rows, own, val_fraction, test_fraction, seed)
    return train, val, test


def _cut(rows: Rows, own: np.ndarray, val_fraction: float, test_fraction: float, seed: int) -> Parts:
    if rows.times is not None:
        rest, test = _latest(own, rows.times, test_fraction)
        return *_latest(rest, rows.times, val_fraction / (1 - test_fraction)), test
    if rows.groups is not None:
        rest, test = _by_groups(own, rows.groups, test_fraction, seed)
        return *_by_groups(rest, rows.groups, val_fraction / (1 - test_fraction), seed), test
    train, val, test = split_indices(rows.targets[own], val_fraction, test_fraction, seed)
    return own[train], own[val], own[test]


def _latest(indices: np.ndarray, times: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the earlier and the latest rows, of which rows of one time stay together."""
    count = max(1, round(share * len(indices)))
    if not share or not len(indices):
        return indices, indices[:0]
    is_late = times[indices] >= np.sort(times[indices])[-count]
    return indices[~is_late], indices[is_late]


def _by_groups(indices: np.ndarray, groups: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if not share or len(np.unique(groups[indices])) < 2:
        return indices, indices[:0]
    draw = GroupShuffleSplit(1, test_size=share, random_state=seed)
    rest, held_out = next(draw.split(indices, groups=groups[indices]))
    return indices[rest], indices[held_out]


def _drawn(indices: np.ndarray, targets: Tensor, count: int, seed: int) -> np.ndarray:
    """Draw at most so many of the indices, in order, each class with its share and one example or more."""
    order = np.random.default_rng(seed).permutation(indices)
    classes = targets[order] if targets.dtype == torch.int64 else torch.zeros(len(order))
    by_class = pd.Series(order).groupby(classes.numpy())
    place = by_class.cumcount() / by_class.transform("size")
    return np.sort(order[np.argsort(place, kind="stable")[:count]])


def _lacking(rows: Rows, parts: Parts) -> str:
    """Say which split is empty or has none of a class; a file of val or test may lack what train has."""
    for number, (part, name, counts) in enumerate(zip(parts, SPLITS, _counts(rows, parts), strict=True)):
        if not len(part):
            return f"no rows are left for {name}"
        if rows.names and not counts.all() and not (number and (rows.origin == number).any()):
            return f"{name} has no row of class {rows.names[int(counts.argmin())]}"
    return ""


def _counts(rows: Rows, parts: Parts) -> list[np.ndarray]:
    """Return how many rows of each class each split has."""
    num_classes = len(rows.names or ())
    return [np.bincount(rows.targets[part].numpy() if num_classes else [], minlength=num_classes) for part in parts]


def _error(rows: Rows, lacking: str, seed: int, good_seed: int | None) -> ConfigErrors:
    if rows.group and good_seed is not None:
        allowed = f"split by groups of {rows.group}, {lacking}"
        return config_error("data.split_seed", seed, allowed, f"data.split_seed={good_seed}")
    if rows.group or rows.time:
        key, column = ("data.group", rows.group) if rows.group else ("data.time", rows.time)
        return config_error(key, column, f"split by it, {lacking}", f"{key}=null")
    files = [f"data.{name}_path" for number, name in enumerate(SPLITS) if number and (rows.origin == number).any()]
    return config_error(files[0], "", lacking, " ".join(f"{file}=null" for file in files))


def split_facts(rows: Rows, parts: Parts, num_train: int | None) -> list[str]:
    """Say how many rows each split has where it is not by fractions alone, and which classes are rare there."""
    facts = []
    by = f" by {rows.time}" if rows.time else f" by groups of {rows.group}" if rows.group else ""
    if rows.groups is not None:
        by += f" ({len(np.unique(rows.groups)):,} of them)"
    if by or rows.origin.any() or num_train is not None:
        sizes = ", ".join(f"{len(part):,} {name}" for part, name in zip(parts, SPLITS, strict=True))
        facts.append(f"split{by}: {sizes} rows")
    if rows.names is None:
        return facts
    counts = _counts(rows, parts)
    few = [
        f"{name} ({', '.join(f'{count[number]} in {split}' for count, split in zip(counts, SPLITS, strict=True))})"
        for number, name in enumerate(rows.names)
        if min(count[number] for count in counts) < FEW
    ]
    return [*facts, f"classes with fewer than {FEW} rows in a split: {', '.join(few)}"] if few else facts


def make_rows(frame: pd.DataFrame, origin: np.ndarray, goal: Target, by: dict[str, str]) -> Rows:
    """Return what is split, of the rows that have a target.

    Args:
        frame: these rows of the table, N.
        origin: [N] number of each row's file.
        goal: the target.
        by: columns of data.group and data.time, by key.

    Raises:
        ConfigErrors: where a row has no time.
    """
    group, time = by.get("data.group"), by.get("data.time")
    groups = None if group is None else _numbers_of_groups(frame[group])
    times = None if time is None else _numbers_of_times(frame[time])
    return Rows(goal.values, goal.names, origin, groups, times, group, time)


def _numbers_of_groups(column: Any) -> np.ndarray:
    """Return a number for each row's group; a row without one is a group of its own."""
    codes = pd.factorize(column)[0]
    return np.where(codes < 0, codes.max() + 1 + np.arange(len(codes)), codes)


def _numbers_of_times(column: Any) -> np.ndarray:
    """Return numbers as they are, and dates as nanoseconds."""
    if column_kind(column) == "number":
        values = as_floats(column)
    else:
        dates = pd.to_datetime(column.astype(object), format="ISO8601", utc=True, errors="coerce")
        values = dates.astype("datetime64[ns, UTC]").astype("int64").where(dates.notna(), np.nan).to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        first = f"row {column.index[bad[0]] + 1:,}: {column.iloc[bad[0]]}"
        said = f"{len(bad):,} rows have no number there, and no date like 2024-12-31 (first in {first})"
        raise config_error("data.time", column.name, said, "data.time=null")
    return values

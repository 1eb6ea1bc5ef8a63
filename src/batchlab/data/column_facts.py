"""What is odd about the columns and rows of a table: ids, the same twice, the target given away, copies of rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from batchlab.config.override_text import override_text

NUM_SAMPLED = 5_000
"""Rows that are looked at first; what they do not show, all rows do not show."""
MAX_VALUES = 1_000
ROWS_A_VALUE = 5
LEAST_ROWS = 20
"""Fewer say nothing of what goes together."""


def row_keys(columns: pd.DataFrame) -> pd.Series:
    """Return a number for each row [N], the same for rows with the same features."""
    numbers = columns.select_dtypes(np.float64)
    keys = _hashes(numbers) if len(numbers.columns) else None
    return keys if keys is not None and keys.is_unique else _hashes(columns)


def _hashes(values: pd.DataFrame | pd.Series) -> pd.Series:
    return pd.util.hash_pandas_object(values, index=False)  # type: ignore[attr-defined]


def column_facts(columns: pd.DataFrame, keys: pd.Series, targets: Tensor, drop: list[str]) -> list[str]:
    """Name columns that look like ids, that have the content of another, or that alone give the target.

    Args:
        columns: features as they are read, [N] each: float64 or text.
        keys: see `row_keys`.
        targets: [N].
        drop: columns that are left out already.
    """
    if len(columns) < LEAST_ROWS:
        return []
    some = np.linspace(0, len(columns) - 1, min(NUM_SAMPLED, len(columns))).round().astype(int)
    few, goal, is_classes = columns.iloc[some], targets.numpy(), targets.dtype == torch.int64
    num_rows = keys.nunique()
    ids = [name for name in columns if _is_id(few[name]) and _is_id(columns[name])]
    copies = _copies(columns, few)
    leaks = [
        name
        for name in columns
        if _gives(few[name], goal[some], is_classes, num_rows) and _gives(columns[name], goal, is_classes, num_rows)
    ]
    said = {
        "a value of its own in each row, as an id has": ids,
        "the content of another column": copies,
        "alone gives the target in every row": leaks,
    }
    return [
        f"{', '.join(names)}: {what}; without: {override_text('data.drop', [*drop, *names])}"
        for what, names in said.items()
        if names
    ]


def _is_id(column: Any) -> bool:
    if column.dtype == np.float64:
        values = column.to_numpy()
        return bool((values == np.round(values)).all()) and column.is_unique
    return column.is_unique


def _copies(columns: pd.DataFrame, few: Any) -> list[str]:
    """List columns that are the same as one before them."""
    alike: dict[bytes, list[str]] = {}
    found = []
    for name in columns:
        key = _hashes(few[name]).to_numpy().tobytes()
        others = alike.setdefault(key, [])
        if any(columns[name].equals(columns[other]) for other in others):
            found.append(name)
        else:
            others.append(name)
    return found


def _gives(column: Any, goal: np.ndarray, is_classes: bool, num_rows: int) -> bool:
    """Tell whether the target follows from a column: value by value, by thresholds, or as a line.

    What holds for all rows holds for some of them; of copies of few rows it says nothing.
    """
    is_number = column.dtype == np.float64
    codes = np.unique(column, return_inverse=True)[1] if is_number else pd.factorize(column)[0]
    goals = pd.factorize(goal)[0]
    num_values, num_goals = int(codes.max()) + 1, int(goals.max()) + 1
    if min(num_values, num_goals) < 2:
        return False
    is_pure = len(pd.unique(codes * np.int64(num_goals) + goals)) == num_values
    if is_pure and num_values <= min(MAX_VALUES, len(codes) // ROWS_A_VALUE, num_rows // 2):
        return True
    if is_number and is_classes:
        of_value = np.empty(num_values, np.int64)
        of_value[codes] = goals
        return is_pure and num_values >= LEAST_ROWS and np.count_nonzero(np.diff(of_value)) == num_goals - 1
    return is_number and _is_line(column.to_numpy(), goal)


def _is_line(values: np.ndarray, goal: np.ndarray) -> bool:
    is_there = ~np.isnan(values)
    x, y = values[is_there], goal[is_there].astype(np.float64)
    if len(x) < LEAST_ROWS or not x.std() or not y.std():
        return False
    return bool(abs(np.corrcoef(x, y)[0, 1]) > 1 - 1e-9)


def copy_facts(keys: pd.Series, parts: Sequence[np.ndarray]) -> list[str]:
    """Say how many rows have the features of another, and how many of val and test have those of a training row.

    Args:
        keys: [N], see `row_keys`.
        parts: rows of train, val and test.
    """
    num_copies = int(keys.duplicated().sum())
    if not num_copies:
        return []
    train, *others = (keys.iloc[part] for part in parts)
    cells = (
        f"{int(part.isin(train).sum()):,} of {len(part):,} rows of {name}"
        for part, name in zip(others, ("val", "test"), strict=True)
    )
    copies = f"{num_copies:,} of {len(keys):,} rows are copies of others (the same features)"
    return [f"{copies}; {' and '.join(cells)} have a copy in train; data.group=<column> keeps a group's rows together"]

"""A table of a person's own: CSV or Parquet, with a column or an expression as target."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pandas.api.types import infer_dtype
from torch import Tensor

from batchlab.config.override_text import override_text
from batchlab.data.argument_checks import class_counts, refuse, split_settings
from batchlab.data.dataset import Dataset, Split, make_dataset, split_indices
from batchlab.data.expression import evaluate_target
from batchlab.data.features import Features, as_floats, column_kind, encode, read_columns
from batchlab.data.tablefile import read_table
from batchlab.errors import ConfigError, ConfigErrors, config_error, nearest

TASKS = ("auto", "classification", "regression")
MAX_INTEGER_CLASSES = 20
LINE_WIDTH = 100


@dataclass(frozen=True)
class Target:
    """What is to be predicted."""

    has_target: np.ndarray  # [rows of the file] bool; the rows that have one
    values: Tensor  # [N], of these rows: int64 class numbers, or float32
    names: tuple[str, ...] | None  # name of each class; None for regression


def load_table(
    path: str | None,
    target: str | None,
    drop: list[str],
    task: str,
    val_fraction: float,
    test_fraction: float,
    split_seed: int,
) -> Dataset:
    """Load a CSV or Parquet table: numbers standardised, text one-hot, all fitted on the training rows alone.

    Columns that the target uses are never features. Rows in which one of them is missing are dropped.
    Missing numbers become the median and mark a column of their own; missing text is a category of its own.

    Args:
        path: .csv, .tsv or .parquet, or one of these followed by .gz.
        target: a column, or an expression of columns, e.g. ``ArrDelay > 15``.
        drop: columns to leave out.
        task: classification, regression, or auto: classification for bools, text and integers of at most 20
            distinct values.
        val_fraction: of the split, with the next two; see `dataset.split_indices`.
        test_fraction: see there.
        split_seed: see there.

    Returns:
        Inputs [N, F] float32; targets are class numbers by sorted class, or values in the table's own unit.

    Raises:
        ConfigErrors: where an argument is not allowed, the file cannot be read or cannot be learned from.
    """
    refuse(split_settings(val_fraction, test_fraction, split_seed), _setting_errors(task, drop))
    drop, frame = [str(name) for name in drop], read_table(path)
    raw, used = _target_and_drop(frame, target, drop)
    goal = _read_target(raw, target, task)
    left_out = [name for name in frame.columns if name in used or name in drop]
    columns, unread = read_columns(frame.loc[goal.has_target].drop(columns=left_out))
    fix = "another data.target, or data.task=regression where it is a number"
    rare = [] if goal.names is None else class_counts("data.target", target, goal.values, goal.names, fix)
    refuse(rare, _unread_columns(unread, drop))
    rows = split_indices(goal.values, val_fraction, test_fraction, split_seed)
    features = encode(columns, rows)
    if features is None:
        names = ", ".join(columns.columns)
        what = f"one value in all training rows: {names}" if names else "no column is left"
        raise config_error("data.drop", drop, f"no features are left: {what}", "data.drop=[] or fewer columns")
    splits = [Split(x, goal.values[part]) for x, part in zip(features.splits, rows, strict=True)]
    facts = _target_facts(target, used, task, goal, splits[0].targets) + _feature_facts(features)
    facts += _gap_facts(columns, features)
    num_classes = None if goal.names is None else len(goal.names)
    name = Path(str(path)).name.split(".")[0]
    return make_dataset(name, splits, num_classes, tuple(facts), is_standardised=True)


def _setting_errors(task: object, drop: object) -> list[ConfigError]:
    found = []
    if task not in TASKS:
        guess = nearest(str(task), TASKS) or "auto"
        found.append(ConfigError("data.task", task, f"one of {', '.join(TASKS)} is allowed", f"data.task={guess}"))
    if isinstance(drop, str) or not isinstance(drop, Sequence):
        fix = override_text("data.drop", [drop] if drop else [])
        found.append(ConfigError("data.drop", drop, "a list of columns is allowed", fix))
    return found


def _target_and_drop(frame: pd.DataFrame, target: str | None, drop: list[str]) -> tuple[pd.Series, list[str]]:
    found = [_unknown_column(name, drop, frame) for name in drop if name not in frame.columns]
    try:
        raw, used = evaluate_target(frame, target)
    except ConfigErrors as error:
        raise ConfigErrors(*error.errors, *found) from None
    kept = [name for name in drop if name not in used]
    if len(kept) < len(drop):
        both = ", ".join(name for name in drop if name in used)
        allowed = f"the target needs {both}, and what it needs is never a feature"
        found.append(ConfigError("data.drop", drop, allowed, override_text("data.drop", kept)))
    refuse(found)
    return raw, used


def _unknown_column(name: str, drop: list[str], frame: pd.DataFrame) -> ConfigError:
    guess = nearest(name, frame.columns)
    kept = [guess if other == name else other for other in drop if other != name or guess]
    allowed = f"there is no column '{name}'; columns: {', '.join(frame.columns[:30])}"
    return ConfigError("data.drop", drop, allowed, override_text("data.drop", kept))


def _unread_columns(unread: dict[str, str], drop: list[str]) -> list[ConfigError]:
    if not unread:
        return []
    found = ", ".join(f"{name} ({kind})" for name, kind in unread.items())
    fix = override_text("data.drop", [*drop, *unread])
    return [ConfigError("data.drop", drop, f"only numbers, bools and text are read; drop {found}", fix)]


def _read_target(raw: pd.Series, target: str | None, task: str) -> Target:
    kind = column_kind(raw)
    fix = "another data.target"
    if kind not in ("number", "text"):
        raise config_error("data.target", target, f"it holds {kind}; numbers, bools and text are read", fix)
    values = as_floats(raw) if kind == "number" else raw.to_numpy(dtype=object)
    has_target = np.isfinite(values) if kind == "number" else raw.notna().to_numpy()
    values = values[has_target]
    if not len(values):
        raise config_error("data.target", target, "no rows are left: it is missing in every row", fix)
    if kind == "text" and task == "regression":
        raise config_error("data.task", task, f"{target} is text, which has no mean", "data.task=classification")
    is_bool = infer_dtype(raw, skipna=True) == "boolean"
    if task == "regression" or (task == "auto" and not _is_classes(values, kind, is_bool)):
        return Target(has_target, torch.from_numpy(values.astype(np.float32)), None)
    classes, numbers = np.unique(values.astype(str) if kind == "text" else values, return_inverse=True)
    names = tuple(str(bool(name)) if is_bool else f"{name}" if kind == "text" else f"{name:g}" for name in classes)
    return Target(has_target, torch.from_numpy(numbers).long(), names)


def _is_classes(values: np.ndarray, kind: str, is_bool: bool) -> bool:
    if kind == "text" or is_bool:
        return True
    return bool((values == np.round(values)).all()) and len(np.unique(values)) <= MAX_INTEGER_CLASSES


def _target_facts(target: str | None, used: list[str], task: str, goal: Target, train_targets: Tensor) -> list[str]:
    num_rows, num_kept = len(goal.has_target), len(goal.values)
    dropped = f"{num_rows - num_kept:,} of {num_rows:,} rows dropped: no target, {' or '.join(used)} is missing"
    facts = [dropped] if num_kept < num_rows else [f"all {num_rows:,} rows have a target"]
    why = " (data.task=auto)" if task == "auto" else ""
    if goal.names is None:
        spread = (
            f"mean {train_targets.mean():.4g}, std {train_targets.std():.4g} in the training rows, standardised by them"
        )
        return [*facts, f"regression{why} of {target}: {spread}"]
    rate = goal.values.bincount().max().item() / num_kept
    facts += _wrap(f"classification{why} of {target}: {len(goal.names)} classes {', '.join(goal.names)}")
    return [*facts, f"majority class rate {rate:.4f}".replace("0.", ".")]


def _feature_facts(features: Features) -> list[str]:
    used = [*features.numbers, *features.texts]
    parts = (
        f"{len(features.numbers)} numbers",
        f"{features.num_indicators} columns that mark missing numbers",
        f"{features.num_one_hot} one-hot columns of {len(features.texts)} text columns",
    )
    width = features.splits[0].shape[1]
    facts = [*_wrap(f"{len(used)} features: {', '.join(used)}"), f"{width} inputs: {', '.join(parts)}"]
    if features.constant:
        facts += _wrap(f"{len(features.constant)} constant columns left out: {', '.join(features.constant)}")
    return facts


def _gap_facts(columns: pd.DataFrame, features: Features) -> list[str]:
    """Return where numbers are missing or infinite; the rows of a frame have the file's places."""
    missing = {name: np.flatnonzero(columns[name].isna().to_numpy()) for name in features.numbers}
    counts = {name: len(found) for name, found in missing.items() if len(found)}
    if not counts:
        return []
    rows = columns.index.to_numpy() + 1
    cells = (f"{name} {count:,} (first in row {rows[missing[name][0]]:,})" for name, count in counts.items())
    return _wrap(f"{sum(counts.values()):,} numbers missing or infinite, set to the median: {', '.join(cells)}")


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, LINE_WIDTH, subsequent_indent="  ", max_lines=6, placeholder=" ...")

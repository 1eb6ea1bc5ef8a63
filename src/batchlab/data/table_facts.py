"""What is said of a table: its target, its features, and what is missing."""

import textwrap

import numpy as np
import pandas as pd
from torch import Tensor

from batchlab.data.features import Features
from batchlab.data.table_target import Target

LINE_WIDTH = 100


def target_facts(target: str | None, used: list[str], task: str, goal: Target, train_targets: Tensor) -> list[str]:
    """Say which rows have a target, and what it was taken for."""
    num_rows, num_kept = len(goal.has_target), len(goal.values)
    dropped = f"{num_rows - num_kept:,} of {num_rows:,} rows dropped: no target, {' or '.join(used)} is missing"
    facts = [dropped if num_kept < num_rows else f"all {num_rows:,} rows have a target", *goal.facts]
    why = " (data.task=auto)" if task == "auto" else ""
    if goal.names is None:
        spread = (
            f"mean {train_targets.mean():.4g}, std {train_targets.std():.4g} in the training rows, standardised by them"
        )
        return [*facts, f"regression{why} of {target}: {spread}"]
    rate = goal.values.bincount().max().item() / num_kept
    facts += _wrap(f"classification{why} of {target}: {len(goal.names)} classes {', '.join(goal.names)}")
    return [*facts, f"majority class rate {rate:.4f}".replace("0.", ".")]


def feature_facts(columns: pd.DataFrame, features: Features) -> list[str]:
    """Say for every column what it is taken for."""
    texts = [f"{name} ({columns[name].nunique():,} words)" for name in features.texts]
    parts = (
        f"{len(features.numbers)} numbers",
        f"{features.num_indicators} columns that mark missing numbers",
        f"{features.num_one_hot} one-hot columns of {len(features.texts)} text columns",
    )
    kinds = (("numbers", features.numbers), ("text", texts))
    used = "; ".join(f"{kind} {', '.join(names)}" for kind, names in kinds if names)
    facts = _wrap(f"{len(features.numbers) + len(texts)} features: {used}")
    facts.append(f"{features.splits[0].shape[1]} inputs: {', '.join(parts)}")
    if features.constant:
        facts += _wrap(f"{len(features.constant)} constant columns left out: {', '.join(features.constant)}")
    return facts


def gap_facts(columns: pd.DataFrame, features: Features, origin: np.ndarray) -> list[str]:
    """Say where numbers are missing or infinite.

    Args:
        columns: features as they are read; their index is the row's place among those of all files.
        features: what became of them.
        origin: of each row of all files, see `tablefile.read_tables`.
    """
    missing = {name: np.flatnonzero(columns[name].isna().to_numpy()) for name in features.numbers}
    counts = {name: len(found) for name, found in missing.items() if len(found)}
    if not counts:
        return []
    first = {name: place_of_row(int(columns.index[missing[name][0]]), origin) for name in counts}
    cells = (f"{name} {count:,} (first in {first[name]})" for name, count in counts.items())
    return _wrap(f"{sum(counts.values()):,} numbers missing or infinite, set to the median: {', '.join(cells)}")


def place_of_row(index: int, origin: np.ndarray) -> str:
    """Name a row by its place in its file, e.g. ``row 5``, or ``row 5 of data.val_path``."""
    file = origin[index]
    row = index - int(np.argmax(origin == file)) + 1
    return f"row {row:,}" + ("", " of data.val_path", " of data.test_path")[file]


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, LINE_WIDTH, subsequent_indent="  ", max_lines=6, placeholder=" ...")

"""Columns of a table as numbers for a network, fitted on the training rows alone."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.api.types import infer_dtype, is_bool_dtype, is_complex_dtype, is_numeric_dtype
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import Tensor

MISSING = "(missing)"
MAX_CATEGORIES = 50


@dataclass(frozen=True)
class Features:
    """What became of the columns."""

    splits: tuple[Tensor, Tensor, Tensor]  # train, val and test as float32 [N, F]
    numbers: tuple[str, ...]  # columns that were imputed (median) and standardised
    texts: tuple[str, ...]  # columns that were one-hot encoded
    constant: tuple[str, ...]  # columns left out because they have one value in the training rows
    num_one_hot: int  # how many of the F stem from text columns
    num_indicators: int  # how many say that a number was missing


def read_columns(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read every column as float64 (NaN where missing or infinite) or text; and what the others hold, by name."""
    columns, unread = {}, {}
    for name, column in frame.items():
        kind = column_kind(column)
        if kind == "number":
            values = as_floats(column)
            columns[name] = np.where(np.isfinite(values), values, np.nan)
        elif kind == "text":
            columns[name] = column.astype(object).where(column.notna(), MISSING).astype(str).astype(object)
        else:
            unread[str(name)] = kind
    return pd.DataFrame(columns, index=frame.index), unread


def column_kind(column: pd.Series) -> str:
    """Return ``number`` (bools too), ``text``, or a word for what is read as neither."""
    if is_complex_dtype(column.dtype):
        return "complex numbers"
    if is_numeric_dtype(column.dtype) or is_bool_dtype(column.dtype):
        return "number"
    if isinstance(column.dtype, pd.CategoricalDtype | pd.StringDtype):
        return "text"
    inferred = infer_dtype(column, skipna=True)
    if inferred in ("boolean", "integer", "floating", "mixed-integer-float", "decimal"):
        return "number"
    return "text" if inferred in ("string", "empty") else inferred


def parsed_numbers(values: Any) -> pd.Series:
    """Return the numbers that text stands for, NaN where it stands for none."""
    numbers: Any = pd.to_numeric(values, errors="coerce")
    return numbers


def as_floats(column: pd.Series) -> np.ndarray:
    """Return a column of numbers or bools as float64 [N], NaN where missing."""
    if isinstance(column.dtype, np.dtype) and column.dtype != object:
        return column.to_numpy(dtype=np.float64)
    if column.dtype == object:
        return np.array([np.nan if value is None or value is pd.NA else float(value) for value in column])
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def encode(columns: pd.DataFrame, rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Features | None:
    """Impute, mark and standardise numbers, and encode text one-hot, at most 50 columns each.

    Everything is fitted on the first of the three splits' rows; None where every column is constant there.
    """
    train = columns.iloc[rows[0]]
    constant = tuple(name for name in columns if train[name].nunique(dropna=False) < 2)
    kept = [name for name in columns if name not in constant]
    numbers = [name for name in kept if columns[name].dtype == np.float64]
    texts = [name for name in kept if name not in numbers]
    if not kept:
        return None
    scaler = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    encoder = OneHotEncoder(
        max_categories=MAX_CATEGORIES,
        handle_unknown="infrequent_if_exist",
        sparse_output=False,
        dtype=np.float32,  # type: ignore[arg-type]
    )
    blocks: list[list[np.ndarray]] = [[], [], []]
    for names, transform in ((numbers, scaler), (texts, encoder)):
        if names:
            transform.fit(train[names].to_numpy())
            for block, part in zip(blocks, rows, strict=True):
                block.append(_transform(transform, columns[names].iloc[part]))
    num_one_hot = blocks[0][-1].shape[1] if texts else 0
    train_split, val, test = (torch.from_numpy(np.hstack(block)) for block in blocks)
    num_indicators = train_split.shape[1] - num_one_hot - len(numbers)
    splits = train_split, val, test
    return Features(splits, tuple(numbers), tuple(texts), constant, num_one_hot, num_indicators)


def _transform(transform, columns: pd.DataFrame) -> np.ndarray:
    with warnings.catch_warnings():
        # categories that the training rows lack are what handle_unknown is there for
        warnings.filterwarnings("ignore", message="Found unknown categories")
        return transform.transform(columns.to_numpy()).astype(np.float32)

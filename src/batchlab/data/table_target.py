"""The target of a table as classes or numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pandas.api.types import infer_dtype, is_integer_dtype
from torch import Tensor

from batchlab.data.argument_checks import MIN_PER_CLASS
from batchlab.data.column_looks import looks_of, unreadable
from batchlab.data.features import as_floats, column_kind
from batchlab.errors import config_error

MAX_INTEGER_CLASSES = 20


@dataclass(frozen=True)
class Target:
    """What is to be predicted."""

    has_target: np.ndarray  # [rows of the file] bool; the rows that have one
    values: Tensor  # [N], of these rows: int64 class numbers, or float32
    names: tuple[str, ...] | None  # name of each class; None for regression
    facts: tuple[str, ...] = ()  # what was decided


def read_target(raw: Any, target: str | None, task: str) -> Target:
    """Read classes or numbers; which of them, the task says or, where it is auto, the values.

    Raises:
        ConfigErrors: where it is neither, nowhere there, or a number as text.
    """
    kind = column_kind(raw)
    fix = "another data.target"
    if kind not in ("number", "text"):
        raise config_error("data.target", target, f"it holds {kind}; numbers, bools and text are read", fix)
    for said in unreadable(looks_of(raw.to_frame("target"))).values():
        raise config_error("data.target", target, f"it {said}; numbers, bools and words are read", fix)
    values = as_floats(raw) if kind == "number" else raw.to_numpy(dtype=object)
    has_target = np.isfinite(values) if kind == "number" else raw.notna().to_numpy()
    values = values[has_target]
    if not len(values):
        raise config_error("data.target", target, "no rows are left: it is missing in every row", fix)
    if kind == "text" and task == "regression":
        raise config_error("data.task", task, f"{target} is text, which has no mean", "data.task=classification")
    is_bool = infer_dtype(raw, skipna=True) == "boolean"
    if task == "regression" or (task == "auto" and not _is_classes(values, kind, is_bool)):
        if values.min() == values.max():
            raise config_error("data.target", target, f"it is {values[0]:g} in every row: nothing can be learned", fix)
        facts = _integer_facts(values, target) if task == "auto" else ()
        return Target(has_target, torch.from_numpy(values.astype(np.float32)), None, facts)
    if kind == "text":
        values = values.astype(str)
    elif is_integer_dtype(raw.dtype):
        values = raw[has_target].to_numpy(dtype=np.int64)  # a float has too few digits for a long id
    classes, numbers = np.unique(values, return_inverse=True)
    names = tuple(str(bool(name)) if is_bool else _as_it_stands(name) for name in classes)
    return Target(has_target, torch.from_numpy(numbers).long(), names)


def _as_it_stands(value: str | int | float) -> str:
    return str(int(value)) if isinstance(value, np.floating) and value.is_integer() else str(value)


def _is_classes(values: np.ndarray, kind: str, is_bool: bool) -> bool:
    if kind == "text" or is_bool:
        return True
    return _are_integers(values) and len(np.unique(values)) <= MAX_INTEGER_CLASSES


def _are_integers(values: np.ndarray) -> bool:
    return bool((values == np.round(values)).all())


def _integer_facts(values: np.ndarray, target: str | None) -> tuple[str, ...]:
    """Say that integers might be classes, where each has examples enough."""
    if not _are_integers(values):
        return ()
    _, counts = np.unique(values, return_counts=True)
    said = f"{target}: integers with {len(counts):,} values, taken as numbers"
    return (f"{said}; classes: data.task=classification" if counts.min() >= MIN_PER_CLASS else said,)

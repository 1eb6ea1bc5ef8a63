"""Words of a table that a person says mean missing; in the file only an empty cell is."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from batchlab.config.override_text import override_text, value_text
from batchlab.data.features import column_kind, parsed_numbers

USUAL = {
    *("?", "-", "--", ".", "NA", "N/A", "n/a", "#N/A", "na", "<NA>", "NaN", "nan"),
    *("NULL", "Null", "null", "None", "none", "missing", "unknown"),
}
"""Words that often mean missing; each is a word until it is typed in data.missing."""
BOOLS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}


def as_words(values: Iterable[object]) -> list[str]:
    """Return what stands in a list of the configuration as it is written in a file: null is the word ``null``."""
    return [value if isinstance(value, str) else value_text(value) for value in values]


def take_missing(frame: pd.DataFrame, words: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with these words missing, and what was found; a text column of numbers is read as numbers."""
    if not words:
        return frame, []
    numbers = parsed_numbers(pd.Series(words))
    changed, cells, seen = {}, [], set()
    column: Any
    for name, column in frame.items():
        is_text = column_kind(column) == "text"
        if not is_text and (is_bool_dtype(column.dtype) or not is_numeric_dtype(column.dtype)):
            continue
        found = column.isin(words if is_text else numbers.dropna())
        if found.any():
            rest, values = column.mask(found), set(column[found])
            changed[name] = _read_again(rest) if is_text else rest
            counts = column[found].astype(str).value_counts()
            cells += [f"{name} {word} ({count:,})" for word, count in counts.items()]
            seen |= {word for word, number in zip(words, numbers, strict=True) if word in values or number in values}
    unseen = [word for word in words if word not in seen]
    facts = [f"taken as missing (data.missing): {', '.join(cells)}"] if cells else []
    facts += [f"no cell holds {', '.join(unseen)} (data.missing)"] if unseen else []
    return frame.assign(**changed), facts


def _read_again(column: pd.Series) -> pd.Series:
    """Return a text column without its words as what is left of it: numbers, bools or text."""
    values = column.dropna()
    if parsed_numbers(values).notna().all():
        return parsed_numbers(column)
    if values.isin(list(BOOLS)).all():
        return column.astype(object).map(BOOLS)
    return column


def word_facts(frame: pd.DataFrame, missing: list[str]) -> list[str]:
    """Say which words that often mean missing are taken as words, and what makes them missing."""
    cells, found = [], list(missing)
    column: Any
    for name, column in frame.items():
        if column_kind(column) == "text":
            counts = column[column.isin([*USUAL, *(f" {word}" for word in USUAL)])].astype(str).value_counts()
            cells += [f"{name} {word} ({count:,})" for word, count in counts.items()]
            found += [word for word in counts.index if word not in found]
    fix = override_text("data.missing", found)
    return [f"words, not missing: {', '.join(cells)}; where they mean missing: {fix}"] if cells else []

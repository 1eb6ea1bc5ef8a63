"""What text columns of a table look like: numbers with words among them, numbers with signs, dates."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from batchlab.config.override_text import override_text
from batchlab.data.features import column_kind, parsed_numbers
from batchlab.data.missing_words import USUAL
from batchlab.errors import ConfigError

SHARE = 0.9
"""Share of a column's cells that look alike, from which on the column looks like them."""
FEW_VALUES = 20
"""At most so many different numbers are as well words of a text column."""
MAX_WORDS = 10
NUM_SAMPLED = 10_000
DATE = (
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}([ T].*)?|\d{1,2}/\d{1,2}/\d\d([ T].*)?"
    r"|\d{1,2}[ -][A-Za-z]{3,9}\.?[ -,]+\d{4}.*|[A-Z][a-z]{2,8}\.? \d{1,2},? \d{4}.*"
)
WRITTEN = r"[-+]?[$€£]?\s?(\d{1,3}(,\d{3})+|\d+)([.,]\d+)?\s?[%€$]?"
"""A number with thousands or decimal commas, a percent sign or a currency's."""


@dataclass(frozen=True)
class Look:
    """What a text column looks like."""

    what: str  # ``number``, ``written number`` or ``date``
    others: tuple[tuple[str, int], ...]  # cells that do not look like it: word and count
    num_values: int  # different cells that do
    example: str  # one that does

    @property
    def cells(self) -> str:
        """Say which cells do not look like it, e.g. ``5 cells: ?``."""
        count = sum(count for _, count in self.others)
        shown = ", ".join(word for word, _ in self.others[:MAX_WORDS]) + ", ..." * (len(self.others) > MAX_WORDS)
        return f"{count:,} cell{'s' * (count != 1)}: {shown}"

    @property
    def is_mistaken(self) -> bool:
        """Tell whether its words would be a mistake for certain: a date, or too many numbers to be words."""
        if self.what == "number":
            is_usual = all(word.strip() in USUAL for word, _ in self.others)
            return 0 < len(self.others) <= MAX_WORDS and (is_usual or self.num_values > FEW_VALUES)
        return self.what == "date" or self.num_values > FEW_VALUES


def looks_of(frame: pd.DataFrame) -> dict[str, Look]:
    """Return what text columns look like that look like anything else, by name."""
    looks = {str(name): _look_of(column) for name, column in frame.items() if column_kind(column) == "text"}
    return {name: look for name, look in looks.items() if look}


def _look_of(column: pd.Series) -> Look | None:
    cells = column.dropna().astype(str)
    if cells.empty or _look(cells.iloc[:: max(1, len(cells) // NUM_SAMPLED)], SHARE - 0.1) is None:
        return None
    return _look(cells, SHARE)


def _look(cells: Any, share: float) -> Look | None:
    counts = cells.value_counts()
    words = pd.Series(counts.index.astype(str)).str.strip()
    is_number, is_written = parsed_numbers(words).notna(), words.str.fullmatch(WRITTEN)
    only_usual = is_number.sum() > FEW_VALUES and words[~is_number].isin(USUAL).all()
    signs = words[is_written & ~is_number]
    kinds = {"date": words.str.fullmatch(DATE), "number": is_number}
    if len(signs):
        kinds["written number"] = kinds.pop("number") | is_written
    for what, alike in kinds.items():
        is_like = alike.to_numpy(dtype=bool)
        if counts[is_like].sum() >= share * counts.sum() or (what == "number" and only_usual):
            others = tuple((str(word), int(count)) for word, count in counts[~is_like].items())
            example = signs if what == "written number" else words[is_like]
            return Look(what, others, int(is_like.sum()), example.iloc[0])
    return None


def missing_errors(looks: dict[str, Look], missing: list[str]) -> list[ConfigError]:
    """Return an error for columns that would be numbers but for a few words; the fix has these words missing."""
    found = {name: look for name, look in looks.items() if look.what == "number" and look.is_mistaken}
    if not found:
        return []
    words = dict.fromkeys(word for look in found.values() for word, _ in look.others)
    said = "; ".join(f"{name} looks like a number ({look.cells})" for name, look in found.items())
    fix = override_text("data.missing", [*missing, *(word for word in words if word not in missing)])
    return [ConfigError("data.missing", missing, said, fix)]


def without_words(frame: pd.DataFrame, looks: dict[str, Look]) -> pd.DataFrame:
    """Return the table as it will be when the fix of `missing_errors` is typed."""
    mended = [name for name, look in looks.items() if look.what == "number" and look.is_mistaken]
    return frame.assign(**{name: parsed_numbers(frame[name]) for name in mended})


def unreadable(looks: dict[str, Look]) -> dict[str, str]:
    """Return the columns that would be read wrongly as text, and what they look like."""
    found = {name: look for name, look in looks.items() if look.what != "number" and look.is_mistaken}
    return {
        name: "looks like a date" if look.what == "date" else f"looks like a number written as {look.example}"
        for name, look in found.items()
    }


def look_facts(looks: dict[str, Look], texts: Iterable[str]) -> list[str]:
    """Say which columns are taken as text though they look like something else."""
    found = {name: looks[name] for name in texts if name in looks}
    return [
        f"{name} looks like a number ({look.cells if look.others else f'e.g. {look.example}'}), taken as text"
        for name, look in found.items()
    ]

"""The columns of a table: which of them are the target, which are features, and every mistake in their names."""

from dataclasses import dataclass

import pandas as pd

from batchlab.config.override_text import override_text
from batchlab.data.argument_checks import refuse
from batchlab.data.column_looks import FEW_VALUES, Look, looks_of, missing_errors, unreadable, without_words
from batchlab.data.expression import evaluate_target
from batchlab.data.features import read_columns
from batchlab.errors import ConfigError, ConfigErrors, nearest


@dataclass(frozen=True)
class Columns:
    """The columns of a table, N rows."""

    target: pd.Series  # [N]; missing where a column that it uses is
    used: list[str]  # columns that the target uses
    features: pd.DataFrame  # the others, as `features.read_columns` returns them
    looks: dict[str, Look]  # what text columns look like


def sort_columns(
    frame: pd.DataFrame, target: str | None, drop: list[str], by: dict[str, str], missing: list[str]
) -> Columns:
    """Sort the columns of a table into target and features.

    Args:
        frame: the table.
        target: a column or an expression, see `expression.evaluate_target`.
        drop: columns to leave out.
        by: columns that the split goes by, which are no features, by their key.
        missing: words that are taken as missing already.

    Raises:
        ConfigErrors: where a column is unknown, or looks like another thing than it would be read as.
    """
    looks = looks_of(frame.drop(columns=[*drop, *by.values()], errors="ignore"))
    words_are_classes = str(target) in looks and looks[str(target)].num_values <= FEW_VALUES
    mistaken = {name: look for name, look in looks.items() if not (words_are_classes and name == str(target))}
    mended = without_words(frame, mistaken)
    found = missing_errors(mistaken, missing)
    try:
        values, used = evaluate_target(mended, target)
    except ConfigErrors as error:
        refuse(error.errors, found, _drop_errors(frame, drop, [], {}), _by_errors(frame, by, []))
        raise
    columns, unread = read_columns(mended.drop(columns=[*used, *drop, *by.values()], errors="ignore"))
    unread |= unreadable({name: look for name, look in looks.items() if name in columns})
    refuse(found, _drop_errors(frame, drop, used, unread), _by_errors(frame, by, used))
    return Columns(values, used, columns, looks)


def _drop_errors(frame: pd.DataFrame, drop: list[str], used: list[str], unread: dict[str, str]) -> list[ConfigError]:
    """Return one error for all that is wrong with the columns left out; its fix mends all."""
    unknown = [name for name in drop if name not in frame.columns]
    needed = [name for name in drop if name in used]
    guesses = {name: nearest(name, [each for each in frame.columns if each not in used]) for name in unknown}
    said = []
    if unknown:
        names = ", ".join(f"'{name}'" for name in unknown)
        said.append(f"there is no column {names}; columns: {', '.join(frame.columns[:30])}")
    if needed:
        said.append(f"the target needs {', '.join(needed)}, and what it needs is never a feature")
    if unread:
        kinds = ", ".join(f"{name} ({kind})" for name, kind in unread.items())
        said.append(f"only numbers, bools and text are read; drop {kinds}")
    mended = [guesses.get(name, name) for name in drop if name not in needed]
    fix = override_text("data.drop", list(dict.fromkeys([*filter(None, mended), *unread])))
    return [ConfigError("data.drop", drop, "; ".join(said), fix)] if said else []


def _by_errors(frame: pd.DataFrame, by: dict[str, str], used: list[str]) -> list[ConfigError]:
    found = []
    for key, name in by.items():
        if name in used:
            found.append(ConfigError(key, name, "the target needs it; the split goes by another column", f"{key}=null"))
        elif name not in frame.columns:
            allowed = f"there is no column '{name}'; columns: {', '.join(frame.columns[:30])}"
            fix = override_text(key, nearest(name, [each for each in frame.columns if each not in used]))
            found.append(ConfigError(key, name, allowed, fix))
    return found

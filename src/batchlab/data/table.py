"""A table of a person's own: CSV or Parquet, with a column or an expression as target."""

from collections.abc import Sequence
from pathlib import Path

from batchlab.config.override_text import override_text
from batchlab.data.argument_checks import class_counts, refuse, split_settings, whole_number
from batchlab.data.column_facts import column_facts, copy_facts, row_keys
from batchlab.data.column_looks import look_facts
from batchlab.data.dataset import Dataset, Split, make_dataset
from batchlab.data.features import encode
from batchlab.data.missing_words import as_words, take_missing, word_facts
from batchlab.data.table_columns import sort_columns
from batchlab.data.table_facts import feature_facts, gap_facts, target_facts
from batchlab.data.table_split import make_rows, split_facts, split_rows
from batchlab.data.table_target import read_target
from batchlab.data.tablefile import read_tables
from batchlab.errors import ConfigError, config_error, nearest

TASKS = ("auto", "classification", "regression")


def load_table(  # noqa: PLR0913, PLR0917  (the keys of conf/data/table.yaml)
    path: str | None,
    target: str | None,
    drop: list[str],
    task: str,
    val_fraction: float,
    test_fraction: float,
    split_seed: int,
    missing: Sequence[str] = (),
    group: str | None = None,
    time: str | None = None,
    val_path: str | None = None,
    test_path: str | None = None,
    num_train: int | None = None,
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
        missing: words that mean missing, e.g. ``?``; in a CSV an empty cell always does.
        group: a column; rows with the same value stay in one split. It is no feature.
        time: a column of numbers or dates; the earliest rows are train, the latest test. It is no feature.
        val_path: a file of the same columns that is the val split.
        test_path: a file of the same columns that is the test split.
        num_train: at most so many training rows, each class with its share.

    Returns:
        Inputs [N, F] float32; targets are class numbers by sorted class, or values in the table's own unit.

    Raises:
        ConfigErrors: where an argument is not allowed, the file cannot be read or cannot be learned from.
    """
    refuse(
        split_settings(val_fraction, test_fraction, split_seed),
        _setting_errors(task, {"data.drop": drop, "data.missing": missing}, num_train),
        _split_errors(group, time, val_path, test_path),
    )
    drop, words = [str(name) for name in drop], as_words(missing)
    frame, origin = read_tables(path, val_path, test_path)
    frame, facts = take_missing(frame, words)
    by = {key: str(name) for key, name in (("data.group", group), ("data.time", time)) if name is not None}
    table = sort_columns(frame, target, drop, by, words)
    goal = read_target(table.target, target, task)
    fix = "another data.target, or data.task=regression where it is a number"
    refuse([] if goal.names is None else class_counts("data.target", target, goal.values, goal.names, fix))
    columns, kept = table.features.loc[goal.has_target], frame.loc[goal.has_target]
    rows = make_rows(kept, origin[goal.has_target], goal, by)
    parts = split_rows(rows, val_fraction, test_fraction, split_seed, num_train)
    features = encode(columns, parts)
    if features is None:
        names = ", ".join(columns.columns)
        what = f"one value in all training rows: {names}" if names else "no column is left"
        raise config_error("data.drop", drop, f"no features are left: {what}", "data.drop=[] or fewer columns")
    splits = [Split(x, goal.values[part]) for x, part in zip(features.splits, parts, strict=True)]
    facts += target_facts(target, table.used, task, goal, splits[0].targets) + split_facts(rows, parts, num_train)
    facts += feature_facts(columns, features) + gap_facts(columns, features, origin)
    facts += look_facts(table.looks, features.texts) + word_facts(frame.drop(columns=drop), words)
    keys = row_keys(columns)
    facts += column_facts(columns, keys, goal.values, drop) + copy_facts(keys, parts)
    num_classes = None if goal.names is None else len(goal.names)
    name = Path(str(path)).name.split(".")[0]
    return make_dataset(name, splits, num_classes, tuple(facts), is_standardised=True)


def _setting_errors(task: object, lists: dict[str, object], num_train: object) -> list[ConfigError]:
    found = []
    if task not in TASKS:
        guess = nearest(str(task), TASKS) or "auto"
        found.append(ConfigError("data.task", task, f"one of {', '.join(TASKS)} is allowed", f"data.task={guess}"))
    for key, value in lists.items():
        if isinstance(value, str) or not isinstance(value, Sequence):
            what = "columns" if key == "data.drop" else "words"
            fix = override_text(key, [value] if value else [])
            found.append(ConfigError(key, value, f"a list of {what} is allowed", fix))
    return found + ([] if num_train is None else whole_number("data.num_train", num_train, 1, 8000))


def _split_errors(group: object, time: object, val_path: object, test_path: object) -> list[ConfigError]:
    """Return an error where two settings say different things of the split."""
    key, by = ("data.time", time) if time is not None else ("data.group", group)
    if by is not None and val_path is not None and test_path is not None:
        return [ConfigError(key, by, "has no effect: data.val_path and data.test_path are the splits", f"{key}=null")]
    if group is not None and time is not None:
        return [ConfigError("data.group", group, "goes without data.time: a split has one rule", "data.group=null")]
    return []

"""Tables as files: CSV, TSV and Parquet, gzipped or not."""

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_numeric_dtype
from pyarrow import csv

from batchlab.config.override_text import override_text
from batchlab.data.features import column_kind, parsed_numbers
from batchlab.errors import ConfigErrors, config_error, nearest, reason

FORMATS = (".csv", ".tsv", ".parquet")
SEPARATORS = {"\t": "tabs", ";": "';'", "|": "'|'"}
LONGEST_ROW = 2**26
"""Bytes; pyarrow refuses a longer one."""
ROWS_LIKE_NAMES = 10_000
"""Rows that are looked at, to tell whether the header is one of them."""

Refusal = Callable[[str, str], ConfigErrors]
"""Makes the error of the path, of what is allowed and what to type."""


def read_table(path: str | None, key: str = "data.path") -> pd.DataFrame:
    """Read the rows of a table file: .csv, .tsv or .parquet, or one of these followed by .gz.

    In a CSV only an empty cell is missing; ``NA`` or ``None`` is a word.

    Raises:
        ConfigErrors: where the file is missing, empty, truncated, of another format, or has no rows; where rows have
            other numbers of cells than the header, or names are missing or repeat.
    """
    refusal, mend = partial(config_error, key, path), f"{key}=/folder/table.csv.gz"
    if not isinstance(path, str) or not path:
        raise refusal("a CSV or Parquet file is needed", mend)
    file = Path(path).expanduser()
    _check_there(file, key, refusal)
    suffix = _format(file)
    if suffix not in FORMATS:
        raise refusal(f"a name that ends in {', '.join(FORMATS)} or one of these and .gz is allowed", mend)
    try:
        frame = _read_parquet(file) if suffix == ".parquet" else _read_csv(file, suffix, refusal)
    except ConfigErrors:
        raise
    except (EOFError, zlib.error):
        raise refusal("the file is truncated: its gzip stream ends early", mend) from None
    except pd.errors.EmptyDataError:
        raise refusal("the file is empty", mend) from None
    except (OSError, ValueError, pa.ArrowException) as error:  # ParserError and UnicodeDecodeError are ValueErrors
        fix = "it again when it is saved as UTF-8" if isinstance(error, UnicodeError) else mend
        raise refusal(f"the file cannot be read as {suffix} ({reason(error)})", fix) from None
    if frame.empty:
        raise refusal("the file has no rows", mend)
    frame = frame.rename(columns=str)
    _check_repeated(frame.columns.tolist(), refusal)
    return frame


def read_tables(path: str | None, val_path: str | None, test_path: str | None) -> tuple[pd.DataFrame, np.ndarray]:
    """Read a table, and with it the files of its val and test split where there are any, of the same columns.

    Returns:
        The rows of all, and for each row of which file it is: 0, 1 or 2.

    Raises:
        ConfigErrors: see `read_table`; and where a file has other columns.
    """
    frames = [read_table(path)]
    for key, other in (("data.val_path", val_path), ("data.test_path", test_path)):
        frames.append(
            frames[0].iloc[:0] if other is None else _same_columns(frames[0], read_table(other, key), key, other)
        )
    origin = np.repeat(np.arange(3), [len(frame) for frame in frames])
    frames = [frame for frame in frames if len(frame)]
    return frames[0] if len(frames) == 1 else _joined(frames), origin


def _same_columns(frame: pd.DataFrame, other: pd.DataFrame, key: str, path: str) -> pd.DataFrame:
    lacks, more = frame.columns.difference(other.columns), other.columns.difference(frame.columns)
    if len(lacks) or len(more):
        said = [f"{word} {', '.join(names[:30])}" for word, names in (("lacks", lacks), ("adds", more)) if len(names)]
        raise config_error(key, path, f"the columns of data.path are needed; it {' and '.join(said)}", f"{key}=null")
    return other.loc[:, frame.columns]


def _joined(frames: list[Any]) -> pd.DataFrame:
    """Join the rows of several files; a column that is text in one of them is text in all, as in one file."""
    for name in frames[0]:
        kinds = {column_kind(frame[name]) for frame in frames if frame[name].notna().any()}
        if kinds == {"number", "text"}:
            frames = [
                frame.assign(**{name: frame[name].map(str, na_action="ignore").astype(object)}) for frame in frames
            ]
    return pd.concat(frames, ignore_index=True)


def _format(file: Path) -> str:
    return Path(file.stem if file.suffix == ".gz" else file.name).suffix


def _check_there(file: Path, key: str, refusal: Refusal) -> None:
    """Refuse what is no file; the fix is the table beside it whose name is nearest."""
    mend = f"{key}=/folder/table.csv.gz"
    if not file.is_file():
        beside = (
            [each.name for each in file.parent.iterdir() if _format(each) in FORMATS] if file.parent.is_dir() else []
        )
        guess = next((name for name in sorted(beside) if name.startswith(f"{file.name}.")), nearest(file.name, beside))
        fix = override_text(key, str(file.parent / guess)) if guess else mend
        is_folder = "this is a folder; a file is needed (for images use data=folder)"
        raise refusal(is_folder if file.exists() else f"there is no file {file.absolute()}", fix)
    if file.stat().st_size == 0:
        raise refusal("the file is empty", mend)


def _read_parquet(file: Path) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(gzip.decompress(file.read_bytes())) if file.suffix == ".gz" else file)


def _read_csv(file: Path, suffix: str, refusal: Refusal) -> pd.DataFrame:
    separator, packed = "\t" if suffix == ".tsv" else ",", file.suffix == ".gz"
    read = partial(pd.read_csv, file, sep=separator, compression="gzip" if packed else None, keep_default_na=False)
    names = read(header=None, nrows=1, dtype=str).iloc[0].tolist()
    for sign, said in SEPARATORS.items() if len(names) == 1 else ():
        if sign in names[0]:
            fix = "it again when it is named .tsv" if sign == "\t" else "it again when it is saved with commas"
            raise refusal(f"its columns are separated by {said}", fix)
    _check_repeated([name for name in names if name], refusal)  # pandas names those without a name
    _check_cells(file, separator, len(names), refusal)
    # low_memory reads in pieces and guesses the type of each: the same column may then hold text and numbers
    frame = read(na_values=[""], low_memory=False, index_col=False)
    if len(frame) and _is_row(names, frame.head(ROWS_LIKE_NAMES)):
        allowed = f"its first line looks like the rows below it, not like names of columns: {', '.join(names[:10])}"
        raise refusal(allowed, "it again when it has a line of names above the rows")
    return frame


def _check_repeated(names: list[str], refusal: Refusal) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        fix = "it again when each column has a name of its own"
        raise refusal(f"several columns have the same name: {', '.join(twice)}", fix)


def _check_cells(file: Path, separator: str, width: int, refusal: Refusal) -> None:
    """Refuse rows with more or fewer cells than the header: pandas would shift them, or take the rest for missing."""
    wrong: list[tuple[int, int]] = []

    def note(row: csv.InvalidRow) -> str:
        if row.text.strip() or separator in row.text:  # pandas leaves out a row of spaces
            wrong.append((row.number - 1, row.actual_columns))
        return "skip"

    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        read = csv.ReadOptions(use_threads=False, block_size=LONGEST_ROW, autogenerate_column_names=True)
        cells = csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=note)
        first = csv.ConvertOptions(include_columns=["f0"], column_types={"f0": pa.binary()})
        num_rows = csv.read_csv(stream, read, cells, first).num_rows - 1 + len(wrong)
    if not wrong:
        return
    (row, found), counts = wrong[0], {count for _, count in wrong}
    if len(wrong) == 1 and row == num_rows and found < width and not _ends_a_line(file):
        what = f"row {num_rows:,}, the last, has {found} of {width} columns and no end of line"
        raise refusal(f"the file is truncated: {what}", "it again when the file is whole")
    more = f" ({len(wrong):,} of {num_rows:,} rows differ)" if len(wrong) > 1 else ""
    rows = "rows have" if len(wrong) == num_rows and len(counts) == 1 else f"row {row:,} has"
    said = f"{rows} {found} cell{'s' * (found != 1)}, the header has {width} name{'s' * (width != 1)}"
    raise refusal(said + (more if rows != "rows have" else ""), "it again when each row has a cell for each name")


def _ends_a_line(file: Path) -> bool:
    if file.suffix == ".gz":
        return True  # it knows its own length
    with file.open("rb") as stream:
        stream.seek(-1, io.SEEK_END)
        return stream.read() in (b"\n", b"\r")


def _is_row(names: list[str], frame: pd.DataFrame) -> bool:
    """Tell whether the header is a row like the others: numbers above numbers, and words that stand below too.

    Numbers that count up are names, as pandas writes them where there are none.
    """
    numbers = parsed_numbers(pd.Series(names))
    if (numbers.diff().iloc[1:] == 1).all():
        return False
    for name, is_number, (_, column) in zip(names, numbers.notna(), frame.items(), strict=True):
        if not (
            is_numeric_dtype(column) if is_number else (column.astype(object).fillna("").astype(str) == name).any()
        ):
            return False
    return True

"""Tables as files: CSV, TSV and Parquet, gzipped or not."""

import gzip
import io
import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa

from batchlab.errors import config_error, nearest

FORMATS = (".csv", ".tsv", ".parquet")
MEND = "data.path=/folder/table.csv.gz"
BYTES_OF_A_LINE = 2**20
"""Longer lines are not looked at."""


def read_table(path: str | None) -> pd.DataFrame:
    """Read the rows of a table file: .csv, .tsv or .parquet, or one of these followed by .gz.

    Raises:
        ConfigErrors: where the file is missing, empty, truncated, of another format, or has no rows.
    """
    if not isinstance(path, str) or not path:
        raise config_error("data.path", path, "a CSV or Parquet file is needed", MEND)
    file = Path(path).expanduser()
    suffix = Path(file.stem if file.suffix == ".gz" else file.name).suffix
    if suffix not in FORMATS:
        allowed = f"a name that ends in {', '.join(FORMATS)} or one of these and .gz is allowed"
        raise config_error("data.path", path, allowed, MEND)
    _check_there(path, file)
    try:
        frame = _parse(file, suffix)
    except (EOFError, zlib.error):
        raise config_error("data.path", path, "the file is truncated: its gzip stream ends early", MEND) from None
    except pd.errors.EmptyDataError:
        raise config_error("data.path", path, "the file is empty", MEND) from None
    except (OSError, ValueError, pa.ArrowException) as error:  # ParserError and UnicodeDecodeError are ValueErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        fix = "it again when it is saved as UTF-8" if isinstance(error, UnicodeError) else MEND
        raise config_error("data.path", path, f"the file cannot be read as {suffix} ({reason})", fix) from None
    if frame.empty:
        raise config_error("data.path", path, "the file has no rows", MEND)
    _check_whole(path, file, frame)
    if len(frame.columns) == 1 and ";" in str(frame.columns[0]):
        fix = "it again when it is saved with commas"
        raise config_error("data.path", path, "its columns are separated by ';'", fix)
    frame = frame.rename(columns=str)
    if not frame.columns.is_unique:
        twice = ", ".join(frame.columns[frame.columns.duplicated()].unique())
        raise config_error("data.path", path, f"several columns have the same name: {twice}", MEND)
    return frame


def _check_there(path: str, file: Path) -> None:
    if not file.exists():
        beside = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
        guess = nearest(file.name, beside)
        fix = f"data.path={file.parent / guess}" if guess else MEND
        raise config_error("data.path", path, f"there is no file {file.absolute()}", fix)
    if not file.is_file():
        raise config_error("data.path", path, "this is a folder; a file is needed (for images use data=folder)", MEND)
    if file.stat().st_size == 0:
        raise config_error("data.path", path, "the file is empty", MEND)


def _parse(file: Path, suffix: str) -> pd.DataFrame:
    packed = file.suffix == ".gz"
    if suffix == ".parquet":
        return pd.read_parquet(io.BytesIO(gzip.decompress(file.read_bytes())) if packed else file)
    # low_memory reads in pieces and guesses the type of each: the same column may then hold text and numbers
    separator = "\t" if suffix == ".tsv" else ","
    return pd.read_csv(file, sep=separator, compression="gzip" if packed else None, low_memory=False)


def _check_whole(path: str, file: Path, frame: pd.DataFrame) -> None:
    """Refuse a file that was cut in the middle of a line: pandas would take the rest of the row for missing values."""
    if file.suffix not in (".csv", ".tsv"):
        return  # the others know their own length
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - BYTES_OF_A_LINE))
        last = stream.read().rsplit(b"\n", 1)[-1].decode(errors="replace")
    cells = last.count("\t" if file.suffix == ".tsv" else ",") + 1
    if last and '"' not in last and cells < len(frame.columns):
        what = f"row {len(frame):,}, the last, has {cells} of {len(frame.columns)} columns and no end of line"
        raise config_error("data.path", path, f"the file is truncated: {what}", MEND)

"""The SQLite files under mlruns/: where they are, created one process at a time, fast and safe to share."""

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from batchlab.system.environment_errors import KEPT, cannot_write, masked
from batchlab.system.secrets import TRACKING

SQLITE = "sqlite:///"
SERVERS = ("http", "https")
SECONDS_TO_ANSWER = 3.0
RESTORE = "MLFLOW_TRACKING_URI={} mlflow experiments restore --experiment-id {}"
"""Command that brings a deleted experiment back, of an address and its id."""
FAULTS = ("OperationalError", "DatabaseError", "InterfaceError")
"""What a database raises where it cannot work; its other errors are those of who asked."""


def share_sqlite() -> None:
    """Have every SQLite connection of SQLAlchemy wait for others and write ahead; both stores go through it."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine  # seconds, and not where nothing is left to be sent

    if not event.contains(Engine, "connect", _set_pragmas):
        event.listen(Engine, "connect", _set_pragmas)
        event.listen(Engine, "handle_error", _name_store)


def _name_store(context: Any) -> None:
    """Set an error's `store` to the database it is of, see `environment_errors`."""
    error, engine = context.original_exception, context.engine
    if engine is not None and type(error).__name__ in FAULTS:
        url = engine.url
        error.store = url.database if url.drivername.startswith("sqlite") else masked(str(url))  # pyright: ignore


def _set_pragmas(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        for pragma in ("busy_timeout=60000", "journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")


@contextmanager
def locked(mlruns: str) -> Iterator[None]:
    """Hold the folder's lock file: one process creates what the others then find."""
    folder = Path(mlruns)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("w")
    except OSError as error:
        raise cannot_write(folder, error, KEPT) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def create_whole(path: Path, create: Callable[[str], None]) -> None:
    """Make a SQLite file under another name and move it into place: who is cut off half-way leaves none.

    The folder's lock is held; nothing happens where the file is. `create` makes the tables at an address and leaves no
    connection open. A migration that was cut off could not be repeated: SQLite's are no transactions.
    """
    if path.exists():
        return
    part = path.with_name(f".{path.name}.part")
    remains = [path.with_name(part.name + end) for end in ("", "-wal", "-shm", "-journal")]
    for remain in remains:
        remain.unlink(missing_ok=True)
    try:
        create(f"{SQLITE}{part}")
        with closing(sqlite3.connect(part)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the last to close leaves no file beside it
    except BaseException:
        for remain in remains:
            remain.unlink(missing_ok=True)
        raise
    part.rename(path)


def sqlite_path(address: str) -> Path | None:
    """Return the file of a SQLite address; None for any other store, one in memory too."""
    is_file = address.startswith(SQLITE) and ":memory:" not in address and "?" not in address
    return Path(address.removeprefix(SQLITE)) if is_file else None


def tracking_uri(mlruns: str) -> str:
    """Return MLflow's store: MLFLOW_TRACKING_URI, else mlflow.db in the folder of results."""
    return os.environ.get(TRACKING) or f"{SQLITE}{Path(mlruns).absolute() / 'mlflow.db'}"


def store_address(mlruns: str) -> str:
    """Return the address of MLflow as a run's header has it: without its password, empty for mlflow.db in `mlruns`."""
    address = masked(tracking_uri(mlruns))
    return "" if address == f"{SQLITE}{Path(mlruns).absolute() / 'mlflow.db'}" else address


def spool_folder(mlruns: str) -> Path:
    """Return the folder with the files of runs that MLflow does not have yet."""
    return Path(mlruns).absolute() / "spool"


def optuna_url(mlruns: str) -> str:
    """Return Optuna's store: optuna.db in the folder of results."""
    return f"{SQLITE}{Path(mlruns).absolute() / 'optuna.db'}"


def report_folder(mlruns: str, study: str) -> Path:
    """Return the folder of a study's page and files: mlruns/reports/<study>, which no other study shares.

    Where the file system takes two names for one (it ignores case, say), the later study's folder ends in a digest.
    """
    folder = Path(mlruns) / "reports" / study
    if folder.exists() and study not in os.listdir(folder.parent):
        return folder.with_name(f"{study}-{hashlib.sha256(study.encode()).hexdigest()[:8]}")
    return folder


def optuna_artifacts(mlruns: str) -> Path:
    """Return the folder of the files that the Optuna dashboard shows beside studies."""
    return Path(mlruns).absolute() / "artifacts-optuna"


def is_server() -> bool:
    """Return whether MLflow is reached over HTTP."""
    return os.environ.get(TRACKING, "").startswith(SERVERS)


def why_unavailable() -> str:
    """Return why the MLflow server of MLFLOW_TRACKING_URI cannot be used just now; empty where it can, or is none."""
    if not is_server():
        return ""
    import requests

    try:
        answer = requests.get(f"{os.environ[TRACKING].rstrip('/')}/version", timeout=SECONDS_TO_ANSWER)
    except requests.Timeout:  # a connection that times out is both
        return f"does not answer within {SECONDS_TO_ANSWER:.0f} s"
    except requests.ConnectionError:
        return "cannot be reached"
    except requests.RequestException as error:
        return masked(str(error))
    return "" if answer.ok else f"answers with {answer.status_code} {answer.reason}"

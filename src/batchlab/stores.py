"""The SQLite files under mlruns/: where they are, created one process at a time, fast and safe to share."""

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


def masked(text: str) -> str:
    """Text in which the passwords of addresses are stars: ``://user:***@host``, ``?password=***``."""
    text = re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&]password=)[^&\s'\"]+", r"\1***", text)


def share_sqlite() -> None:
    """Have every SQLite connection of SQLAlchemy wait for others and write ahead; both stores go through it."""
    if not event.contains(Engine, "connect", _set_pragmas):
        event.listen(Engine, "connect", _set_pragmas)


def _set_pragmas(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        for pragma in ("busy_timeout=60000", "journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")


@contextmanager
def locked(mlruns: str) -> Iterator[None]:
    """Hold the folder's lock file: one process creates what the others then find."""
    folder = Path(mlruns)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def tracking_uri(mlruns: str) -> str:
    """MLflow's store: MLFLOW_TRACKING_URI, else mlflow.db in the folder of results."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(mlruns).absolute() / 'mlflow.db'}"


def optuna_url(mlruns: str) -> str:
    """Optuna's store: optuna.db in the folder of results."""
    return f"sqlite:///{Path(mlruns).absolute() / 'optuna.db'}"


def optuna_artifacts(mlruns: str) -> Path:
    """Folder of the files that the Optuna dashboard shows beside studies."""
    return Path(mlruns).absolute() / "artifacts-optuna"

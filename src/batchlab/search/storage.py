"""Optuna's store, whatever its address, and the lock under which one process at a time changes a study's slots."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from optuna import load_study
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from sqlalchemy import create_engine, text

from batchlab.stores import create_whole, locked, optuna_url, share_sqlite, sqlite_path


def open_storage(mlruns: str, address: Any = None) -> BaseStorage:
    """Optuna's store, created once however many processes ask; the same object for the same arguments.

    Args:
        mlruns: folder of results; its lock file is held while tables are created.
        address: an address of SQLAlchemy (``postgresql+psycopg://...``), ``grpc://host:port``, the path of a journal
            file (``.log`` or ``.journal``), or a node whose `_target_` is a storage; None = optuna.db in `mlruns`.

    Returns:
        The storage.
    """
    if isinstance(address, dict):
        from batchlab.build import made  # torch: seconds that a report does without

        return made(address)
    return _open(mlruns, address or optuna_url(mlruns))


def find_study(mlruns: str, name: str, address: Any = None) -> Study | None:
    """The study of that name where there is one; nothing is made, no store either.

    Args:
        mlruns: folder of results.
        name: of the study.
        address: as for `open_storage`.
    """
    if address is None and not (Path(mlruns) / "optuna.db").exists():
        return None
    try:
        return load_study(study_name=name, storage=open_storage(mlruns, address))
    except KeyError:
        return None


@lru_cache(maxsize=4)
def _open(mlruns: str, address: str) -> BaseStorage:
    if is_journal(address):
        return JournalStorage(JournalFileBackend(address))
    if match := re.fullmatch(r"grpc://([^:/]+):(\d+)", address):
        return GrpcStorageProxy(host=match[1], port=int(match[2]))
    share_sqlite()
    with study_lock(mlruns, address):
        if (path := sqlite_path(address)) is not None:
            create_whole(path, lambda part: RDBStorage(part).engine.dispose())
        return RDBStorage(address)


def is_journal(address: str) -> bool:
    """Whether an address is the path of a journal file."""
    return "://" not in address and address.endswith((".log", ".journal"))


@contextmanager
def study_lock(mlruns: str, address: Any = None) -> Iterator[None]:
    """Held by the one process that creates tables, takes a slot or reaps: on this host, and in PostgreSQL on all.

    Args:
        mlruns: folder of results, whose lock file is taken.
        address: where the study is; a PostgreSQL server holds an advisory lock as well, which ends with its holder.
    """
    with locked(mlruns):
        if not (isinstance(address, str) and address.startswith("postgresql")):
            yield
            return
        with _engine(address).connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(hashtext('batchlab'))"))
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(hashtext('batchlab'))"))


@lru_cache(maxsize=4)
def _engine(address: str) -> Any:
    return create_engine(address, isolation_level="AUTOCOMMIT", pool_size=1)

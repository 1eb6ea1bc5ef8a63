"""Optuna's store, whatever its address, and the lock under which one process at a time changes a study's slots."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from optuna import load_study
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from sqlalchemy import Connection, Engine, create_engine, text

from batchlab.config.instantiate import made
from batchlab.search.retry import is_unavailable, taken_again, with_retries, without_retries
from batchlab.search.retrying_storage import RetryingStorage
from batchlab.search.server_storage import ServerStorage, engine_settings
from batchlab.search.stale_trials import own_lease
from batchlab.search.trial_ref import current_ref
from batchlab.system.child_processes import WORKER
from batchlab.tracking.stores import create_whole, locked, optuna_url, share_sqlite, sqlite_path

SECONDS_TO_ANSWER = 10.0
"""A proxy whose address was just typed answers within so long."""


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
    # it has answered a worker or a trial before; an address just typed may be wrong
    is_known = WORKER in os.environ or current_ref() is not None
    if match := re.fullmatch(r"grpc://([^:/]+):(\d+)", address):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            proxy = GrpcStorageProxy(host=match[1], port=int(match[2]))
        if not is_known:
            proxy.wait_server_ready(SECONDS_TO_ANSWER)
        return RetryingStorage(proxy, address)
    if address.startswith("sqlite"):
        share_sqlite()
        with study_lock(mlruns, address):
            if (path := sqlite_path(address)) is not None:
                create_whole(path, lambda part: RDBStorage(part).engine.dispose())
            return RDBStorage(address)
    with ExitStack() as stack:
        if not is_known:
            stack.enter_context(without_retries())
        stack.enter_context(study_lock(mlruns, address))
        made = with_retries(lambda: ServerStorage(address, own_lease().as_attribute()), address)
    return RetryingStorage(get_storage(made), address)


def is_journal(address: str) -> bool:
    """Whether an address is the path of a journal file."""
    return "://" not in address and address.endswith((".log", ".journal"))


@contextmanager
def study_lock(mlruns: str, address: Any = None, study: str = "") -> Iterator[None]:
    """Held by the one process that creates tables, takes a slot or reaps: on this host, and in PostgreSQL on all.

    Args:
        mlruns: folder of results, whose lock file is taken.
        address: where the study is; a PostgreSQL server holds an advisory lock as well, which ends with its holder.
        study: its name; empty for what concerns all of them.
    """
    with locked(mlruns):
        if not (isinstance(address, str) and address.startswith("postgresql")):
            yield
            return
        lock = AdvisoryLock(address, f"batchlab {study}".strip())
        with_retries(lock.take, address)
        try:
            with taken_again(lock.take):
                yield
        finally:
            lock.release()


class AdvisoryLock:
    """A lock of PostgreSQL's, which ends with the connection that took it.

    Args:
        address: of the server.
        name: of the lock, in this database.
    """

    def __init__(self, address: str, name: str) -> None:
        self._engine, self._name = _engine(address), {"name": name}
        self._connection: Connection | None = None

    def take(self) -> None:
        """Wait for the lock; where the connection was lost that had it, on a new one."""
        lost, self._connection = self._connection, None
        if lost is not None:
            lost.invalidate()
            lost.close()
        self._connection = self._engine.connect()
        self._connection.execute(text("SELECT pg_advisory_lock(hashtext(:name))"), self._name)

    def release(self) -> None:
        """Give the lock back; one whose connection is lost is free already."""
        if self._connection is None:
            return
        try:
            self._connection.execute(text("SELECT pg_advisory_unlock(hashtext(:name))"), self._name)
        except Exception as error:
            if not is_unavailable(error):
                raise
        finally:
            self._connection.close()


@lru_cache(maxsize=4)
def _engine(address: str) -> Engine:
    return create_engine(address, isolation_level="AUTOCOMMIT", **engine_settings(address, num_connections=1))

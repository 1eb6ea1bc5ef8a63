"""Optuna's store, whatever its address, and the lock under which one process at a time changes a study's slots."""

import os
import re
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
from batchlab.search.optuna_internals import make_server
from batchlab.search.retry import is_unavailable, taken_again, with_retries, without_retries
from batchlab.search.server_storage import RetryingStorage, ServerStorage, engine_settings
from batchlab.search.stale_trials import own_lease
from batchlab.search.trial_ref import current_ref
from batchlab.system.child_processes import WORKER
from batchlab.tracking.stores import create_whole, locked, optuna_url, share_sqlite, sqlite_path

SECONDS_TO_ANSWER = 10.0
"""A proxy whose address was just typed answers within so long."""


def open_storage(mlruns: str, address: Any = None) -> BaseStorage:
    """Open Optuna's storage, created once however many processes ask; the same object for the same arguments.

    Args:
        mlruns: folder of results; its lock file is held while tables are created.
        address: an address of SQLAlchemy (``postgresql+psycopg://...``), ``grpc://host:port``, the path of a journal
            file (``.log`` or ``.journal``), or a node whose `_target_` is a storage; None = optuna.db in `mlruns`.
    """
    return made(address) if isinstance(address, dict) else _open(mlruns, address or optuna_url(mlruns))


def find_study(mlruns: str, name: str, address: Any = None) -> Study | None:
    """Load the study of that name where there is one; nothing is made, no storage either."""
    if address is None and not (Path(mlruns) / "optuna.db").exists():
        return None
    try:
        return load_study(study_name=name, storage=open_storage(mlruns, address))
    except KeyError:
        return None


@lru_cache(maxsize=4)
def _open(mlruns: str, address: str) -> BaseStorage:
    if "://" not in address and address.endswith((".log", ".journal")):
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
        if (path := sqlite_path(address)) is not None and path.exists():
            _connect_once(address)
        with study_lock(mlruns, address):
            if path is not None:
                create_whole(path, lambda part: RDBStorage(part).engine.dispose())
            return RDBStorage(address)
    with ExitStack() as stack:
        if not is_known:
            stack.enter_context(without_retries())
            _connect_once(address)
        stack.enter_context(study_lock(mlruns, address))
        made = with_retries(lambda: ServerStorage(address, own_lease().as_attribute()), address)
    return RetryingStorage(get_storage(made), address)


def _connect_once(address: str) -> None:
    """Raise what is wrong with a database or its address, before a lock file is made on its behalf."""
    engine = create_engine(address, **engine_settings(address, num_connections=1))
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def start_proxy(mlruns: str, address: str, host: str, port: int, num_threads: int) -> Any:
    """Start Optuna's gRPC proxy between a database server and more workers than it has connections for.

    Our storage is behind it: hosts that ask a proxy have no lock between them, and a slot still gets one trial.

    Args:
        mlruns: folder of results, whose lock file is taken while tables are made.
        address: of the database, of SQLAlchemy.
        host: address to listen on; whoever reaches it may read and write every study.
        port: to listen on; workers type ``hydra.sweeper.storage=grpc://host:port``.
        num_threads: requests that are answered at once, each on a connection of its own.
    """
    with study_lock(mlruns, address):
        storage = ServerStorage(address, lease=None, num_connections=num_threads)
    server = make_server(RetryingStorage(get_storage(storage), address), host, port, ThreadPoolExecutor(num_threads))
    server.start()
    return server


@contextmanager
def study_lock(mlruns: str, address: Any = None, study: str = "") -> Iterator[None]:
    """Lock a study for the process that creates tables, takes a slot or reaps: on this host, in PostgreSQL on all.

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
    """A lock of a name in a PostgreSQL database, which ends with the connection that took it."""

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

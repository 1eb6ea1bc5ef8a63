"""Stands between a database server and more workers than it has connections for: Optuna's gRPC proxy."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from optuna.storages import get_storage

from batchlab.search.optuna_internals import make_server
from batchlab.search.retrying_storage import RetryingStorage
from batchlab.search.server_storage import ServerStorage
from batchlab.search.storage import study_lock


def start_proxy(mlruns: str, address: str, host: str, port: int, num_threads: int) -> Any:
    """Answer workers from a database.

    Optuna's own server with our storage behind it: hosts that ask a proxy have no lock between them, and a slot still
    gets one trial.

    Args:
        mlruns: folder of results, whose lock file is taken while tables are made.
        address: of the database, of SQLAlchemy.
        host: address to listen on; whoever reaches it may read and write every study.
        port: to listen on; workers type ``hydra.sweeper.storage=grpc://host:port``.
        num_threads: questions that are answered at once, each on a connection of its own.

    Returns:
        gRPC's server, which answers.
    """
    with study_lock(mlruns, address):
        storage = ServerStorage(address, lease=None, num_connections=num_threads)
    threads = ThreadPoolExecutor(max_workers=num_threads)
    server = make_server(RetryingStorage(get_storage(storage), address), host, port, threads)
    server.start()
    return server

"""Optuna's store."""

from optuna.storages import RDBStorage

from batchlab.stores import locked, optuna_url, share_sqlite


def open_storage(mlruns: str) -> RDBStorage:
    """Optuna's SQLite store in the folder of results, created once however many processes ask.

    Args:
        mlruns: folder of results.

    Returns:
        The storage.
    """
    share_sqlite()
    with locked(mlruns):
        return RDBStorage(optuna_url(mlruns))

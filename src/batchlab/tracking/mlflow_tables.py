"""MLflow's private parts that are relied on: the tables of its database, and how often it retries to open one.

After an upgrade of MLflow tests/tracking/test_mlflow_tables.py says which of them have changed.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import mlflow.store.db.utils
from mlflow import MlflowClient
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import select

RecordedRun = dict[str, dict[str, Any]]
"""A run: params, metrics (of the last step), tags; info has its id, status, and when it began and ended, in ms."""


def try_once() -> None:
    """Have MLflow open a database once: its own tries go on for 100 s, with a traceback of each."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    mlflow.store.db.utils.MAX_RETRY_COUNT = 1


def database_of(client: MlflowClient) -> SqlAlchemyStore | None:
    """Return the database that a client reads and writes; None where it asks a server."""
    store = client._tracking_client.store
    return store if isinstance(store, SqlAlchemyStore) else None


def create_tables(address: str) -> None:
    """Create MLflow's tables in a database, and leave no connection open."""
    client = MlflowClient(address)
    client.search_experiments(max_results=1)
    if (database := database_of(client)) is not None:
        database.engine.dispose()


def table_runs(database: SqlAlchemyStore, experiment_id: str) -> Iterator[RecordedRun]:
    """Yield the active runs of an experiment: one query for each table, a twentieth of the API's time."""
    where = (SqlRun.experiment_id == int(experiment_id)) & (SqlRun.lifecycle_stage == "active")
    columns = SqlRun.run_uuid, SqlRun.status, SqlRun.start_time, SqlRun.end_time
    found: dict[str, RecordedRun] = {}
    with database.engine.connect() as connection:
        for run_id, status, began, ended in connection.execute(select(*columns).where(where)):
            info = {"id": run_id, "status": status, "began": began, "ended": ended}
            found[run_id] = {"params": {}, "metrics": {}, "tags": {}, "info": info}
        ids = select(SqlRun.run_uuid).where(where)
        for name, table in (("params", SqlParam), ("tags", SqlTag)):
            rows = select(table.run_uuid, table.key, table.value).where(table.run_uuid.in_(ids))
            for run_id, key, value in connection.execute(rows):
                found[run_id][name][key] = value
        latest = select(SqlLatestMetric.run_uuid, SqlLatestMetric.key, SqlLatestMetric.value, SqlLatestMetric.is_nan)
        for run_id, key, value, is_nan in connection.execute(latest.where(SqlLatestMetric.run_uuid.in_(ids))):
            found[run_id]["metrics"][key] = math.nan if is_nan else value
    yield from found.values()


def table_curves(
    database: SqlAlchemyStore, run_ids: Sequence[str], metrics: Sequence[str]
) -> Iterator[tuple[str, str, int, float]]:
    """Yield (id of a run, metric, step, value) of each point, in one query."""
    columns = SqlMetric.run_uuid, SqlMetric.key, SqlMetric.step, SqlMetric.value, SqlMetric.is_nan
    where = SqlMetric.run_uuid.in_(run_ids) & SqlMetric.key.in_(metrics)
    order = SqlMetric.run_uuid, SqlMetric.key, SqlMetric.step, SqlMetric.timestamp
    with database.engine.connect() as connection:
        for run_id, key, step, value, is_nan in connection.execute(select(*columns).where(where).order_by(*order)):
            yield run_id, key, step, math.nan if is_nan else value

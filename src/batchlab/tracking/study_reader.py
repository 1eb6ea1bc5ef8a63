"""A study in bulk: every run of it at once, and what was drawn of it, laid beside them in MLflow."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at import
from mlflow import MlflowClient
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import select

from batchlab.tracking.mlflow_store import client_of, open_store, tracking_errors
from batchlab.tracking.stores import sqlite_path, tracking_uri

RUNS_PER_PAGE = 1000

Recorded = dict[str, dict[str, Any]]
"""A run: params, metrics (of the last step), tags; info has its id, status, and when it began and ended, in ms."""


def study_runs(mlruns: str, study: str, roles: Sequence[str] = ("run",)) -> list[Recorded]:
    """Every run of a study, in the order in which they began; nothing where there is no such study.

    Args:
        mlruns: folder of results.
        study: its name.
        roles: which runs count: run for trainings, probe for what a probe measured.

    Raises:
        TrackingUnavailable: where MLflow does not answer, as the functions below.
    """
    if not _is_there(mlruns):
        return []
    client = client_of(mlruns)
    with tracking_errors(mlruns):
        experiment = client.get_experiment_by_name(study)
        if experiment is None:
            return []
        store = client._tracking_client.store
        read = rows_of_tables if isinstance(store, SqlAlchemyStore) else pages_of_client
        runs = [run for run in read(client, experiment.experiment_id) if run["tags"].get("batchlab.role") in roles]
    return sorted(runs, key=lambda run: (run["info"]["began"], run["info"]["id"]))


def pages_of_client(client: MlflowClient, experiment_id: str) -> Iterator[Recorded]:
    """Runs through MLflow's API, a thousand at a time: 6 ms each and more."""
    token: str | None = None
    while True:
        page = client.search_runs([experiment_id], max_results=RUNS_PER_PAGE, page_token=token)
        for run in page:
            info = {"id": run.info.run_id, "status": run.info.status}
            info |= {"began": run.info.start_time, "ended": run.info.end_time}
            yield {"params": run.data.params, "metrics": run.data.metrics, "tags": run.data.tags, "info": info}
        token = page.token
        if not token:
            return


def rows_of_tables(client: MlflowClient, experiment_id: str) -> Iterator[Recorded]:
    """The same from the tables of a database: one query for each, a twentieth of the time."""
    where = (SqlRun.experiment_id == int(experiment_id)) & (SqlRun.lifecycle_stage == "active")
    columns = SqlRun.run_uuid, SqlRun.status, SqlRun.start_time, SqlRun.end_time
    found: dict[str, Recorded] = {}
    with client._tracking_client.store.engine.connect() as connection:
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


def study_names(mlruns: str) -> list[str]:
    """Names of every study that has been recorded, the latest first; no store is made where there is none."""
    if not _is_there(mlruns):
        return []
    client = client_of(mlruns)
    with tracking_errors(mlruns):
        found = client.search_experiments(order_by=["last_update_time DESC"])
    return [each.name for each in found if each.name != "Default"]


def _is_there(mlruns: str) -> bool:
    """Whether the store can be asked without being made."""
    path = sqlite_path(tracking_uri(mlruns))
    return path is None or path.exists()


def is_searched(mlruns: str, study: str) -> bool:
    """Whether a run of a study was a trial of a search."""
    client, where = client_of(mlruns), f"tags.`optuna.study` = '{study}'"
    with tracking_errors(mlruns):
        experiment = client.get_experiment_by_name(study)
        return experiment is not None and bool(client.search_runs([experiment.experiment_id], where, max_results=1))


def curves_of(mlruns: str, run_ids: Sequence[str], metrics: Sequence[str]) -> dict[tuple[str, str], dict[int, float]]:
    """Curves of some runs: (id of a run, metric) -> step -> value; what was not measured is left out.

    Args:
        mlruns: folder of results.
        run_ids: MLflow's.
        metrics: names.
    """
    client, curves = client_of(mlruns), dict[tuple[str, str], dict[int, float]]()
    store = client._tracking_client.store
    points = curves_of_tables(store, run_ids, metrics) if isinstance(store, SqlAlchemyStore) else (
        (run_id, metric, point.step, point.value)
        for run_id in run_ids
        for metric in metrics
        for point in client.get_metric_history(run_id, metric)
    )  # fmt: skip
    with tracking_errors(mlruns):
        for run_id, metric, step, value in points:
            curves.setdefault((run_id, metric), {})[step] = value
    return curves


def curves_of_tables(
    store: SqlAlchemyStore, run_ids: Sequence[str], metrics: Sequence[str]
) -> Iterator[tuple[str, str, int, float]]:
    """(id of a run, metric, step, value) of each point, in one query."""
    columns = SqlMetric.run_uuid, SqlMetric.key, SqlMetric.step, SqlMetric.value, SqlMetric.is_nan
    where = SqlMetric.run_uuid.in_(run_ids) & SqlMetric.key.in_(metrics)
    order = SqlMetric.run_uuid, SqlMetric.key, SqlMetric.step, SqlMetric.timestamp
    with store.engine.connect() as connection:
        for run_id, key, step, value, is_nan in connection.execute(select(*columns).where(where).order_by(*order)):
            yield run_id, key, step, math.nan if is_nan else value


def attach(mlruns: str, study: str, paths: Sequence[Path]) -> None:
    """Lay files beside a study's runs: artifacts of its parent run, in the folder ``report``.

    Args:
        mlruns: folder of results.
        study: its name; it has been recorded.
        paths: of the files; those of the same names are replaced.
    """
    store = open_store(mlruns, study)
    with tracking_errors(mlruns):
        for path in paths:
            store.client.log_artifact(store.parent_id, str(path), "report")

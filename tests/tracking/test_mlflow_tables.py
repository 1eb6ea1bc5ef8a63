"""What is relied on of MLflow's private parts: where one fails after an upgrade, mend tracking/mlflow_tables.py."""

import math
import sqlite3

import mlflow
import mlflow.store.db.utils
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from batchlab.tracking.mlflow_store import client_of
from batchlab.tracking.mlflow_tables import create_tables, database_of, table_curves, table_runs, try_once
from batchlab.tracking.study_reader import pages_of_client

VERSION = f"MLflow {mlflow.__version__}"
COLUMNS = {
    "runs": {"run_uuid", "status", "start_time", "end_time", "lifecycle_stage", "experiment_id"},
    "params": {"run_uuid", "key", "value"},
    "tags": {"run_uuid", "key", "value"},
    "metrics": {"run_uuid", "key", "step", "value", "is_nan", "timestamp"},
    "latest_metrics": {"run_uuid", "key", "value", "is_nan"},
}


@pytest.fixture
def recorded(tmp_path):
    """A client, an experiment and a run in it with a curve, a NaN and a deleted neighbour."""
    client = client_of(str(tmp_path))
    experiment = client.create_experiment("study")
    run = client.create_run(experiment, tags={"who": "me"}).info.run_id
    curve = [Metric("val/loss", value, step, step) for step, value in ((1, 0.5), (2, 0.25))]
    client.log_batch(run, [*curve, Metric("val/accuracy", math.nan, 1, 1)], [Param("lr", "0.1")])
    client.delete_run(client.create_run(experiment).info.run_id)
    return client, experiment, run


def test_a_client_of_a_file_has_its_database_and_one_of_a_server_has_none(recorded):
    assert database_of(recorded[0]) is not None, f"{VERSION}: _tracking_client.store is no SqlAlchemyStore"
    assert database_of(MlflowClient("http://127.0.0.1:1")) is None, VERSION


def test_the_tables_have_the_columns_that_are_read(tmp_path):
    create_tables(f"sqlite:///{tmp_path / 'x.db'}")
    with sqlite3.connect(tmp_path / "x.db") as connection:
        for table, columns in COLUMNS.items():
            found = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            assert columns <= found, f"{VERSION}: table {table} lacks {columns - found}"


def test_tables_say_of_runs_what_the_api_says(recorded):
    client, experiment, run = recorded
    [by_table], [by_api] = table_runs(database_of(client), experiment), pages_of_client(client, [experiment])
    assert math.isnan(by_table["metrics"].pop("val/accuracy")), VERSION
    assert math.isnan(by_api["metrics"].pop("val/accuracy")), VERSION
    assert by_table == by_api, VERSION
    assert by_table["info"]["id"] == run


def test_tables_give_every_point_of_a_curve_in_order(recorded):
    client, _, run = recorded
    found = list(table_curves(database_of(client), [run], ["val/loss", "not/measured"]))
    assert found == [(run, "val/loss", 1, 0.5), (run, "val/loss", 2, 0.25)], VERSION


def test_the_count_of_tries_is_still_where_it_is_set(monkeypatch):
    assert hasattr(mlflow.store.db.utils, "MAX_RETRY_COUNT"), f"{VERSION}: tries to open a database are named otherwise"
    monkeypatch.setattr(mlflow.store.db.utils, "MAX_RETRY_COUNT", 15)
    try_once()
    assert mlflow.store.db.utils.MAX_RETRY_COUNT == 1

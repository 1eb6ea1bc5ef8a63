"""MLflow: the client, which is asked for seconds and not for minutes, and a study's experiment and parent run."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from batchlab.system.environment_errors import EnvironmentFailure, masked, reason_of
from batchlab.tracking.mlflow_tables import create_tables, try_once
from batchlab.tracking.stores import RESTORE, create_whole, locked, share_sqlite, sqlite_path, tracking_uri

CLIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Unless a person has set them: MLflow's own tries go on for minutes, in which a run would stand still."""
SECONDS_TO_BE_MADE = 5.0
"""How long to wait for a study that another process has begun to make."""
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Has MLflow's page open in its view for model training instead of the one for language models."""
REFUSALS = ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED")


class TrackingUnavailable(EnvironmentFailure):
    """MLflow does not answer."""

    is_refusal = False  # whether it answers, but does not take this run


@dataclass(frozen=True)
class Store:
    """Where a study's runs go: client, experiment and the parent run of all of them."""

    client: MlflowClient
    experiment_id: str
    parent_id: str


@contextmanager
def tracking_errors(mlruns: str) -> Iterator[None]:
    """Raise every error of asking MLflow as `TrackingUnavailable`."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, RequestException, OSError) as error:
        away = TrackingUnavailable(_describe(tracking_uri(mlruns), _reason(error)))
        away.is_refusal = isinstance(error, MlflowException) and error.error_code in REFUSALS
        raise away from error


def _refused(why: str) -> TrackingUnavailable:
    refused = TrackingUnavailable(why)
    refused.is_refusal = True
    return refused


def _reason(error: Exception) -> str:
    text = str(error).strip()
    if "Connection refused" in text:
        return "connection refused"
    if "timed out" in text.lower():
        return f"no answer within {os.environ['MLFLOW_HTTP_REQUEST_TIMEOUT']} s"
    return reason_of(error) or masked(text.splitlines()[0] if text else type(error).__name__)[:300]


def _describe(address: str, reason: str) -> str:
    """Say which MLflow, and what is wrong; a database's file stands in the reason already."""
    path = sqlite_path(address)
    return reason if path and str(path) in reason else f"MLflow at {masked(address)}: {reason}"


def client_of(mlruns: str) -> MlflowClient:
    """Return MLflow's client; a database of our own is made where there is none.

    Raises:
        TrackingUnavailable: where the store cannot be opened.
    """
    with tracking_errors(mlruns):
        return _client(tracking_uri(mlruns), mlruns)


@lru_cache(maxsize=8)
def _client(address: str, mlruns: str) -> MlflowClient:
    for name, value in CLIENT.items():
        os.environ.setdefault(name, value)
    try_once()
    share_sqlite()
    if (path := sqlite_path(address)) is not None:
        with locked(mlruns):
            create_whole(path, create_tables)
    return MlflowClient(address)


def open_store(mlruns: str, study: str) -> Store:
    """Return the study's experiment and parent run, created once however many processes ask.

    Raises:
        TrackingUnavailable: where MLflow does not answer.
    """
    with tracking_errors(mlruns):
        return _open(tracking_uri(mlruns), mlruns, study)


def forget_stores() -> None:
    """Have each study looked up anew: a server that was away may come back with another database."""
    _open.cache_clear()


@lru_cache(maxsize=8)
def _open(address: str, mlruns: str, study: str) -> Store:
    client, is_file = _client(address, mlruns), sqlite_path(address) is not None
    location = (Path(mlruns).absolute() / "artifacts" / study).as_uri() if is_file else None
    # a server is shared with other hosts, and may not answer: that must not keep the others on this host waiting
    with locked(mlruns) if is_file else nullcontext():
        experiment_id, is_ours = _experiment(client, study, location)
        until = time.monotonic() + (0.0 if is_ours or is_file else SECONDS_TO_BE_MADE)
        while not (parents := runs_where(client, experiment_id, "tags.`batchlab.role` = 'parent'")):
            if time.monotonic() >= until:  # whoever made the experiment makes its parent run
                parent = client.create_run(experiment_id, tags={"batchlab.role": "parent"}, run_name=study)
                client.set_terminated(parent.info.run_id)
                return Store(client, experiment_id, parent.info.run_id)
            time.sleep(0.2)
        return Store(client, experiment_id, parents[0])


def _experiment(client: MlflowClient, study: str, location: str | None) -> tuple[str, bool]:
    """Return the id of the study's experiment, and whether it was made here."""
    if (found := client.get_experiment_by_name(study)) is not None:
        if found.lifecycle_stage == LifecycleStage.DELETED:  # MLflow takes no run of it, and keeps its name
            restore = RESTORE.format(masked(client.tracking_uri), found.experiment_id)
            raise _refused(f"the experiment {study} was deleted in MLflow; `{restore}` brings it back")
        return found.experiment_id, False
    try:
        return client.create_experiment(study, location, EXPERIMENT_TAGS), True
    except MlflowException:
        if (found := client.get_experiment_by_name(study)) is None:
            raise
        return found.experiment_id, False


def runs_where(client: MlflowClient, experiment_id: str, where: str) -> list[str]:
    """Return the id of a run of an experiment that a filter finds; nothing where there is none."""
    return [run.info.run_id for run in client.search_runs([experiment_id], where, max_results=1)]

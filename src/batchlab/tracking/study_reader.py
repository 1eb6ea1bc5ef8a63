"""A study in bulk: every run of it at once, and what was drawn of it, laid beside them in MLflow."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlflow import MlflowClient

from batchlab.config.schema import Config
from batchlab.tracking.mlflow_store import TrackingUnavailable, client_of, open_store, runs_where, tracking_errors
from batchlab.tracking.mlflow_tables import RecordedRun, database_of, table_curves, table_runs
from batchlab.tracking.sink import RUN_ID
from batchlab.tracking.stores import spool_folder, sqlite_path, tracking_uri
from batchlab.tracking.unsent_runs import spooled_runs

RUNS_PER_PAGE = 1000


def study_runs(mlruns: str, study: str, roles: Sequence[str] = ("run",)) -> list[RecordedRun]:
    """Return every run of a study, in the order in which they began; nothing where there is no such study.

    Runs of the role ``run`` are trainings, of ``probe`` what a probe measured.

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
        database, number = database_of(client), experiment.experiment_id
        found = pages_of_client(client, [number]) if database is None else table_runs(database, number)
        runs = [run for run in found if run["tags"].get("batchlab.role") in roles]
    return sorted(runs, key=lambda run: (run["info"]["began"], run["info"]["id"]))


def pages_of_client(client: MlflowClient, experiment_ids: Sequence[str], where: str = "") -> Iterator[RecordedRun]:
    """Yield the runs that a filter finds through MLflow's API, a thousand at a time: 6 ms each and more."""
    token: str | None = None
    while True:
        page = client.search_runs(list(experiment_ids), where, max_results=RUNS_PER_PAGE, page_token=token)
        for run in page:
            info = {"id": run.info.run_id, "status": run.info.status}
            info |= {"began": run.info.start_time, "ended": run.info.end_time}
            yield {"params": run.data.params, "metrics": run.data.metrics, "tags": run.data.tags, "info": info}
        if not (token := page.token):
            return


def recorded_runs(config: Config, sweep_id: str, say: Callable[[str], object] = lambda line: None) -> list[RecordedRun]:
    """Return every run of a command, in the order in which they began.

    `say` hears where runs are missing, because MLflow is away and only those in the spool are known.
    """
    runs = spooled_runs(config.mlruns, sweep_id)
    known = {run["info"]["id"] for run in runs}
    try:
        client = client_of(config.mlruns)
        with tracking_errors(config.mlruns):
            experiments = [found.experiment_id for found in client.search_experiments()]
            where = f"tags.sweep_id = '{sweep_id}' AND tags.`batchlab.role` = 'run'"
            sent = list(pages_of_client(client, experiments, where))
        runs += [run for run in sent if run["tags"].get(RUN_ID) not in known]
    except TrackingUnavailable as error:
        say(f"{error}. What follows is of the runs that wait in {spool_folder(config.mlruns)}.")
    return sorted(runs, key=lambda run: run["info"]["began"])


def study_names(mlruns: str) -> list[str]:
    """Return the names of studies that have trainings, the latest first; no store is made where there is none."""
    if not _is_there(mlruns):
        return []
    client, where = client_of(mlruns), "tags.`batchlab.role` = 'run'"
    with tracking_errors(mlruns):
        found = client.search_experiments(order_by=["last_update_time DESC"])
        return [each.name for each in found if runs_where(client, each.experiment_id, where)]


def _is_there(mlruns: str) -> bool:
    """Return whether the store can be asked without being made."""
    path = sqlite_path(tracking_uri(mlruns))
    return path is None or path.exists()


def is_searched(mlruns: str, study: str) -> bool:
    """Return whether a run of a study was a trial of a search."""
    client, where = client_of(mlruns), f"tags.`optuna.study` = '{study}'"
    with tracking_errors(mlruns):
        experiment = client.get_experiment_by_name(study)
        return experiment is not None and bool(runs_where(client, experiment.experiment_id, where))


def curves_of(mlruns: str, run_ids: Sequence[str], metrics: Sequence[str]) -> dict[tuple[str, str], dict[int, float]]:
    """Read curves of runs by MLflow's ids: (run id, metric) -> step -> value; what was not measured is left out."""
    client, curves = client_of(mlruns), dict[tuple[str, str], dict[int, float]]()
    database = database_of(client)
    points = table_curves(database, run_ids, metrics) if database is not None else (
        (run_id, metric, point.step, point.value)
        for run_id in run_ids
        for metric in metrics
        for point in client.get_metric_history(run_id, metric)
    )  # fmt: skip
    with tracking_errors(mlruns):
        for run_id, metric, step, value in points:
            curves.setdefault((run_id, metric), {})[step] = value
    return curves


def attach(mlruns: str, study: str, paths: Sequence[Path]) -> None:
    """Log files as artifacts of a recorded study's parent run, in the folder ``report``; same names are replaced."""
    store = open_store(mlruns, study)
    with tracking_errors(mlruns):
        for path in paths:
            store.client.log_artifact(store.parent_id, str(path), "report")

"""MLflow as the sink that drains spool files: each run is made there once, whoever was cut off in the middle."""

import time
from functools import lru_cache

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from batchlab.tracking.mlflow_store import (
    Store,
    TrackingUnavailable,
    forget_stores,
    open_store,
    runs_where,
    tracking_errors,
)
from batchlab.tracking.spool import Spool

RUN_ID = "batchlab.run_id"
"""Tag with our own id of a run: that of its spool file."""
PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Seconds between tries while MLflow is away; each is twice the one before."""
METRICS_PER_WRITE = 1000
"""MLflow's own limit on one log_batch."""


class Sink:
    """Sends the runs of this process to MLflow, and leaves it alone for a while where it does not answer."""

    def __init__(self, mlruns: str) -> None:
        self._mlruns, self._pause, self._not_before = mlruns, PAUSE, 0.0

    def drain(self, spool: Spool) -> None:
        """Send what waits in a run's file, unless MLflow was away just now."""
        began = time.monotonic()
        if began < self._not_before:
            return
        try:
            send(self._mlruns, spool)
        except TrackingUnavailable:
            now = time.monotonic()  # at least four times as long as the try has taken: a run is slowed by a fifth
            self._not_before = now + min(LONGEST_PAUSE, max(self._pause, 4 * (now - began)))
            self._pause = min(LONGEST_PAUSE, 2 * self._pause)
        else:
            self._pause = PAUSE


@lru_cache(maxsize=8)
def sink_of(mlruns: str) -> Sink:
    """Return the sink of this process: one for all of its runs, so that not each finds out that MLflow is away."""
    return Sink(mlruns)


def send(mlruns: str, spool: Spool) -> None:
    """Send what waits in a run's file, and end the run where it has ended; what MLflow has already, it has once.

    The file is removed where nothing is left to send.

    Raises:
        TrackingUnavailable: where MLflow does not take it; what it took before stays.
        EnvironmentFailure: where the file cannot be written.
    """
    try:
        with tracking_errors(mlruns):
            store = open_store(mlruns, spool.header.study)
            run_id = _begun(store, spool)
            if spool.waiting or spool.end:
                _log(store.client, run_id, spool)
            if spool.end is not None:
                if spool.artifacts.is_dir():
                    store.client.log_artifacts(run_id, str(spool.artifacts))
                store.client.set_terminated(run_id, spool.end.status, spool.end.ended_ms)
                spool.remove()
    except TrackingUnavailable:
        spool.is_known = False
        forget_stores()
        raise


def _begun(store: Store, spool: Spool) -> str:
    """Return the id of the run in MLflow, made if it is not there; one made but not noted is found by its tag."""
    if spool.is_known:
        return spool.run_id
    header, was_new = spool.header, spool.is_new
    spool.is_new = False  # from here on MLflow may have it, whatever becomes of its answer
    found = [] if was_new else runs_where(store.client, store.experiment_id, f"tags.`{RUN_ID}` = '{header.id}'")
    run_id = found[0] if found else ""
    if not found:
        tags = header.tags | {RUN_ID: header.id, "mlflow.parentRunId": store.parent_id}
        run_id = store.client.create_run(store.experiment_id, header.began_ms, tags, header.name).info.run_id
        spool.rewind()
    if run_id != spool.run_id:
        spool.note(run_id)
    spool.is_known = True
    return run_id


def _log(client: MlflowClient, run_id: str, spool: Spool) -> None:
    metrics = [Metric(value.key, value.value, value.timestamp_ms, value.step) for value in spool.waiting]
    params = [] if spool.has_params else [Param(key, value) for key, value in spool.header.params.items()]
    tags = [RunTag(key, value) for key, value in spool.end.tags.items()] if spool.end else []
    for start in range(0, max(1, len(metrics)), METRICS_PER_WRITE):
        client.log_batch(run_id, metrics[start : start + METRICS_PER_WRITE], params, tags)
        params, tags = [], []
    if spool.header.data_set and not spool.has_params:
        data_set = Dataset(**spool.header.data_set)  # pyright: ignore[reportArgumentType]
        client.log_inputs(run_id, [DatasetInput(data_set, [InputTag("mlflow.data.context", "training")])])
    spool.has_params = True
    spool.sent()

"""What a run leaves behind: spool file, MLflow run, weights. The only place that imports mlflow."""

import logging
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import yaml

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at import; it would call home on every run
from mlflow import MlflowClient
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag

from batchlab.build import Built
from batchlab.config import Config, flat_params
from batchlab.fit import EvalPoint
from batchlab.identity import config_key, environment, load_average, origin
from batchlab.run import RunResult
from batchlab.spool import Spool, Value
from batchlab.stores import locked, share_sqlite, tracking_uri

SECONDS_BETWEEN_DRAINS = 2.0
"""Evaluations closer than this share one write to MLflow; the spool file has each at once."""
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Has MLflow's page open in its view for model training instead of the one for language models."""
METRICS_PER_WRITE = 1000
"""MLflow's own limit on one log_batch."""


@dataclass(frozen=True)
class Store:
    """Where a study's runs go: client, experiment and the parent run of all of them."""

    client: MlflowClient
    experiment_id: str
    parent_id: str


@lru_cache(maxsize=8)
def open_store(mlruns: str, study: str) -> Store:
    """The study's experiment and parent run, created once however many processes ask.

    Args:
        mlruns: folder of results; holds lock, database and artifacts.
        study: name of experiment and parent run.

    Returns:
        The store.
    """
    folder, uri = Path(mlruns).absolute(), tracking_uri(mlruns)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # "Creating initial tables..."
    share_sqlite()
    with locked(mlruns):
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(study)
        location = (folder / "artifacts" / study).as_uri() if uri.startswith("sqlite") else None
        experiment_id = found.experiment_id if found else client.create_experiment(study, location, EXPERIMENT_TAGS)
        parents = client.search_runs([experiment_id], "tags.`batchlab.role` = 'parent'", max_results=1)
        if parents:
            return Store(client, experiment_id, parents[0].info.run_id)
        parent = client.create_run(experiment_id, tags={"batchlab.role": "parent"}, run_name=study)
        client.set_terminated(parent.info.run_id)
        return Store(client, experiment_id, parent.info.run_id)


class Recorder:
    """Records one run; a context manager that says how the run ended, whatever ended it.

    Args:
        built: the run.
        sweep_id: names the command that this run is part of.
        tags: more of them, e.g. the trial of a search.
    """

    def __init__(self, built: Built, sweep_id: str, tags: dict[str, str] | None = None) -> None:
        self._config, self._last_drain = built.config, time.monotonic()
        self._store = open_store(built.config.mlruns, built.config.study)
        run = self._store.client.create_run(
            self._store.experiment_id,
            tags=run_tags(built, sweep_id) | (tags or {}) | {"mlflow.parentRunId": self._store.parent_id},
            run_name=f"B{built.plan.batch_size}-lr{built.settings['lr']:.3g}-s{built.seed}",
        )
        self.run_id, self._is_ended = run.info.run_id, False
        self._folder = Path(built.config.mlruns) / "spool"
        params = run_params(built)
        header = {"study": built.config.study, "run_id": self.run_id, "params": params}
        self._spool = Spool(self._folder / f"{self.run_id}.jsonl", header)
        self._params = [Param(key, str(value)) for key, value in params.items()]
        self._inputs = [data_set_input(built)]
        self._curves, self._step = {}, 0

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if not self._is_ended:
            was_stopped = error is None or isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
            cause = "stopped" if was_stopped else f"{type(error).__name__}: {error}"
            self._end("KILLED" if was_stopped else "FAILED", "killed" if was_stopped else "failed", cause)

    def point(self, point: EvalPoint) -> None:
        """Write down an evaluation; MLflow gets it now, or together with the next ones."""
        now, self._step = int(time.time() * 1000), point.counts.steps
        values = curve(point)
        self._spool.append([Value(key, value, now, self._step) for key, value in values.items()])
        self._curves |= values
        if time.monotonic() - self._last_drain > SECONDS_BETWEEN_DRAINS:
            self._drain([])

    def finish(self, result: RunResult) -> None:
        """Write down the finals, the resolved configuration and the weights, and end the run."""
        now = int(time.time() * 1000)
        # MLflow shows the value of the largest step: a final that is a curve's end goes there, once
        finals = {key: value for key, value in sorted(result.finals.items()) if self._curves.get(key) != value}
        steps = dict.fromkeys(self._curves, self._step)
        self._spool.append([Value(key, value, now, steps.get(key, 0)) for key, value in finals.items()])
        artifacts = self._folder / self.run_id
        artifacts.mkdir()
        (artifacts / "config.yaml").write_text(yaml.safe_dump(asdict(self._config), sort_keys=False))
        torch.save(result.weights, artifacts / "weights.pt")
        self._store.client.log_artifacts(self.run_id, str(artifacts))
        for path in artifacts.iterdir():
            path.unlink()
        artifacts.rmdir()
        self._end("FINISHED", result.outcome, result.cause, result.missing)

    def stop(self, result: RunResult) -> None:
        """End a run before its budget: what it cost is written down, finals it has none; the curves stay."""
        now = int(time.time() * 1000)
        costs = {key: value for key, value in sorted(result.finals.items()) if key.startswith("cost/")}
        self._spool.append([Value(key, value, now, 0) for key, value in costs.items()])
        self._end("FINISHED" if result.outcome == "pruned" else "KILLED", result.outcome, result.cause)

    def _end(self, status: str, outcome: str, cause: str, missing: Mapping[str, str] | None = None) -> None:
        why = [RunTag(f"why_nan.{metric}", reason[:5000]) for metric, reason in (missing or {}).items()]
        self._drain([RunTag("outcome", outcome), RunTag("cause", cause[:5000]), *why])
        self._store.client.set_terminated(self.run_id, status)
        self._is_ended = True
        self._spool.close(remove=True)

    def _drain(self, tags: list[RunTag]) -> None:
        waiting = self._spool.waiting()
        metrics = [Metric(value.key, value.value, value.timestamp_ms, value.step) for value in waiting]
        client, run_id = self._store.client, self.run_id
        for start in range(0, max(1, len(metrics)), METRICS_PER_WRITE):
            client.log_batch(run_id, metrics[start : start + METRICS_PER_WRITE], self._params, tags)
            self._params, tags = [], []
        if self._inputs:
            client.log_inputs(run_id, self._inputs)
            self._inputs = []
        self._spool.drained()
        self._last_drain = time.monotonic()


def curve(point: EvalPoint) -> dict[str, float]:
    """The curve values of an evaluation by metric name; what was not measured is left out."""
    values = {
        "train/loss": point.train_loss,
        "train/accuracy": point.train_accuracy,
        "train/lr": point.lr,
        "train/batch_size": float(point.batch_size),
        "val/loss": point.val_loss,
        "val/accuracy": point.val_accuracy,
        "progress/epochs": point.epochs,
        "progress/examples": float(point.counts.processed),
        "progress/train_seconds": point.counts.seconds,
        "noise/gradient_noise_scale": point.gradient_noise_scale,
    }
    return {key: value for key, value in values.items() if value is not None} | dict(point.sharpness)


def run_params(built: Built) -> dict[str, Any]:
    """Settings by dotted key, with batch size and used lr as numbers, for MLflow's columns and charts."""
    params = {key: value for key, value in flat_params(built.config).items() if value is not None}
    batch_size = built.plan.batch_size
    return params | {
        "batch_size": batch_size,
        "log2_batch_size": round(math.log2(batch_size), 4),
        "lr_used": built.settings["lr"],
        "seed": built.seed,
    }


def run_tags(built: Built, sweep_id: str) -> dict[str, str]:
    """Identity, host and load of a run."""
    device = built.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else environment()["cpu"]
    return environment() | {
        "batchlab.role": "run",
        "sweep_id": sweep_id,
        "config_key": config_key(built.config),
        "origin": origin(),
        "data_digest": built.dataset.digest,
        "device": f"{device.type}: {name}",
        "load_average": load_average(),
        "threads": str(torch.get_num_threads()),
    }


def data_set_input(built: Built) -> DatasetInput:
    """The data set as MLflow lists it: name, digest, sizes of the splits."""
    dataset = built.dataset
    sizes = {name: len(getattr(dataset, name)) for name in ("train", "val", "test")}
    entity = DatasetEntity(
        name=dataset.name,
        digest=dataset.digest[:16],
        source_type="local",
        source=str(built.config.data["_target_"]),
        profile=str(sizes),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])


def recorded_runs(config: Config, sweep_id: str) -> list[dict[str, dict[str, Any]]]:
    """Params, finals and tags of every run of a command, in the order in which they began.

    Args:
        config: says where results are.
        sweep_id: names the command.

    Returns:
        For each run ``{"params": ..., "metrics": ..., "tags": ...}``.
    """
    client = MlflowClient(tracking_uri(config.mlruns))
    experiments = [found.experiment_id for found in client.search_experiments()]
    where = f"tags.sweep_id = '{sweep_id}' AND tags.`batchlab.role` = 'run'"
    runs = client.search_runs(experiments, where, max_results=10_000, order_by=["attributes.start_time ASC"])
    return [{"params": run.data.params, "metrics": run.data.metrics, "tags": run.data.tags} for run in runs]

"""What a run leaves behind: its curves, its settings, how it ended, its weights; in the spool first, then in MLflow."""

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import yaml

from batchlab.config.schema import Config
from batchlab.run.training_run import RunResult
from batchlab.system.environment_errors import cannot_write
from batchlab.system.signals import signals_wait
from batchlab.tracking.mlflow_store import TrackingUnavailable, client_of, open_store, tracking_errors
from batchlab.tracking.run_header import RunClock, as_text, header_of
from batchlab.tracking.sink import RUN_ID, sink_of
from batchlab.tracking.spool import End, Header, Spool, Value, begin
from batchlab.tracking.unsent_runs import spool_folder, spooled_runs, store_address
from batchlab.training.build import Built
from batchlab.training.loop import EvalPoint

__all__ = ["Recorder", "open_store", "record_finished", "recorded_runs"]
SECONDS_BETWEEN_DRAINS = 2.0
"""Evaluations closer than this share one write to MLflow; the spool file has each at once."""
MAX_TAG = 5000
"""Characters of a tag."""


class Recorder:
    """Records one run; a context manager that says how the run ended, whatever ended it.

    Whether MLflow answers does not matter to a run: what it has not taken waits in the spool.

    Args:
        built: the run.
        sweep_id: names the command that this run is part of.
        tags: more of them, e.g. the trial of a search.
    """

    def __init__(self, built: Built, sweep_id: str, tags: dict[str, str] | None = None) -> None:
        config = self._config = built.config
        self._clock = RunClock()
        header = header_of(built, sweep_id, tags or {}, self._clock.began_ms)
        self._sink, self._last_drain = sink_of(config.mlruns), time.monotonic()
        self._curves, self._step = dict[str, float](), 0
        with signals_wait():
            self._spool = begin(spool_folder(config.mlruns), header)
            try:
                self._sink.drain(self._spool)
            except BaseException:
                self._spool.close()  # free for whoever sends it
                raise

    @property
    def run_id(self) -> str:
        """The run's in MLflow; ``spool:<our own>`` as long as MLflow does not have it."""
        return self._spool.run_id or f"spool:{self._spool.header.id}"

    @property
    def spool_path(self) -> Path:
        """The run's file, until MLflow has all of it."""
        return self._spool.path

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        was_stopped = error is None or isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
        cause = "stopped" if was_stopped else f"{type(error).__name__}: {error}"
        try:
            if self._spool.end is None:
                self._end("KILLED" if was_stopped else "FAILED", "killed" if was_stopped else "failed", cause)
        finally:
            self._spool.close()

    def point(self, point: EvalPoint) -> None:
        """Write down an evaluation; MLflow gets it now, or together with the next ones."""
        now, self._step = self._clock.now(), point.counts.steps
        values = curve(point)
        with signals_wait():
            self._spool.append([Value(key, value, now, self._step) for key, value in values.items()])
            self._curves |= values
            if time.monotonic() - self._last_drain > SECONDS_BETWEEN_DRAINS:
                self._sink.drain(self._spool)
                self._last_drain = time.monotonic()

    def finish(self, result: RunResult) -> None:
        """Write down the finals, the resolved configuration and the weights, and end the run."""
        now = self._clock.now()
        # MLflow shows the value of the largest step: a final that is a curve's end goes there, once
        finals = {key: value for key, value in sorted(result.finals.items()) if self._curves.get(key) != value}
        steps = dict.fromkeys(self._curves, self._step)
        with signals_wait():
            self._spool.append([Value(key, value, now, steps.get(key, 0)) for key, value in finals.items()])
            self._save(result)
            self._end("FINISHED", result.outcome, result.cause, result.missing)

    def stop(self, result: RunResult) -> None:
        """End a run before its budget: what it cost is written down, finals it has none; the curves stay."""
        now = self._clock.now()
        costs = {key: value for key, value in sorted(result.finals.items()) if key.startswith("cost/")}
        with signals_wait():
            self._spool.append([Value(key, value, now, 0) for key, value in costs.items()])
            self._end("FINISHED" if result.outcome == "pruned" else "KILLED", result.outcome, result.cause)

    def _save(self, result: RunResult) -> None:
        """The artifacts, into the folder beside the run's file."""
        folder = self._spool.artifacts
        try:
            folder.mkdir(exist_ok=True)
            (folder / "config.yaml").write_text(yaml.safe_dump(asdict(self._config), sort_keys=False))
            with (folder / "weights.pt").open("wb") as file:
                torch.save(result.weights, file)
        except (OSError, RuntimeError) as error:
            reason = error if isinstance(error, OSError) else error.__context__  # torch covers it with one of its own
            if not isinstance(reason, OSError):
                raise
            shutil.rmtree(folder, ignore_errors=True)
            raise cannot_write(folder, reason, "Lost: the weights of this run; its curves are kept.") from error

    def _end(self, status: str, outcome: str, cause: str, missing: Mapping[str, str] | None = None) -> None:
        why = {f"why_nan.{metric}": reason for metric, reason in (missing or {}).items()}
        with signals_wait():
            end_run(self._spool, self._clock, status, {"outcome": outcome, "cause": cause} | why)
            self._sink.drain(self._spool)


def end_run(spool: Spool, clock: RunClock, status: str, tags: Mapping[str, str]) -> None:
    """Write down how a run ended.

    Args:
        spool: of the run.
        clock: of the run.
        status: FINISHED, FAILED or KILLED.
        tags: outcome, cause and the like; what is longer than MLflow takes is cut.
    """
    spool.finish(End(status, clock.now(), {key: text[:MAX_TAG] for key, text in as_text(tags).items()}))


def record_finished(
    config: Config,
    name: str,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    values: Sequence[tuple[str, float, int]],
    artifacts: Path | None = None,
) -> None:
    """Record something that has been measured as a run of its study.

    Args:
        config: says where, and in which study.
        name: of the run.
        tags: its identity, and what it is: batchlab.role.
        params: settings by dotted key.
        values: (metric, value, step); those that are not finite are left out.
        artifacts: folder whose files go with it.
    """
    clock, mlruns = RunClock(), config.mlruns
    described = as_text(tags), as_text(params)
    header = Header(uuid4().hex, config.study, name, clock.began_ms, store_address(mlruns), *described)
    with signals_wait(), closing(begin(spool_folder(mlruns), header)) as spool:
        spool.append([Value(key, value, clock.began_ms, step) for key, value, step in values if math.isfinite(value)])
        if artifacts is not None:
            try:
                shutil.copytree(artifacts, spool.artifacts)
            except OSError as error:
                lost = f"Lost: what MLflow would have of {artifacts}, which itself is kept."
                raise cannot_write(spool.artifacts, error, lost) from error
        end_run(spool, clock, "FINISHED", {})
        sink_of(mlruns).drain(spool)


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


def recorded_runs(
    config: Config, sweep_id: str, say: Callable[[str], object] = lambda line: None
) -> list[dict[str, dict[str, Any]]]:
    """Params, finals and tags of every run of a command, in the order in which they began; MLflow may be away.

    Args:
        config: says where results are.
        sweep_id: names the command.
        say: hears where runs are missing, because MLflow is away and only those in the spool are known.

    Returns:
        For each run ``{"params": ..., "metrics": ..., "tags": ...}``.
    """
    waiting = spooled_runs(config.mlruns, sweep_id)
    known = {run["id"] for run in waiting}
    try:
        runs = [*waiting, *(run for run in _in_mlflow(config.mlruns, sweep_id) if run["id"] not in known)]
    except TrackingUnavailable as error:
        say(f"{error}. What follows is of the runs that wait in {spool_folder(config.mlruns)}.")
        runs = waiting
    return sorted(runs, key=lambda run: run["began"])


def _in_mlflow(mlruns: str, sweep_id: str) -> list[dict[str, Any]]:
    where = f"tags.sweep_id = '{sweep_id}' AND tags.`batchlab.role` = 'run'"
    client = client_of(mlruns)
    with tracking_errors(mlruns):
        experiments = [found.experiment_id for found in client.search_experiments()]
        runs = client.search_runs(experiments, where, max_results=10_000, order_by=["attributes.start_time ASC"])
    return [
        {
            "id": run.data.tags.get(RUN_ID),
            "began": run.info.start_time,
            "params": run.data.params,
            "metrics": run.data.metrics,
            "tags": run.data.tags,
        }
        for run in runs
    ]

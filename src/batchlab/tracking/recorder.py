"""Recorder of one run: curves, settings, how it ended, weights; into the spool first, then into MLflow."""

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import torch
import yaml

from batchlab.config.identity import config_key, environment, load_average, origin
from batchlab.config.resolve import flat_params
from batchlab.run.training_run import RunResult
from batchlab.system.environment_errors import cannot_write, masked
from batchlab.system.signals import signals_wait
from batchlab.tracking.sink import sink_of
from batchlab.tracking.spool import End, Header, Spool, Value, begin
from batchlab.tracking.stores import spool_folder, store_address
from batchlab.training.build import Built, device_name
from batchlab.training.evaluation import Evaluation

SECONDS_BETWEEN_DRAINS = 2.0
"""Evaluations closer than this share one write to MLflow; the spool file has each at once."""
MAX_TAG = 5000
"""Characters of a tag."""


class RunClock:
    """Milliseconds since 1970 as the run's first moment has them, however the host's clock is set meanwhile."""

    def __init__(self) -> None:
        self.began_ms, self._began = int(time.time() * 1000), time.monotonic()

    def now(self) -> int:
        """Return now; never before an earlier now."""
        return self.began_ms + int((time.monotonic() - self._began) * 1000)


class Recorder:
    """Records one run; a context manager that says how the run ended, whatever ended it.

    Whether MLflow answers does not matter to a run: what it has not taken waits in the spool. `sweep_id` names the
    command that the run is part of; `tags` are more of them, e.g. the trial of a search.
    """

    def __init__(self, built: Built, sweep_id: str, tags: dict[str, str] | None = None) -> None:
        config, self._clock = built.config, RunClock()
        header = Header(
            uuid4().hex,
            config.study,
            f"B{built.plan.batch_size}-lr{built.settings['lr']:.3g}-s{built.seed}",
            self._clock.began_ms,
            store_address(config.mlruns),
            as_text(run_tags(built, sweep_id) | (tags or {})),
            as_text(run_params(built)),
            data_set_of(built),
        )
        self._config, self._sink, self._last_drain = config, sink_of(config.mlruns), time.monotonic()
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
        """Return the run's id in MLflow; ``spool:<our own>`` as long as MLflow does not have it."""
        return self._spool.run_id or f"spool:{self._spool.header.id}"

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

    def evaluation(self, evaluation: Evaluation) -> None:
        """Record an evaluation; MLflow gets it now, or together with the next ones."""
        now, self._step = self._clock.now(), evaluation.point.counts.steps
        values = curve(evaluation)
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
        """Write the artifacts into the folder beside the run's file."""
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
    """Write down how a run ended: MLflow's status, and outcome, cause and the like, cut to what MLflow takes."""
    spool.finish(End(status, clock.now(), {key: text[:MAX_TAG] for key, text in as_text(tags).items()}))


def curve(evaluation: Evaluation) -> dict[str, float]:
    """Return the curve values of an evaluation by metric name."""
    point = evaluation.point
    return {
        "train/loss": point.train_loss,
        "train/lr": point.lr,
        "train/batch_size": float(point.batch_size),
        "progress/epochs": point.epochs,
        "progress/examples": float(point.counts.processed),
        "progress/train_seconds": point.counts.seconds,
        **evaluation.metrics,
    }


def as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values as MLflow keeps them, without passwords."""
    return {key: masked(str(value)) for key, value in values.items()}


def run_params(built: Built) -> dict[str, Any]:
    """Return settings by dotted key, with batch size and used lr as numbers, for MLflow's columns and charts."""
    batch_size = built.plan.batch_size
    return {key: value for key, value in flat_params(built.config).items() if value is not None} | {
        "batch_size": batch_size,
        "log2_batch_size": round(math.log2(batch_size), 4),
        "lr_used": built.settings["lr"],
        "seed": built.seed,
    }


def run_tags(built: Built, sweep_id: str) -> dict[str, str]:
    """Return identity, host and load of a run as tags."""
    return environment() | {
        "batchlab.role": "run",
        "sweep_id": sweep_id,
        "config_key": config_key(built.config),
        "origin": origin(),
        "data_digest": built.dataset.digest,
        "score": built.score.name,
        "device": device_name(built.device),
        "load_average": load_average(),
        "threads": str(torch.get_num_threads()),
    }


def data_set_of(built: Built) -> dict[str, str]:
    """Describe the data set as MLflow lists it: name, digest, source, sizes of the splits."""
    dataset = built.dataset
    return {
        "name": dataset.name,
        "digest": dataset.digest[:16],
        "source_type": "local",
        "source": masked(str(built.config.data["_target_"])),
        "profile": str({name: len(getattr(dataset, name)) for name in ("train", "val", "test")}),
    }

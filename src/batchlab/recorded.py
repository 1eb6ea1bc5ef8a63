"""What was recorded before, read back: runs by what they are, and their curves."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from mlflow import MlflowClient
from numpy.typing import NDArray

from batchlab.stores import tracking_uri

PAGE = 1000
"""Runs per question; MLflow's own limit is 50,000."""
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "progress/epochs", "progress/examples",
          "progress/train_seconds")  # fmt: skip


@dataclass(frozen=True)
class RecordedRun:
    """A finished run.

    Attributes:
        run_id: MLflow's.
        params: settings by dotted key.
        finals: last value of each metric.
        tags: identity, host and outcome.
        started: date it began.
    """

    run_id: str
    params: Mapping[str, str]
    finals: Mapping[str, float]
    tags: Mapping[str, str]
    started: str


def finished_runs(mlruns: str, studies: list[str]) -> list[RecordedRun]:
    """Every run and probe of some studies that came to its end, the oldest first.

    Args:
        mlruns: folder of results.
        studies: names; those that are not there yet have no runs.
    """
    client, found = MlflowClient(tracking_uri(mlruns)), []
    known = [each.experiment_id for name in studies if (each := client.get_experiment_by_name(name))]
    token = None
    while known:
        page = client.search_runs(known, "attributes.status = 'FINISHED'", max_results=PAGE, page_token=token,
                                  order_by=["attributes.start_time ASC"])  # fmt: skip
        found += [
            RecordedRun(run.info.run_id, run.data.params, run.data.metrics, run.data.tags, _date(run.info.start_time))
            for run in page
            if "config_key" in run.data.tags
        ]
        token = page.token
        if not token:
            break
    return found


def read_curve(mlruns: str, run_id: str) -> Mapping[str, NDArray[np.float64]]:
    """The evaluations of a run: metric -> [num_evals]; ``steps`` has the optimizer steps.

    Only evaluations that have every curve are kept; a metric that the run has not is left out.

    Args:
        mlruns: folder of results.
        run_id: MLflow's.
    """
    client = MlflowClient(tracking_uri(mlruns))
    rows: dict[int, dict[str, float]] = defaultdict(dict)
    for name in CURVES:
        for metric in client.get_metric_history(run_id, name):
            rows[metric.step][name] = metric.value
    names = [name for name in CURVES if any(name in row for row in rows.values())]
    steps = sorted(step for step, row in rows.items() if all(name in row for name in names))
    return {"steps": np.array(steps, dtype=np.float64)} | {
        name: np.array([rows[step][name] for step in steps]) for name in names
    }


def _date(milliseconds: Any) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()

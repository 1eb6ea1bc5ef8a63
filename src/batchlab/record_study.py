"""What a script measured: its answer as a JSON file, and both as one run of its study in MLflow."""

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param

from batchlab.config import Config, flat_params
from batchlab.identity import environment, load_average
from batchlab.record import METRICS_PER_WRITE, open_store


def report_folder(config: Config) -> Path:
    """Where the files of a study's scripts lie: mlruns/reports/<study>."""
    return Path(config.mlruns) / "reports" / config.study


def record_study(
    config: Config,
    role: str,
    params: Mapping[str, Any],
    finals: Mapping[str, float],
    curves: Mapping[str, Sequence[tuple[int, float]]],
    name: str,
    answer: Any,
) -> Path:
    """Write a script's answer to <report folder>/<name>.json, and record it as one run of the study.

    Args:
        config: says where, and goes with the parameters.
        role: the script, as the tag batchlab.role.
        params: keys of the script.
        finals: metrics by name.
        curves: metric -> (step, value); the step is what it is a curve over, e.g. the batch size.
        name: of the file.
        answer: what JSON can hold. The files of the report folder become artifacts, this one among them.

    Returns:
        The file.
    """
    path = report_folder(config) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(answer, indent=1) + "\n")
    store = open_store(config.mlruns, config.study)
    tags = environment() | {
        "batchlab.role": role,
        "load_average": load_average(),
        "mlflow.parentRunId": store.parent_id,
    }
    run_id = store.client.create_run(store.experiment_id, tags=tags, run_name=role).info.run_id
    now, values = int(time.time() * 1000), flat_params(config) | dict(params)
    metrics = [Metric(_metric_name(key), value, now, 0) for key, value in finals.items() if math.isfinite(value)]
    metrics += [
        Metric(_metric_name(key), value, now, step)
        for key, points in curves.items()
        for step, value in points
        if math.isfinite(value)
    ]
    named = [Param(key, str(value)[:6000]) for key, value in values.items() if value is not None]
    for start in range(0, max(len(metrics), 1), METRICS_PER_WRITE):
        store.client.log_batch(run_id, metrics[start : start + METRICS_PER_WRITE], named if start == 0 else [])
    store.client.log_artifacts(run_id, str(path.parent))
    store.client.set_terminated(run_id)
    return path


def _metric_name(key: str) -> str:
    """A name that MLflow takes: letters, digits and _-. /."""
    return re.sub(r"[^\w\-. /]", "_", key)

"""What a probe measured of a configuration, as one run of its study in MLflow."""

import math
import time
from collections.abc import Mapping

from mlflow.entities import Metric, Param

from batchlab.config import Config, flat_params
from batchlab.identity import environment, load_average
from batchlab.record import METRICS_PER_WRITE, open_store


def record_probe(
    config: Config, seed: int, tags: Mapping[str, str], finals: Mapping[str, float], sweep_id: str
) -> None:
    """Record a probe's numbers.

    Args:
        config: what was probed.
        seed: of it.
        tags: its identity.
        finals: metric -> value; those that are not finite are left out.
        sweep_id: names the command.
    """
    store, now = open_store(config.mlruns, config.study), int(time.time() * 1000)
    own = {"batchlab.role": "probe", "sweep_id": sweep_id, "load_average": load_average(), "outcome": "done"}
    all_tags = environment() | own | dict(tags) | {"mlflow.parentRunId": store.parent_id}
    run = store.client.create_run(store.experiment_id, tags=all_tags, run_name=f"probe-s{seed}")
    settings = {key: value for key, value in flat_params(config).items() if value is not None} | {"seed": seed}
    params = [Param(key, str(value)) for key, value in settings.items()]
    metrics = [Metric(key, value, now, 0) for key, value in finals.items() if math.isfinite(value)]
    for start in range(0, max(1, len(metrics)), METRICS_PER_WRITE):
        store.client.log_batch(run.info.run_id, metrics[start : start + METRICS_PER_WRITE], params, [])
        params = []
    store.client.set_terminated(run.info.run_id)

"""What is known of a run before it begins: who it is, its settings, its data set, when it began."""

import math
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import torch

from batchlab.config.identity import config_key, environment, load_average, origin
from batchlab.config.resolve import flat_params
from batchlab.system.environment_errors import masked
from batchlab.tracking.spool import Header
from batchlab.tracking.unsent_runs import store_address
from batchlab.training.build import Built


class RunClock:
    """Milliseconds since 1970 as the run's first moment has them, however the host's clock is set meanwhile."""

    def __init__(self) -> None:
        self.began_ms, self._began = int(time.time() * 1000), time.monotonic()

    def now(self) -> int:
        """Now; never before an earlier now."""
        return self.began_ms + int((time.monotonic() - self._began) * 1000)


def header_of(built: Built, sweep_id: str, tags: Mapping[str, str], began_ms: int) -> Header:
    """The header of a run.

    Args:
        built: the run.
        sweep_id: names the command that it is part of.
        tags: more of them.
        began_ms: milliseconds since 1970.
    """
    config = built.config
    return Header(
        uuid4().hex,
        config.study,
        f"B{built.plan.batch_size}-lr{built.settings['lr']:.3g}-s{built.seed}",
        began_ms,
        store_address(config.mlruns),
        as_text(run_tags(built, sweep_id) | dict(tags)),
        as_text(run_params(built)),
        data_set_of(built),
    )


def as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """As MLflow keeps them, without passwords."""
    return {key: masked(str(value)) for key, value in values.items()}


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


def data_set_of(built: Built) -> dict[str, str]:
    """The data set as MLflow lists it: name, digest, source, sizes of the splits."""
    dataset = built.dataset
    return {
        "name": dataset.name,
        "digest": dataset.digest[:16],
        "source_type": "local",
        "source": masked(str(built.config.data["_target_"])),
        "profile": str({name: len(getattr(dataset, name)) for name in ("train", "val", "test")}),
    }

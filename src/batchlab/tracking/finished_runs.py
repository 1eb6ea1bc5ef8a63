"""Results that have been measured already, recorded as runs of their study: those of probes and of scripts."""

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

from batchlab.config.identity import environment, load_average
from batchlab.config.resolve import flat_params
from batchlab.config.schema import Config
from batchlab.system.environment_errors import cannot_write
from batchlab.system.signals import signals_wait
from batchlab.tracking.recorder import RunClock, as_text, end_run
from batchlab.tracking.sink import sink_of
from batchlab.tracking.spool import Header, Value, begin
from batchlab.tracking.stores import report_folder, spool_folder, store_address

MAX_PARAM = 6000
"""Characters that MLflow takes of a parameter."""


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
        tags: its identity, and batchlab.role.
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


def record_probe(
    config: Config, seed: int, tags: Mapping[str, str], finals: Mapping[str, float], sweep_id: str
) -> None:
    """Record a probe's finals, metric -> value, under its identity (tags); sweep_id names the command."""
    own = {"batchlab.role": "probe", "sweep_id": sweep_id, "load_average": load_average(), "outcome": "done"}
    settings = {key: value for key, value in flat_params(config).items() if value is not None} | {"seed": seed}
    values = [(key, value, 0) for key, value in finals.items()]
    record_finished(config, f"probe-s{seed}", environment() | own | dict(tags), settings, values)


def record_study(
    config: Config,
    role: str,
    params: Mapping[str, Any],
    finals: Mapping[str, float],
    curves: Mapping[str, Sequence[tuple[int, float]]],
    name: str,
    answer: Any,
) -> Path:
    """Write a script's answer to <report folder>/<name>.json, record it as one run of the study; return the file.

    Args:
        config: says where, and goes with the parameters.
        role: the script, as the tag batchlab.role.
        params: keys of the script.
        finals: metrics by name.
        curves: metric -> (step, value); the step is what it is a curve over, e.g. the batch size.
        name: of the file.
        answer: what JSON can hold. The files of the report folder become artifacts, this one among them.
    """
    path = report_folder(config.mlruns, config.study) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(answer, indent=1) + "\n")
    tags = environment() | {"batchlab.role": role, "load_average": load_average()}
    settings = {key: value for key, value in (flat_params(config) | dict(params)).items() if value is not None}
    named = {key: str(value)[:MAX_PARAM] for key, value in settings.items()}
    points = [(key, value, 0) for key, value in finals.items()]
    points += [(key, value, step) for key, curve in curves.items() for step, value in curve]
    # MLflow takes letters, digits and _-. / in a name
    values = [(re.sub(r"[^\w\-. /]", "_", key), value, step) for key, value, step in points]
    record_finished(config, role, tags, named, values, path.parent)
    return path

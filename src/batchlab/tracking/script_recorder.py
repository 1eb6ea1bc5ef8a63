"""What a script measured: its answer as a JSON file, and both as one run of its study in MLflow."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchlab.config.identity import environment, load_average
from batchlab.config.resolve import flat_params
from batchlab.config.schema import Config
from batchlab.tracking.recorder import record_finished
from batchlab.tracking.stores import report_folder

MAX_PARAM = 6000
"""Characters that MLflow takes of a parameter."""


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
    path = report_folder(config.mlruns, config.study) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(answer, indent=1) + "\n")
    tags = environment() | {"batchlab.role": role, "load_average": load_average()}
    settings = {key: value for key, value in (flat_params(config) | dict(params)).items() if value is not None}
    named = {key: str(value)[:MAX_PARAM] for key, value in settings.items()}
    values = [(_metric_name(key), value, 0) for key, value in finals.items()]
    values += [(_metric_name(key), value, step) for key, points in curves.items() for step, value in points]
    record_finished(config, role, tags, named, values, path.parent)
    return path


def _metric_name(key: str) -> str:
    """A name that MLflow takes: letters, digits and _-. /."""
    return re.sub(r"[^\w\-. /]", "_", key)

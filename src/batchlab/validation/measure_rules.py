"""Gate 1 of the measure group: what is measured, on what, and with which settings."""

import math
from collections.abc import Iterator
from typing import Any

from batchlab.config.schema import REPOSITORY, Config
from batchlab.errors import ConfigError, nearest

POSITIVE = {"epsilon": 1e-3, "rho": 0.5, "tolerance": 0.01}
"""Settings of our own measures that are lengths or shares, each with an example."""
COUNTS = {"num_restarts": 3, "num_iterations": 10, "num_steps": 1, "num_vectors": 30, "num_dimensions": 100}
"""Those that are counts; `num_dimensions` may be null."""


def check_measure(config: Config) -> Iterator[ConfigError]:
    """Wrong values of `measure.*`, and those that have no effect."""
    measure, has_measures = config.measure, bool(config.measure.sharpness)
    for name in ("num_examples", "every_evals", "batch_norm"):
        value, key = getattr(measure, name), f"measure.{name}"
        if not has_measures:
            if value is not None:
                yield ConfigError(
                    key, value, "has no effect: no measure of sharpness is asked for", "measure=brief too"
                )
        elif name == "batch_norm":
            if value not in ("eval", "train"):
                allowed = "eval (running statistics) or train (those of the sample)"
                yield ConfigError(key, value, allowed, f"{key}={nearest(str(value), ('eval', 'train')) or 'eval'}")
        elif value is not None and value < 1:
            yield ConfigError(key, value, "null or an integer from 1", f"{key}={2000 if name == 'num_examples' else 1}")
    for name, node in measure.sharpness.items():
        yield from _node(f"measure.sharpness.{name}", node)


def _node(key: str, node: Any) -> Iterator[ConfigError]:
    if not isinstance(node, dict) or not node.get("_target_"):
        allowed = "has no _target_: a function of (landscape, **settings)"
        files = sorted((REPOSITORY / "conf" / "measure").glob("*.yaml"))
        options = [file.stem for file in files if f"  {key.rpartition('.')[2]}:" in file.read_text()]
        fix = f"measure={options[0]} too" if options else f"{key}._target_=package.module.function too"
        yield ConfigError(key, node, allowed, fix)
        return
    if not str(node["_target_"]).startswith("batchlab.measures."):
        return
    for name, value in node.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in POSITIVE and not (is_number and 0 < value < math.inf):
            yield ConfigError(f"{key}.{name}", value, "a finite number above 0", f"{key}.{name}={POSITIVE[name]:g}")
        is_count = isinstance(value, int) and is_number and value >= 1
        if name in COUNTS and not is_count and not (name == "num_dimensions" and value is None):
            allowed = "null or an integer from 1" if name == "num_dimensions" else "an integer from 1"
            yield ConfigError(f"{key}.{name}", value, allowed, f"{key}.{name}={COUNTS[name]}")


def check_measured(config: Config, objective: str, name: str) -> Iterator[ConfigError]:
    """Whether a measure that is an objective is measured.

    Args:
        config: says what is measured.
        objective: as typed.
        name: its metric name, ``sharpness/...``.
    """
    names = list(config.measure.sharpness)
    known = [*names, *(["train_loss"] if names else []), *(["lr_lambda_max"] if "lambda_max" in names else [])]
    if name.removeprefix("sharpness/") not in known:
        allowed = f"is not measured here; of sharpness there are {', '.join(known) or 'none'}"
        yield ConfigError("objectives", objective, allowed, "measure=sharpness, or another objective")

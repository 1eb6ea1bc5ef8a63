"""Gate 1 of what is measured on a run, and of what a search makes better."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from batchlab.config.installation import CONF
from batchlab.config.objectives import CALIBRATED
from batchlab.config.schema import Config, declared_key
from batchlab.config.traits import OptimizerTraits, declared
from batchlab.errors import ConfigError
from batchlab.tasks.objectives import check_objectives, name_of


def check_measure(config: Config) -> Iterator[ConfigError]:
    """Find settings of `measure.*` that have no effect or are missing, and measures without a function."""
    measure, has_measures = config.measure, bool(config.measure.sharpness)
    for name in ("num_examples", "every_evals", "batch_norm"):
        value, key = getattr(measure, name), f"measure.{name}"
        if not has_measures and value is not None:
            allowed = "has no effect: no measure of sharpness is asked for"
            yield ConfigError(key, value, allowed, "measure=brief too")
    if has_measures and measure.batch_norm is None:
        yield from filter(None, [replace(declared_key("measure.batch_norm"), is_optional=False).error(None)])
    for name, node in measure.sharpness.items():
        if not isinstance(node, dict) or not node.get("_target_"):
            yield _no_function(name, node)


def _no_function(name: str, node: Any) -> ConfigError:
    key, allowed = f"measure.sharpness.{name}", "has no _target_: a function of (landscape, **settings)"
    files = sorted((CONF / "measure").glob("*.yaml"))
    options = [file.stem for file in files if f"  {name}:" in file.read_text()]
    fix = f"measure={options[0]} too" if options else f"{key}._target_=package.module.function too"
    return ConfigError(key, node, allowed, fix)


def check_measured_objectives(config: Config) -> Iterator[ConfigError]:
    """Find objectives that are no final metrics, or that this run does not measure."""
    errors = check_objectives(config.objectives)
    yield from errors
    if errors:
        return
    for objective in config.objectives:
        name = name_of(objective)
        if name == CALIBRATED and (why := _no_step_time(config)):
            why = f"the seconds of a search with several workers, which are {why}"
            yield ConfigError("objectives", objective, why, "objectives=[cost/train_seconds,score]")
        if name.startswith("target/") and config.budget.kind != "target":
            yield ConfigError("objectives", objective, "is measured with budget=target only", "budget=target")
        if name.startswith("sharpness/") and name.removeprefix("sharpness/") not in (known := _sharpness(config)):
            allowed = f"is not measured here; of sharpness there are {', '.join(known) or 'none'}"
            yield ConfigError("objectives", objective, allowed, "measure=sharpness, or another objective")


def _sharpness(config: Config) -> list[str]:
    names = list(config.measure.sharpness)
    return [*names, *(["train_loss"] if names else []), *(["lr_lambda_max"] if "lambda_max" in names else [])]


def _no_step_time(config: Config) -> str:
    """Say why nobody knows what a step takes alone; empty where that is known."""
    if declared(OptimizerTraits, config.optimizer).multi_pass:
        return "not known for an optimizer whose steps take as many passes as they need"
    return "not known for steps that several processes share" if config.num_processes > 1 else ""

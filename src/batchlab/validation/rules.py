"""Gate 1: keys and values of a configuration, before any data or torch is touched."""

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from batchlab.config.schema import BUDGETS, OPEN_GROUPS, Config, declared_key
from batchlab.config.traits import BatchScheduleTraits, LrScheduleTraits, check_traits, declared
from batchlab.config.trusted_targets import check_trust
from batchlab.errors import ConfigError
from batchlab.validation.launch_rules import check_contrastive, check_launch
from batchlab.validation.measure_rules import check_measure, check_measured_objectives

BYTES_OF_A_NAME = 200
"""File systems take 255 for a name; a study's has endings."""


def check_config(config: Config) -> list[ConfigError]:
    """List every wrong key and value that can be seen without data: ranges, settings without effect, combinations.

    A value that its declaration does not allow is not looked at by the other rules.
    """
    if errors := [*_targets(config), *check_traits(config)]:
        return errors
    rules = (_memory, _budget, _evaluation, _schedules, check_measure, check_measured_objectives)
    rules += (check_contrastive, check_launch, _study, check_trust)
    found = [error for rule in rules for error in rule(config)]
    blamed = {error.key for error in found if error.allowed.startswith("has no effect")}
    wrong = {error.key: error for error in _ranges(config) if error.key not in blamed}
    return [*wrong.values(), *(error for error in found if error.key not in wrong)]


def _targets(config: Config) -> Iterator[ConfigError]:
    """Find open groups whose `_target_` is no name; nothing else can be said of them then."""
    for group in OPEN_GROUPS:
        target = getattr(config, group).get("_target_")
        if not isinstance(target, str) or not target:
            allowed = "the name of a function or class"
            yield ConfigError(f"{group}._target_", target, allowed, f"the command without {group}._target_")
    for name, node in config.measure.sharpness.items():
        if isinstance(node, dict) and not isinstance(node.get("_target_", ""), str):
            key = f"measure.sharpness.{name}._target_"
            yield ConfigError(key, node["_target_"], "the name of a function", "measure=sharpness without it")


def _ranges(config: Config) -> Iterator[ConfigError]:
    """Find values that the declarations of their keys do not allow."""
    for key, value in settings_of(config):
        key_declared = declared_key(key)
        if (error := key_declared.error(value, key)) is not None:
            yield replace(error, fix="budget=epochs") if key == "budget.kind" else error
        elif key_declared.name.endswith(".*") and isinstance(value, float) and not math.isfinite(value):
            yield ConfigError(key, value, "a finite number", f"the command without {key}")


def settings_of(config: Config) -> Iterator[tuple[str, Any]]:
    """List every setting by dotted key; of a measure that is not batchlab's, its settings are its own."""

    def walk(key: str, value: Any) -> Iterator[tuple[str, Any]]:
        if not isinstance(value, dict):
            yield key, value
        elif not key.startswith("measure.sharpness.") or str(value.get("_target_")).startswith("batchlab."):
            for name, inner in value.items():
                yield from walk(f"{key}.{name}" if key else str(name), inner)

    return walk("", asdict(config))


def _memory(config: Config) -> Iterator[ConfigError]:
    if config.micro_batch_size != "auto":
        allowed = f"has no effect with micro_batch_size={config.micro_batch_size}"
        for name, value in vars(config.memory).items():
            if value is not None:
                yield ConfigError(f"memory.{name}", value, allowed, "micro_batch_size=auto too")


def _budget(config: Config) -> Iterator[ConfigError]:
    kind = config.budget.kind
    if kind not in BUDGETS:
        return
    settings = {f"budget.{name}": value for name, value in vars(config.budget).items() if name != "kind"}
    needed = ["epochs"] if kind == "epochs" else [f"budget.{name}" for name in BUDGETS[kind]]
    for key, value in (settings | {"epochs": config.epochs}).items():
        if key in needed and value is None:
            yield from filter(None, [replace(declared_key(key), is_optional=False).error(None)])
        elif key not in needed and value is not None:
            name = key.removeprefix("budget.")
            owner = next((kind for kind, names in BUDGETS.items() if name in names), "epochs")
            is_length = key == "epochs" and kind == "target"
            fix = f"budget.max_epochs={value:g}" if is_length else f"budget={owner} {key}={value}"
            yield ConfigError(key, value, f"has no effect with budget={kind}", fix)


def _evaluation(config: Config) -> Iterator[ConfigError]:
    every = config.eval.every_examples
    largest = config.batch_schedule.get("max_batch_size") or config.batch_size
    if every is not None and isinstance(largest, int) and every < largest:
        allowed = f"at least the largest batch, {largest}, so that all batch sizes are looked at equally often"
        yield ConfigError("eval.every_examples", every, allowed, f"eval.every_examples={largest}")


def _schedules(config: Config) -> Iterator[ConfigError]:
    if "lr" in config.optimizer:
        allowed = "has no effect: the learning rate is the top-level key lr"
        yield ConfigError("optimizer.lr", config.optimizer["lr"], allowed, f"lr={config.optimizer['lr']}")
    yield from _milestones(config)
    if config.lr_schedule.get("warmup_from") is not None and not config.lr_schedule.get("warmup"):
        allowed, fix = "has no effect without a warm-up", "lr_schedule.warmup=0.05 too"
        yield ConfigError("lr_schedule.warmup_from", config.lr_schedule["warmup_from"], allowed, fix)
    if declared(BatchScheduleTraits, config.batch_schedule).grows:
        yield from _growth(config)


def _milestones(config: Config) -> Iterator[ConfigError]:
    milestones = config.lr_schedule.get("milestones")
    if milestones is None:
        return
    is_list = isinstance(milestones, list) and all(isinstance(value, int | float) for value in milestones)
    if not is_list or not milestones or sorted(milestones) != milestones or not 0 < milestones[0] <= milestones[-1] < 1:
        allowed = "a rising list of shares of the budget, each above 0 and below 1"
        yield ConfigError("lr_schedule.milestones", milestones, allowed, "lr_schedule.milestones=[0.5,0.75]")


def _growth(config: Config) -> Iterator[ConfigError]:
    if declared(LrScheduleTraits, config.lr_schedule).independent_of_length:
        allowed = "has no effect with lr_schedule=constant: it grows the batch where the lr would drop"
        yield ConfigError("batch_schedule", "grow", allowed, "lr_schedule=step")
    largest, batch_size = config.batch_schedule.get("max_batch_size"), config.batch_size
    if isinstance(largest, int) and isinstance(batch_size, int) and 1 <= largest <= batch_size:
        key, allowed = "batch_schedule.max_batch_size", f"has no effect: at most batch_size={batch_size}"
        yield ConfigError(key, largest, allowed, f"{key}={8 * batch_size}")


def _study(config: Config) -> Iterator[ConfigError]:
    if len(config.study.encode(errors="replace")) > BYTES_OF_A_NAME:
        allowed = f"a name of at most {BYTES_OF_A_NAME} bytes; it names a folder"
        yield ConfigError("study", config.study[:40], allowed, "study=first-look")

"""Gate 1: keys and values of a configuration, before any data or torch is touched."""

import math
import re
from collections.abc import Iterator
from typing import Any

from batchlab.config.objectives import CALIBRATED, check_objectives, parse_objective
from batchlab.config.schema import OPEN_GROUPS, Config
from batchlab.config.traits import BatchScheduleTraits, LrScheduleTraits, OptimizerTraits, check_traits, declared
from batchlab.config.trusted_targets import check_trust
from batchlab.errors import ConfigError, nearest
from batchlab.validation.bounds import check_bounds, check_targets
from batchlab.validation.contrastive import check_contrastive
from batchlab.validation.launch_rules import check_launch
from batchlab.validation.measure_rules import check_measure, check_measured

BUDGETS = {
    "epochs": (),
    "steps": ("num_steps",),
    "examples": ("num_examples",),
    "seconds": ("seconds",),
    "target": ("val_accuracy", "max_epochs"),
}
PRECISIONS = ("float32", "bfloat16", "float16")
SHARES = {  # key: (low, high, whether low and high themselves are allowed)
    "lr_schedule.warmup": (0, 1, True, False),
    "lr_schedule.warmup_from": (0, 1, True, True),
    "lr_schedule.final": (0, 1, True, True),
    "lr_schedule.factor": (0, 1, False, False),
    "lr_schedule.decay": (0, 1, False, True),
    "lr_scaling.exponent": (0, 2, False, True),
}


def check_config(config: Config) -> list[ConfigError]:
    """Every wrong key and value that can be seen without data: ranges, kinds, settings without effect."""
    if errors := [*check_targets(config), *check_traits(config)]:
        return errors
    checks = (_finite, _sizes, _memory, _rates, _budget, _evaluation, _checkpoint, _names, _schedules)
    checks += (check_measure, _objectives, check_contrastive, check_launch, check_bounds, check_trust)
    return [error for check in checks for error in check(config)]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _finite(config: Config) -> Iterator[ConfigError]:
    for group in OPEN_GROUPS:
        for name, value in getattr(config, group).items():
            if isinstance(value, float) and not math.isfinite(value) and f"{group}.{name}" not in SHARES:
                yield ConfigError(f"{group}.{name}", value, "a finite number", f"the command without {group}.{name}")


def _sizes(config: Config) -> Iterator[ConfigError]:
    if config.batch_size != "full" and not _is_count(config.batch_size):
        allowed = "an integer from 1 to the size of the training split, or full"
        is_list = isinstance(config.batch_size, list)
        listed = ",".join(map(str, config.batch_size)) if is_list else ""
        fix = f"-m batch_size={listed}" if is_list else "batch_size=128"
        yield ConfigError("batch_size", config.batch_size, allowed, fix)
    if config.micro_batch_size not in ("none", "auto") and not _is_count(config.micro_batch_size):
        allowed = "none, auto or an integer from 1: the most examples in one forward and backward pass"
        yield ConfigError("micro_batch_size", config.micro_batch_size, allowed, "micro_batch_size=none")
    if config.seed < 0:
        yield ConfigError("seed", config.seed, "an integer from 0", "seed=0")
    if not _is_count(config.num_seeds):
        yield ConfigError("num_seeds", config.num_seeds, "an integer from 1", "num_seeds=1")
    if config.num_threads is not None and not _is_count(config.num_threads):
        yield ConfigError("num_threads", config.num_threads, "null or an integer from 1", "num_threads=1")


def _memory(config: Config) -> Iterator[ConfigError]:
    limit, headroom, largest = vars(config.memory).values()
    if config.micro_batch_size != "auto":
        allowed = f"has no effect with micro_batch_size={config.micro_batch_size}"
        for name, value in vars(config.memory).items():
            if value is not None:
                yield ConfigError(f"memory.{name}", value, allowed, "micro_batch_size=auto too")
        return
    if limit is not None and not _is_count(limit):
        size = re.fullmatch(r"(\d+(?:\.\d+)?) *([kmgt])(i?)b?", str(limit).lower())
        factor = (1024 if size[3] else 1000) ** (1 + "kmgt".index(size[2])) if size else 0
        fix = f"memory.limit_bytes={round(float(size[1]) * factor) if size else 2 * 1024**3}"
        yield ConfigError("memory.limit_bytes", limit, "null or an integer: bytes", fix)
    if headroom is not None and not 0 <= headroom < 1:
        allowed = "a number in [0, 1): the share of the limit that stays free"
        yield ConfigError("memory.headroom", headroom, allowed, "memory.headroom=0.1")
    if largest is not None and not _is_count(largest):
        key = "memory.max_micro_batch_size"
        yield ConfigError(key, largest, "null or an integer from 1", f"{key}=512")


def _rates(config: Config) -> Iterator[ConfigError]:
    if not _is_positive(config.lr):
        yield ConfigError("lr", config.lr, "a finite number above 0", "lr=0.1")
    if "lr" in config.optimizer:
        allowed = "has no effect: the learning rate is the top-level key lr"
        yield ConfigError("optimizer.lr", config.optimizer["lr"], allowed, f"lr={config.optimizer['lr']}")
    base = config.lr_scaling.get("base_batch_size", 1)
    if not _is_count(base):
        allowed = "an integer from 1: the batch size at which lr holds"
        yield ConfigError("lr_scaling.base_batch_size", base, allowed, "lr_scaling.base_batch_size=128")


def _budget(config: Config) -> Iterator[ConfigError]:
    kind, budget = config.budget.kind, vars(config.budget)
    if kind not in BUDGETS:
        yield ConfigError("budget.kind", kind, f"one of {', '.join(BUDGETS)}", "budget=epochs")
        return
    if kind == "epochs":
        if not _is_positive(config.epochs):
            yield ConfigError("epochs", config.epochs, "a finite number above 0", "epochs=10")
    elif config.epochs is not None:
        fix = f"{'budget.max_epochs=' if kind == 'target' else 'budget=epochs epochs='}{config.epochs:g}"
        yield ConfigError("epochs", config.epochs, f"has no effect with budget={kind}", fix)
    for name, value in budget.items():
        key = f"budget.{name}"
        if name in BUDGETS[kind]:
            is_whole = name.startswith("num_")
            if not (_is_count(value) if is_whole else _is_positive(value)):
                allowed = "an integer from 1" if is_whole else "a finite number above 0"
                yield ConfigError(key, value, allowed, f"{key}={1000 if is_whole else 10}")
            elif name == "val_accuracy" and value > 1:
                yield ConfigError(key, value, "a share of the examples, above 0 and at most 1", f"{key}=0.95")
        elif name != "kind" and value is not None:
            owner = next(owner for owner, names in BUDGETS.items() if name in names)
            allowed = f"has no effect with budget={kind}"
            yield ConfigError(key, value, allowed, f"budget={owner} {key}={value}")


def _evaluation(config: Config) -> Iterator[ConfigError]:
    every = config.eval.every_examples
    if every is None:
        return
    largest = config.batch_schedule.get("max_batch_size") or config.batch_size
    if not _is_count(every):
        yield ConfigError("eval.every_examples", every, "null or an integer from 1", "eval.every_examples=null")
    elif _is_count(largest) and every < largest:
        allowed = f"at least the largest batch, {largest}, so that all batch sizes are looked at equally often"
        yield ConfigError("eval.every_examples", every, allowed, f"eval.every_examples={largest}")


def _checkpoint(config: Config) -> Iterator[ConfigError]:
    key, every = "checkpoint.every_seconds", config.checkpoint.every_seconds
    if every is not None and not _is_positive(every):
        yield ConfigError(key, every, "null or a finite number of seconds above 0", f"{key}=60")


def _names(config: Config) -> Iterator[ConfigError]:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", config.device):
        yield ConfigError("device", config.device, "one of auto, cpu, cuda, cuda:0, cuda:1, ..., mps", "device=auto")
    if config.precision not in PRECISIONS:
        fix = f"precision={nearest(config.precision, PRECISIONS) or 'float32'}"
        yield ConfigError("precision", config.precision, f"one of {', '.join(PRECISIONS)}", fix)
    if not re.fullmatch(r"[\w.-]+", config.study):
        allowed = "letters, digits, '_', '-' and '.'; it names a folder and an experiment"
        yield ConfigError("study", repr(config.study), allowed, "study=first-look")
    resident = config.data.get("resident", "auto")
    if resident not in ("auto", True, False):
        yield ConfigError("data.resident", resident, "one of auto, true, false", "data.resident=auto")


def _schedules(config: Config) -> Iterator[ConfigError]:
    for key, (low, high, with_low, with_high) in SHARES.items():
        group, name = key.split(".")
        value = getattr(config, group).get(name)
        if value is None:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not (low <= value <= high) or (value == low > -1 and not with_low):
            is_wrong = True
        else:
            is_wrong = value == high and not with_high
        if is_wrong:
            brackets = f"{'[' if with_low else '('}{low}, {high}{']' if with_high else ')'}"
            yield ConfigError(key, value, f"a number in {brackets}", f"{key}={(low + high) / 2 or 0.5}")
    yield from _milestones(config)
    if config.lr_schedule.get("warmup_from") is not None and not config.lr_schedule.get("warmup"):
        value = config.lr_schedule["warmup_from"]
        yield ConfigError(
            "lr_schedule.warmup_from", value, "has no effect without a warm-up", "lr_schedule.warmup=0.05 too"
        )
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
    if largest is not None and not _is_count(largest):
        allowed = "null or an integer from 1"
        yield ConfigError("batch_schedule.max_batch_size", largest, allowed, "batch_schedule.max_batch_size=null")
    elif largest is not None and _is_count(batch_size) and largest <= batch_size:
        allowed = f"has no effect: at most batch_size={batch_size}"
        fix = f"batch_schedule.max_batch_size={8 * batch_size}"
        yield ConfigError("batch_schedule.max_batch_size", largest, allowed, fix)


def _objectives(config: Config) -> Iterator[ConfigError]:
    errors = check_objectives(config.objectives)
    yield from errors
    if errors:
        return
    for objective in config.objectives:
        name = parse_objective(objective)[0]
        if name == CALIBRATED and (why := _no_step_time(config)):
            why = f"the seconds of a search with several workers, which are {why}"
            yield ConfigError("objectives", objective, why, "objectives=[cost/train_seconds,final/val_accuracy]")
        if name.startswith("target/") and config.budget.kind != "target":
            yield ConfigError("objectives", objective, "is measured with budget=target only", "budget=target")
        if name.startswith("sharpness/"):
            yield from check_measured(config, objective, name)


def _no_step_time(config: Config) -> str:
    """Why nobody can say what a step takes alone; empty where that is known."""
    if declared(OptimizerTraits, config.optimizer).multi_pass:
        return "not known for an optimizer whose steps take as many passes as they need"
    return "not known for steps that several processes share" if config.num_processes > 1 else ""

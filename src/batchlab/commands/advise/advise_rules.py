"""Every error of a command line of scripts/advise.py."""

import math
from collections.abc import Iterator
from dataclasses import replace

from batchlab.commands.advise.advise_keys import Advise
from batchlab.config.schema import Budget, Config
from batchlab.errors import ConfigError
from batchlab.training.build import load_dataset
from batchlab.validation.dry_run import check_data
from batchlab.validation.launch_rules import check_single_losses

METHODS = ("laws", "fill_then_reduce")


def check(keys: Advise, configs: list[Config]) -> list[ConfigError]:
    """Every error of the keys, then of the configuration at the smallest and largest batch that may be tried."""
    errors = [*_keys(keys, configs)]
    if errors:
        return errors
    config, num_train = configs[0], len(load_dataset(configs[0].data).train)
    if load_dataset(config.data).num_classes is None and keys.budget_seconds > 0:
        allowed = "trainings go to a validation accuracy, and this data has numbers as targets"
        return [ConfigError("budget_seconds", keys.budget_seconds, allowed, "budget_seconds=0")]
    for size in (min(8, num_train), num_train):
        errors += check_data(replace(config, batch_size=size, budget=Budget("epochs"), epochs=1.0))
    return errors


def _keys(keys: Advise, configs: list[Config]) -> Iterator[ConfigError]:
    if len(configs) > 1:
        yield ConfigError("the command line", "", "lists: advice is about one configuration", "one value for each key")
    if not 0 <= keys.budget_seconds < math.inf:
        yield ConfigError("budget_seconds", keys.budget_seconds, "a finite number from 0", "budget_seconds=60")
    if keys.target is not None and not 0 < keys.target <= 1:
        yield ConfigError("target", keys.target, "a share of the examples, above 0 and at most 1", "target=0.9")
    if keys.target is not None and keys.budget_seconds == 0:
        yield ConfigError("target", keys.target, "has no effect with budget_seconds=0", "budget_seconds=60")
    if keys.price_per_hour is not None and not 0 < keys.price_per_hour < math.inf:
        yield ConfigError("price_per_hour", keys.price_per_hour, "a finite number above 0", "price_per_hour=2.5")
    if keys.method not in METHODS:
        yield ConfigError("method", keys.method, f"one of {', '.join(METHODS)}", "method=laws")
    elif keys.method == "fill_then_reduce" and keys.budget_seconds == 0:
        allowed = "has to train: it reduces the batch until it converges"
        yield ConfigError("method", keys.method, allowed, "budget_seconds=60")
    if keys.output not in ("text", "json"):
        yield ConfigError("output", keys.output, "text or json", "output=text")
    yield from check_single_losses(configs[0])

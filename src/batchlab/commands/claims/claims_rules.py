"""Checks of the command line of `batchlab claims`, and the experiments that it asks for."""

import math
import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from batchlab.commands.command_keys import Claims
from batchlab.commands.command_line import composing
from batchlab.config.installation import program
from batchlab.config.registration import register_schema
from batchlab.config.schema import Config
from batchlab.errors import ConfigError, nearest
from batchlab.experiments.experiment import Experiment, compose_experiment, experiment_names, presets_of
from batchlab.experiments.verdict import LOOKS

FEW = 4
"""So many are composed here, at a second each; more of them in processes, which take two seconds to begin."""


def check(keys: Claims, configs: list[Config]) -> list[ConfigError]:
    """Mistakes of the script's keys."""
    return list(_keys(keys, configs))


def _keys(keys: Claims, configs: list[Config]) -> Iterator[ConfigError]:
    if len(configs) > 1:
        yield ConfigError("the command line", "", "lists: the experiments bring their own", "one value for each key")
    known = experiment_names()
    for name in [name for name in keys.names if name not in known]:
        close = nearest(str(name), known)
        yield ConfigError("names", name, f"one of {', '.join(known)}", f"{program('claims')} {close or known[0]}")
    for name in sorted({name for name in keys.names if keys.names.count(name) > 1}):
        yield ConfigError("names", name, "each experiment once: Holm counts them", f"{program('claims')} {name}")
    if keys.preset not in ("small", "full"):
        yield ConfigError("preset", keys.preset, "small or full", "preset=small")
    if not 0 <= keys.budget_minutes < math.inf:
        yield ConfigError("budget_minutes", keys.budget_minutes, "a finite number from 0", "budget_minutes=90")
    if keys.num_workers < 1:
        yield ConfigError("num_workers", keys.num_workers, "an integer from 1", "num_workers=2")
    if keys.max_seeds not in (0, *LOOKS):
        yield ConfigError("max_seeds", keys.max_seeds, f"one of 0, {', '.join(map(str, LOOKS))}", "max_seeds=24")
    if keys.output not in ("text", "json"):
        yield ConfigError("output", keys.output, "text or json", "output=text")


def compose_all(keys: Claims, overrides: list[str]) -> list[Experiment]:
    """The experiments that are asked for; those without the preset are left out of it.

    Raises:
        ConfigErrors: with every error of gate 1.
    """
    names = [name for name in keys.names or experiment_names() if keys.preset in presets_of(name)]
    one = partial(_composed, overrides=overrides, preset=keys.preset)
    if len(names) <= FEW:
        return [one(name) for name in names]
    spawn, deaf = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is ours to heed
    with ProcessPoolExecutor(mp_context=spawn, initializer=signal.signal, initargs=deaf) as pool:
        return list(pool.map(one, names))


def _composed(name: str, overrides: list[str], preset: str) -> Experiment:
    register_schema()
    with composing():
        return compose_experiment(name, overrides, preset)

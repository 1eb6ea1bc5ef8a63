"""The sampler of each trial: seeded by the trial's slot, so that no restart replays a start-up point."""

import inspect
import math
import random
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from hydra.utils import get_object
from optuna import logging
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection, create_study

from batchlab.config.instantiate import bound, made
from batchlab.errors import config_error
from batchlab.search.optuna_internals import suggest
from batchlab.search.settings import Settings
from batchlab.search.space import Space


def sampler_of(settings: Settings, space: Space) -> Callable[[int, int], BaseSampler]:
    """A function: (slot, number of the try) -> sampler.

    With a seed every trial has a sampler of its own, seeded by (seed, slot, try): the same study, interrupted or not,
    draws the same start-up points. Without one, one sampler serves the process. A grid has one order for all.

    Args:
        settings: its node; keys that are null or that Optuna does not know any more are left out.
        space: what a grid goes through.
    """
    node = {key: value for key, value in settings.sampler.items() if value is not None and key != "_partial_"}
    if "n_ehvi_candidates" in node:
        node["n_ei_candidates"] = node.pop("n_ehvi_candidates")
    known = inspect.signature(get_object(node["_target_"])).parameters
    node = {key: value for key, value in node.items() if key in known or key.startswith("_")}
    if "constant_liar" in known and "constant_liar" not in node:
        # reads what the others are trying now; alone there is nobody to read
        node["constant_liar"] = settings.num_workers > 1 or settings.num_jobs > 1
    if "search_space" in known:
        node["search_space"] = grid_of(space)
    seed = node.pop("seed", None)
    is_flat = not any(isinstance(value, dict) for value in node.values())
    factory = bound(node) if is_flat else partial(made, node)  # Hydra's instantiate takes longer than the sampler

    def make(seed: int | None) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # multivariate TPE
            warnings.simplefilter("ignore", FutureWarning)  # keys of released configurations that Optuna 6 will drop
            return factory(**({"seed": seed} if seed is not None and "seed" in known else {}))

    if "search_space" in known:  # trial n takes the grid's n-th point: one order for every slot and process
        ordered = make(seed or 0)
        return lambda _slot, _attempt: ordered
    if seed is None:
        shared = make(random.SystemRandom().getrandbits(31))
        return lambda _slot, _attempt: shared
    return lambda slot, attempt: make(zlib.crc32(f"{seed} {slot} {attempt}".encode()) >> 1)


def try_out(settings: Settings, space: Space) -> None:
    """Have the sampler draw one point that nobody keeps: it raises whatever it says of its settings.

    Args:
        settings: its node.
        space: what it draws from.
    """
    logging.set_verbosity(logging.WARNING)
    directions = [StudyDirection[each.upper()] for each in settings.directions]
    study = create_study(sampler=sampler_of(settings, space)(0, 0), directions=directions)
    trial = study.ask()
    for each in space.dimensions:
        suggest(trial, each.name, each.distribution)


def grid_of(space: Space) -> dict[str, list[Any]]:
    """Every value of every dimension, for Optuna's GridSampler.

    Raises:
        ConfigErrors: for a dimension that has no list of values.
    """
    return {each.name: _values(each.key, each.distribution) for each in space.dimensions}


def grid_size(space: Space) -> int:
    """Points of the grid."""
    return math.prod(len(values) for values in grid_of(space).values())


def _values(key: str, distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is None:
        if distribution.low == distribution.high:
            return [distribution.low]
        allowed = "a grid needs a list of values in every dimension"
        raise config_error(key, f"{distribution.low} to {distribution.high}", allowed, f"{key}=0.01,0.1,1")
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    return [distribution.low + place * distribution.step for place in range(count)]

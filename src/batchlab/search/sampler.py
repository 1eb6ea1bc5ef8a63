"""The sampler of each trial, seeded by the trial's slot; batch sizes known not to fit into memory are not drawn."""

import inspect
import math
import random
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hydra.utils import get_object
from optuna import logging
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection, create_study
from optuna.trial import FrozenTrial, Trial, TrialState

from batchlab.config.instantiate import bound, made
from batchlab.config.keys import Affects
from batchlab.config.schema import declared_key
from batchlab.errors import config_error
from batchlab.search.finalize import RESULT
from batchlab.search.optuna_internals import fix_param, forget_relative_params, frozen, is_fixed, suggest
from batchlab.search.settings import Settings
from batchlab.search.space import Dimension, Space
from batchlab.search.sweeper_keys import sampler_traits

TRIES = 5
"""Draws of the sampler, after which batch sizes are drawn at random."""
MOST_START_UP = 10
"""Random trials before Optuna's samplers begin with their own, unless their settings say more."""
RANDOM_TRIES = 200
"""Random draws, after which the sampler has its way: then nearly all of the space does not fit."""


def sampler_of(settings: Settings, space: Space) -> Callable[[int, int], BaseSampler]:
    """Return a function: (slot, number of the try) -> sampler.

    With a seed every trial has a sampler of its own, seeded by (seed, slot, try): the same study, interrupted or not,
    draws the same start-up points. Without one, one sampler serves the process. A grid has one order for all. Keys that
    are null, or that Optuna does not know any more, are left out.
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
    """Have the sampler draw one point that nobody keeps, after random ones: it raises what it says of its settings."""
    logging.set_verbosity(logging.WARNING)
    directions = [StudyDirection[each.upper()] for each in settings.directions]
    study = create_study(sampler=RandomSampler(seed=0), directions=directions)

    def ask() -> Trial:
        trial = study.ask()
        for each in space.dimensions:
            suggest(trial, each.name, each.distribution)
        return trial

    for number in range(MOST_START_UP):
        study.tell(ask(), [float(number)] * len(directions))
    study.sampler = sampler_of(settings, space)(0, 0)
    ask()


def grid_of(space: Space) -> dict[str, list[Any]]:
    """List every value of every dimension, for Optuna's GridSampler.

    Raises:
        ConfigErrors: for a dimension that has no list of values.
    """
    return {each.name: _values(each.key, each.distribution) for each in space.dimensions}


def limit_to_grid(settings: Settings, space: Space) -> Settings:
    """Set the trials of a grid to its points where more are asked for; another sampler's settings stay as they are."""
    if not sampler_traits(settings.sampler).grid:
        return settings
    num_points = math.prod(len(values) for values in grid_of(space).values())
    return replace(settings, num_trials=min(settings.num_trials, num_points))


def _values(key: str, distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    if distribution.single():
        return [distribution.low]
    allowed = "a grid needs a list of values in every dimension"
    raise config_error(key, f"{distribution.low} to {distribution.high}", allowed, f"{key}=0.01,0.1,1")


def batch_dimension(space: Space) -> Dimension | None:
    """Find the dimension of the batch size, where it alone decides what fits into memory."""
    declared = ((each, declared_key(each.key.lstrip("+"))) for each in space.dimensions)
    moving = [each for each, key in declared if key.affects & ~key.coarse & (Affects.MEMORY | Affects.BATCH)]
    return moving[0] if [each.key for each in moving] == ["batch_size"] else None


def smallest_too_large(trials: Sequence[FrozenTrial], batch: Dimension) -> float:
    """Find the smallest batch size that ran out of memory; infinity where all fitted."""
    sizes = [
        float(batch.text(trial.params[batch.name]))
        for trial in trials
        if trial.state is TrialState.PRUNED  # infeasible; asked first, for attributes are copied
        and (trial.user_attrs.get(RESULT) or {}).get("outcome") == "out_of_memory"
        and batch.name in trial.params
    ]
    return min(sizes, default=float("inf"))


def draw_one_that_fits(
    study: Study, trial: Trial, batch: Dimension, limit: float, again: Callable[[int], BaseSampler]
) -> None:
    """Have the study's sampler draw until the batch size is below a limit; the trial then suggests what was drawn last.

    Memory grows with the batch: what is larger than a size that ran out of memory does not fit either. `again` returns
    a sampler with other random numbers for the number of a try; nothing was suggested to the trial yet.
    """
    if is_fixed(trial, batch.name):
        return
    for attempt in range(1, TRIES + RANDOM_TRIES):
        is_random = attempt > TRIES
        sampler = RandomSampler(seed=1000 * trial.number + attempt) if is_random else study.sampler
        drawn = None if is_random else trial.relative_params.get(batch.name)
        if drawn is None:
            drawn = sampler.sample_independent(study, frozen(trial), batch.name, batch.distribution)
        if float(batch.text(drawn)) < limit:
            fix_param(trial, batch.name, drawn)
            return
        if attempt < TRIES:
            study.sampler = again(attempt)
            forget_relative_params(trial)  # drawn anew when it is asked next

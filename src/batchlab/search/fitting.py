"""Batch sizes that are known not to fit are not tried again: memory grows with the batch, so neither do larger ones."""

from collections.abc import Callable, Sequence

from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from batchlab.config.keys import Affects
from batchlab.config.schema import declared_key
from batchlab.search.finalize import RESULT
from batchlab.search.optuna_internals import fix_param, forget_relative_params, frozen, is_fixed
from batchlab.search.space import Dimension, Space

TRIES = 5
"""Draws of the sampler, after which batch sizes are drawn at random."""
RANDOM_TRIES = 200
"""Random draws, after which the sampler has its way: then nearly all of the space does not fit."""


def batch_dimension(space: Space) -> Dimension | None:
    """The dimension of the batch size, where it alone decides what fits."""
    moving = [each for each in space.dimensions if _moves_memory(each.key.lstrip("+"))]
    return moving[0] if [each.key for each in moving] == ["batch_size"] else None


def _moves_memory(key: str) -> bool:
    declared, memory = declared_key(key), Affects.MEMORY | Affects.BATCH
    return bool(declared.affects & ~declared.coarse & memory)


def smallest_too_large(trials: Sequence[FrozenTrial], batch: Dimension) -> float:
    """The smallest batch size that ran out of memory; infinity where all fitted."""
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
    """Have the sampler draw until the batch size is below a limit; the trial then suggests what was drawn last.

    Args:
        study: whose sampler draws.
        trial: nothing was suggested yet.
        batch: the dimension of the batch size.
        limit: in examples.
        again: number of the try -> a sampler with other random numbers.
    """
    if is_fixed(trial, batch.name):
        return
    for attempt in range(1, TRIES + RANDOM_TRIES):
        is_random = attempt > TRIES
        sampler = _random(trial, attempt) if is_random else study.sampler
        drawn = None if is_random else trial.relative_params.get(batch.name)
        if drawn is None:
            drawn = sampler.sample_independent(study, frozen(trial), batch.name, batch.distribution)
        if float(batch.text(drawn)) < limit:
            fix_param(trial, batch.name, drawn)
            return
        if attempt < TRIES:
            study.sampler = again(attempt)
            forget_relative_params(trial)  # drawn anew when it is asked next


def _random(trial: Trial, attempt: int) -> BaseSampler:
    return RandomSampler(seed=1000 * trial.number + attempt)

"""Optuna's private parts that the search relies on, all of them; tests/search/test_optuna_internals.py says how.

`Study.ask` and `Study.tell` read every trial and copy it; with these a trial costs a fifth of that.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.storages._grpc.server import make_server
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session as scoped_session
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

__all__ = ["make_server", "models", "scoped_session"]


def storage_of(study: Study) -> BaseStorage:
    """Return the storage that a study was opened with."""
    return study._storage


def study_id_of(study: Study) -> int:
    """Return the id of a study in its storage."""
    return study._study_id


def trial_id_of(trial: Trial | FrozenTrial) -> int:
    """Return the id of a trial in its storage; `number` counts within the study."""
    return trial._trial_id


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """Suggest a value of any distribution, as `Trial.suggest_float` and the others do for theirs."""
    return trial._suggest(name, distribution)


def set_known_trials(study: Study, trials: list[FrozenTrial]) -> None:
    """Have the sampler see these trials, instead of reading all of the study's again."""
    study._thread_local.cached_all_trials = trials


def frozen(trial: Trial) -> FrozenTrial:
    """Return a running trial as samplers get it, with what was suggested so far."""
    return trial._cached_frozen_trial


def completed(trial: Trial, values: Sequence[float]) -> FrozenTrial:
    """Copy of a running trial as it will be read once it is complete."""
    ended = copy(trial._cached_frozen_trial)
    ended.state, ended._values = TrialState.COMPLETE, list(values)
    return ended


def is_fixed(trial: Trial, name: str) -> bool:
    """Tell whether a parameter of a trial is enqueued, so that no sampler is asked for it."""
    return name in trial._fixed_params


def fix_param(trial: Trial, name: str, value: Any) -> None:
    """Have a trial suggest this value, as if it were enqueued."""
    trial._fixed_params = {**trial._fixed_params, name: value}


def forget_relative_params(trial: Trial) -> None:
    """Have the sampler draw relative parameters anew when a trial asks next."""
    trial._relative_params = trial.relative_search_space = None

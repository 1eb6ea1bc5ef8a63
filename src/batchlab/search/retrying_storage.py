"""Optuna's storage on a server, as if the server were always there."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from batchlab.search.retry import with_retries
from batchlab.search.stale_trials import own_lease


def _retrying(name: str) -> Any:
    """The storage's method of that name; repeated after an outage, it comes to the same as once."""

    def method(self: "RetryingStorage", *arguments: Any, **named: Any) -> Any:
        return with_retries(partial(getattr(self._storage, name), *arguments, **named), self._address)

    method.__name__ = name
    return method


class RetryingStorage(BaseStorage):
    """Hands everything on to a storage; what fails because the server is away is done when it is back.

    Attributes are written anew, a parameter that is there already is left as it is, a study of that name is found, and
    a slot that has a trial gets no second one (`server.ServerStorage`). A state is looked at before it is set again.

    Args:
        storage: on the server.
        address: of the server, for people.
    """

    def __init__(self, storage: BaseStorage, address: str) -> None:
        self._storage, self._address = storage, address

    create_new_study = _retrying("create_new_study")
    delete_study = _retrying("delete_study")
    set_study_user_attr = _retrying("set_study_user_attr")
    set_study_system_attr = _retrying("set_study_system_attr")
    get_study_id_from_name = _retrying("get_study_id_from_name")
    get_study_name_from_id = _retrying("get_study_name_from_id")
    get_study_directions = _retrying("get_study_directions")
    get_study_user_attrs = _retrying("get_study_user_attrs")
    get_study_system_attrs = _retrying("get_study_system_attrs")
    get_all_studies = _retrying("get_all_studies")
    create_new_trial = _retrying("create_new_trial")
    set_trial_param = _retrying("set_trial_param")
    get_trial_id_from_study_id_trial_number = _retrying("get_trial_id_from_study_id_trial_number")
    set_trial_intermediate_value = _retrying("set_trial_intermediate_value")
    set_trial_user_attr = _retrying("set_trial_user_attr")
    set_trial_system_attr = _retrying("set_trial_system_attr")
    get_trial = _retrying("get_trial")
    get_all_trials = _retrying("get_all_trials")
    get_best_trial = _retrying("get_best_trial")
    remove_session = _retrying("remove_session")

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set a trial's state and values, once."""
        once = partial(self._storage.set_trial_state_values, trial_id, state, values)
        return with_retries(once, self._address, again=lambda: self._again(trial_id, state, values))

    def _again(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> bool:
        """The same where the first time may have been done already, and only its answer was lost."""
        try:
            if self._storage.set_trial_state_values(trial_id, state, values):
                return True
        except UpdateFinishedTrialError:
            trial = self._storage.get_trial(trial_id)
            if trial.state is state and trial.values == (list(values) if values else None):
                return True
            raise
        owner, own = self._storage.get_trial(trial_id).user_attrs.get("lease") or {}, own_lease().as_attribute()
        return state is TrialState.RUNNING and owner | {"beat": 0} == own

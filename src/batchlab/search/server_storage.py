"""Optuna's storage on a server: one living trial per slot, taken together with its lease; outages are waited out.

The study's lock makes sure of that as long as its connection lives. A connection can be cut between two operations,
and a commit can be done whose answer is lost; what is below holds in the transaction itself.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, cast

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import make_url, select
from sqlalchemy.orm import Session, aliased

from batchlab.search.optuna_internals import models, scoped_session
from batchlab.search.retry import with_retries
from batchlab.search.stale_trials import own_lease

CONNECTION: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""libpq's own settings: a host that vanished without a word is noticed within a minute and a half."""
LIBPQ = ("psycopg", "psycopg2", "psycopg_async")


def engine_settings(address: str, num_connections: int) -> dict[str, Any]:
    """Return settings of an engine: a connection is tested before use; what the address says itself counts."""
    url = make_url(address)
    is_libpq = url.get_backend_name() == "postgresql" and url.get_driver_name() in LIBPQ
    typed = {key: value for key, value in CONNECTION.items() if key not in url.query} if is_libpq else {}
    return {"pool_pre_ping": True, "pool_size": num_connections, "connect_args": typed}


class ServerStorage(RDBStorage):
    """Optuna's storage, with two of its transactions made safe against answers that are lost.

    The lease of this process is written with the state when a trial begins to run; None where other processes run the
    trials, as behind a proxy.
    """

    def __init__(self, address: str, lease: dict[str, Any] | None, num_connections: int = 1) -> None:
        super().__init__(address, engine_kwargs=engine_settings(address, num_connections))
        self._lease = lease

    def _get_prepared_new_trial(self, study_id: int, template_trial: FrozenTrial | None, session: Session) -> Any:
        """A new trial; where its slot has one that waits, runs or is done, that one. The study's row is locked."""
        slot = template_trial.user_attrs.get("slot") if template_trial else None
        known = living_trial(session, study_id, slot) if slot is not None else None
        return known or super()._get_prepared_new_trial(study_id, template_trial, session)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set a trial's state; one that begins to run has this process's lease from the same moment."""
        if state is not TrialState.RUNNING or self._lease is None:
            return super().set_trial_state_values(trial_id, state, values)
        with scoped_session(self.scoped_session) as session:
            trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            state_now = cast(TrialState, trial.state)
            self.check_trial_is_updatable(trial_id, state_now)
            if state_now is not TrialState.WAITING:
                return False
            self._set_trial_attr_without_commit(session, models.TrialUserAttributeModel, trial_id, "lease", self._lease)
            trial.state, trial.datetime_start = TrialState.RUNNING, datetime.now()  # pyright: ignore
        return True


def living_trial(session: Session, study_id: int, slot: int) -> models.TrialModel | None:
    """Query the trial that fills a slot, or is going to; the session holds the lock on the study's row.

    One that was lost with its worker or given back does not count.
    """
    attribute, lost = models.TrialUserAttributeModel, aliased(models.TrialUserAttributeModel)
    is_lost = select(lost.trial_id).where(lost.trial_id == models.TrialModel.trial_id, lost.key == "lost").exists()
    is_open = models.TrialModel.state.in_((TrialState.WAITING, TrialState.RUNNING))
    return (
        session.query(models.TrialModel)
        .join(attribute, attribute.trial_id == models.TrialModel.trial_id)
        .filter(models.TrialModel.study_id == study_id)
        .filter(attribute.key == "slot", attribute.value_json == json.dumps(slot))
        .filter(is_open | ~is_lost)
        .order_by(models.TrialModel.trial_id)
        .first()
    )


def _retrying(name: str) -> Any:
    """The storage's method of that name; repeated after an outage, it comes to the same as once."""

    def method(self: "RetryingStorage", *arguments: Any, **named: Any) -> Any:
        return with_retries(partial(getattr(self._storage, name), *arguments, **named), self._address)

    method.__name__ = name
    return method


class RetryingStorage(BaseStorage):
    """A storage on a server as if it were always there: what fails while it is away is done when it is back.

    Attributes are written anew, a parameter that is there already is left as it is, a study of that name is found, and
    a slot that has a trial gets no second one (`ServerStorage`). A state is looked at before it is set again.
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

"""Optuna's tables on a database server: a slot has one living trial, and is taken together with its lease.

The study's lock makes sure of that as long as its connection lives. A connection can be cut between two operations,
and a commit can be done whose answer is lost; what is below holds in the transaction itself.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import make_url, select
from sqlalchemy.orm import Session, aliased

from batchlab.search.optuna_internals import models, scoped_session

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
    """How to connect: a connection is looked at before it is used; what the address says itself counts.

    Args:
        address: of SQLAlchemy.
        num_connections: that are kept.
    """
    url = make_url(address)
    is_libpq = url.get_backend_name() == "postgresql" and url.get_driver_name() in LIBPQ
    typed = {key: value for key, value in CONNECTION.items() if key not in url.query} if is_libpq else {}
    return {"pool_pre_ping": True, "pool_size": num_connections, "connect_args": typed}


class ServerStorage(RDBStorage):
    """Optuna's storage, with two of its transactions made safe against answers that are lost.

    Args:
        address: of SQLAlchemy.
        lease: of this process, written with the state when a trial begins to run; None where the trials are run by
            other processes, as behind a proxy.
        num_connections: that are kept.
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
    """The trial that fills a slot, or is going to; one that was lost with its worker or given back does not count.

    Args:
        session: of a transaction that holds the lock on the study's row.
        study_id: in the storage.
        slot: its place among the study's.
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

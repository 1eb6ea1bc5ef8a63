"""The slots of a study, of which every one is done exactly once, whatever dies.

A slot is one of the `n_trials` places of a study. A trial fills a slot; a trial that was lost with its worker, or
stopped by a person, leaves it open, and the next trial of that slot has the same parameters. Which slots are open
follows from the trials alone, so a process that dies at any point leaves nothing to repair.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from batchlab.search.finalize import JobOutcome, finalize
from batchlab.search.optuna_internals import completed, set_known_trials, storage_of, study_id_of, trial_id_of
from batchlab.search.settings import Settings
from batchlab.search.stale_trials import Lease, StaleTrialDetector
from batchlab.search.storage import study_lock
from batchlab.search.study import is_done

LOT = 4
"""Slots that a process queues for itself at once: whoever asks Optuna reads every trial that is not finished."""


@dataclass(frozen=True)
class WaitingTrial:
    """A trial that waits for the slot that it would fill."""

    trial_id: int
    slot: int
    is_leased: bool  # its lease names this process already


class TrialQueue:
    """Takes slots of a study, one process at a time; the first slots have parameters given."""

    def __init__(self, study: Study, settings: Settings, lease: Lease, first_points: Sequence[dict[str, Any]]) -> None:
        self._study, self._settings, self._lease = study, settings, lease
        self._first_points, self._detector = first_points, StaleTrialDetector()
        self._waiting: list[WaitingTrial] = []
        self._known: list[FrozenTrial] = []
        self._lot = LOT * settings.num_jobs
        # hosts that share a proxy have no lock between them: a slot that is queued may have got another's trial
        self._is_exclusive = not str(settings.storage).startswith("grpc://")

    @property
    def _storage(self) -> BaseStorage:
        return storage_of(self._study)  # the storage is what a study is opened with, and offers no way back

    def _lock(self) -> AbstractContextManager[None]:
        return study_lock(self._settings.mlruns, self._settings.storage, self._settings.study)

    def claim(self, sampler: Callable[[int, int], BaseSampler]) -> Trial | None:
        """Claim a trial for an open slot, running and leased by this process; None where no slot is open.

        The sampler sees what this process measured at once, and what others measured since slots were last queued
        when they are queued again: reading all trials takes Optuna a fifth of what a trial may cost.
        `sampler` returns the one that will be asked for (slot, 0).
        """
        with self._lock():
            while True:
                while self._waiting:
                    place = self._waiting.pop(0)
                    if self._begin(place):
                        set_known_trials(self._study, self._known)  # what Study.ask sets to None
                        self._study.sampler = sampler(place.slot, 0)
                        return Trial(self._study, place.trial_id)
                if not self._fill():
                    return None

    @property
    def known(self) -> list[FrozenTrial]:
        """Return the trials that this process has seen end, or that had ended when slots were last queued."""
        return self._known

    def learn(self, trial: Trial, values: Sequence[float]) -> None:
        """Have the sampler know a finished trial of this process; `values` is empty where it has no objectives."""
        self._known.append(completed(trial, values) if values else self._storage.get_trial(trial_id_of(trial)))

    def _begin(self, place: WaitingTrial) -> bool:
        try:
            if not self._storage.set_trial_state_values(place.trial_id, TrialState.RUNNING):
                return False
        except UpdateFinishedTrialError:
            return False
        if not place.is_leased:
            self._storage.set_trial_user_attr(place.trial_id, "lease", self._lease.as_attribute())
        return True

    def _fill(self) -> bool:
        """Queue the next open slots; whether any waits now. The lock is held."""
        trials = self._study.get_trials(deepcopy=False)
        if self._reap_stale(trials):
            trials = self._study.get_trials(deepcopy=False)
        taken, lost = set(), {}
        for trial in trials:
            slot = trial.user_attrs.get("slot", trial.number)
            if trial.state in (TrialState.WAITING, TrialState.RUNNING) or is_done(trial):
                taken.add(slot)
            else:
                lost[slot] = trial
        self._known = [trial for trial in trials if trial.state is not TrialState.WAITING]
        missing = [slot for slot in range(self._settings.num_trials) if slot not in taken]
        queued = [(self._queue(slot, lost.get(slot)), slot) for slot in missing[: self._lot]]
        self._waiting = [WaitingTrial(trial_id, slot, self._is_exclusive) for trial_id, slot in queued]
        if not queued:  # what others queued for themselves, mostly in vain, comes last
            waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
            places = [
                WaitingTrial(trial_id_of(trial), trial.user_attrs.get("slot", trial.number), False) for trial in waiting
            ]
            self._waiting = [place for place in places if place.slot < self._settings.num_trials]
        return bool(self._waiting)

    def _queue(self, slot: int, lost: FrozenTrial | None) -> int:
        attributes: dict[str, Any] = {"slot": slot, "lease": self._lease.as_attribute()}  # mostly it is we who take it
        params = self._first_points[slot] if slot < len(self._first_points) else {}
        if lost is not None:
            params = lost.params or params
            attributes |= {"losses": lost.user_attrs["losses"], "again": lost.number}
            attributes |= {name: value for name, value in lost.user_attrs.items() if name == "resumed_from_step"}
        fixed = {"fixed_params": params} if params else {}  # a grid takes an empty one for a point of ours
        template = create_trial(state=TrialState.WAITING, user_attrs=attributes, system_attrs=fixed)
        return self._storage.create_new_trial(study_id_of(self._study), template)

    def reap_stale(self) -> int:
        """End the trials whose process is dead, and count them; their slots are open again."""
        with self._lock():
            return self._reap_stale(self._study.get_trials(deepcopy=False))

    def _reap_stale(self, trials: list[FrozenTrial]) -> int:
        dead = [
            trial
            for trial in trials
            if trial.state is TrialState.RUNNING and self._detector.is_dead(trial.user_attrs.get("lease"))
        ]
        for trial in dead:
            finalize(self._study, trial_id_of(trial), JobOutcome("lost"))
        return len(dead)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Give back this process's trials, whatever ends the block, even between taking a slot and working on it."""
        try:
            yield
        finally:
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if _owner(trial) == (self._lease.realm, self._lease.pid):
                    finalize(self._study, trial_id_of(trial), JobOutcome("stopped"))

    def running_elsewhere(self) -> list[FrozenTrial]:
        """List the trials that a living process other than this one works on."""
        own = (self._lease.realm, self._lease.pid)
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        others = [trial for trial in running if _owner(trial) != own]
        return [trial for trial in others if not self._detector.is_dead(trial.user_attrs.get("lease"))]


def _owner(trial: FrozenTrial) -> tuple[str, int] | None:
    lease = trial.user_attrs.get("lease")
    return (lease["realm"], lease["pid"]) if lease else None

"""The final state of a trial in Optuna: by the result that its job wrote, or by what became of the job."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from batchlab.search.optuna_internals import storage_of

MAX_LOSSES = 4
"""A point whose worker died with it so often counts as done: infeasible, or the search would not end."""
RESULT = "result"
"""User attribute in which a job leaves its outcome, objective values and costs."""
INFEASIBLE = ("diverged", "out_of_memory", "no_value")


@dataclass(frozen=True)
class JobOutcome:
    """End of a job, which counts where it wrote no result."""

    # crashed (an exception of its own), lost (its process is gone), stopped (by a person or the timeout), or returned
    # (a task function that knows nothing of trials)
    kind: Literal["crashed", "lost", "stopped", "returned"]
    text: str = ""  # the traceback of a crash
    cause: str = ""  # its exception, one line
    values: Sequence[float] = ()  # what the task function returned


def finalize(study: Study, trial_id: int, ending: JobOutcome) -> bool:
    """Set a trial's final state; a trial that has ended already is left alone. Returns whether it crashed by itself.

    The state is set in the storage and not by `Study.tell`, which takes three times as long, and whose one effect
    beside it, the sampler's `after_trial`, is empty for Optuna's samplers or wants to stop a `Study.optimize`.
    """
    try:
        if has_values(study, ending):  # most have, so the trial is not read again
            storage_of(study).set_trial_state_values(
                trial_id, TrialState.COMPLETE, [float(value) for value in ending.values]
            )
            return False
        return _finalize_by_result(study, trial_id, ending)
    except UpdateFinishedTrialError:
        return False


def _finalize_by_result(study: Study, trial_id: int, ending: JobOutcome) -> bool:
    storage = storage_of(study)
    trial = storage.get_trial(trial_id)
    if trial.state.is_finished():
        return False
    result = trial.user_attrs.get(RESULT)
    if result is not None and result["outcome"] == "done":
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, result["values"])
    elif result is not None and result["outcome"] != "stopped":
        if result["outcome"] in INFEASIBLE:
            _mark_infeasible(study, trial_id, result["outcome"])
        storage.set_trial_state_values(trial_id, TrialState.PRUNED)
    elif result is not None or ending.kind in ("lost", "stopped"):
        _give_back(study, trial, trial_id, is_loss=ending.kind == "lost")
    else:
        cause = ending.cause or f"returned {list(ending.values)}, not {len(study.directions)} finite numbers"
        storage.set_trial_user_attr(trial_id, "cause", cause)
        storage.set_trial_user_attr(trial_id, "traceback", ending.text)
        storage.set_trial_state_values(trial_id, TrialState.FAIL)
        return True
    return False


def _mark_infeasible(study: Study, trial_id: int, reason: str) -> None:
    Trial(study, trial_id).set_constraint(reason, 1.0)
    # optuna-dashboard 0.21 reads the attribute of Optuna 4
    storage_of(study).set_trial_system_attr(trial_id, "constraints", [1.0])


def _give_back(study: Study, trial: FrozenTrial, trial_id: int, is_loss: bool) -> None:
    """Leave the slot open; a point that loses its worker again and again is closed as infeasible."""
    storage, losses = storage_of(study), trial.user_attrs.get("losses", 0) + int(is_loss)
    storage.set_trial_user_attr(trial_id, "losses", losses)
    if losses >= MAX_LOSSES:
        storage.set_trial_user_attr(trial_id, "cause", f"its worker died with it {losses} times")
        _mark_infeasible(study, trial_id, "lost")
        storage.set_trial_state_values(trial_id, TrialState.PRUNED)
        return
    storage.set_trial_user_attr(trial_id, "lost", "its worker died" if is_loss else "stopped")
    storage.set_trial_state_values(trial_id, TrialState.FAIL)


def has_values(study: Study, ending: JobOutcome) -> bool:
    """Tell whether a job returned a finite number for each objective; then it is done, whatever else it wrote."""
    are_finite = (isinstance(value, int | float) and math.isfinite(value) for value in ending.values)
    return ending.kind == "returned" and len(ending.values) == len(study.directions) and all(are_finite)

"""The study: opened or created once, with a fingerprint; which of its trials are done."""

import math
import warnings
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from batchlab.config.identity import by_name
from batchlab.config.keys import MISSING
from batchlab.config.schema import declared_key
from batchlab.errors import ConfigError, ConfigErrors
from batchlab.search.settings import Settings
from batchlab.search.storage import study_lock

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
DIGEST = "data_digest"
"""Of the fingerprint: what the examples of a study are known by."""
FEW = 5
"""The failure rate is a share of at least so many trials."""


class DataChanged(ConfigErrors):
    """A job has read other examples than the study was begun with; the search cannot go on."""


class TooManyFailures(RuntimeError):
    """More trials crashed than hydra.sweeper.max_failure_rate allows."""


def open_study(settings: Settings, storage: BaseStorage, fingerprint: dict[str, Any]) -> Study:
    """Open the study, created with a fingerprint where there is none; made by one process, found by the others."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with study_lock(settings.mlruns, settings.storage, settings.study):
        study = optuna.create_study(
            study_name=settings.study,
            storage=storage,
            directions=[StudyDirection[each.upper()] for each in settings.directions],
            load_if_exists=True,
        )
        if "fingerprint" not in study.user_attrs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                study.set_metric_names(list(settings.metrics))
            study.set_user_attr("fingerprint", fingerprint)
    return study


def found_study(settings: Settings, storage: BaseStorage) -> Study | None:
    """Load the study where there is one; nothing is written."""
    try:
        return optuna.load_study(study_name=settings.study, storage=storage)
    except KeyError:
        return None


def metrics_of(study: Study) -> tuple[list[str], list[str]]:
    """Read names and directions of a study's objectives."""
    directions = [direction.name.lower() for direction in study.directions]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return list(study.metric_names or map(str, range(len(directions)))), directions


def check_fingerprint(study: Study, fingerprint: dict[str, Any]) -> list[ConfigError]:
    """Compare a study's fingerprint with the one asked for now; an error for each key that differs."""
    known = study.user_attrs.get("fingerprint", {})
    errors = []
    for key in sorted({*known, *fingerprint}):
        default = declared_key(key).default  # which is in no fingerprint
        unset = "(nothing)" if default == MISSING else str(default)
        before, now = by_name(key, known.get(key, unset)), fingerprint.get(key, unset)
        if default == MISSING and {before, now} <= {unset, str(None)}:
            continue  # a key that one of the two versions does not have is not set in the other
        if before != now:
            allowed = f"the study {study.study_name} was begun with {before}"
            fix = f"{'study' if DIGEST in fingerprint else 'hydra.sweeper.study_name'}={study.study_name}-2"
            errors.append(changed_data(study, now) if key == DIGEST else ConfigError(key, now, allowed, fix))
    return errors


def changed_data(study: Study, digest: str) -> ConfigError:
    """Make the error of a data set that is not the one that a study was begun with."""
    before = study.user_attrs["fingerprint"].get(DIGEST, "(nothing)")
    allowed = f"the data has changed: the study {study.study_name} was begun with other examples, {before[:12]}"
    return ConfigError(DIGEST, digest[:12], allowed, f"study={study.study_name}-2, or have the data as it was")


def is_done(trial: FrozenTrial) -> bool:
    """Tell whether a trial fills its slot for good: complete, pruned, or failed by a crash of its own."""
    return trial.state in FINISHED and "lost" not in trial.user_attrs


def done_trials(study: Study, num_trials: float = math.inf) -> list[FrozenTrial]:
    """List the trials that fill the first `num_trials` slots for good, by number."""
    trials = study.get_trials(deepcopy=False, states=FINISHED)
    return [trial for trial in trials if is_done(trial) and trial.user_attrs.get("slot", trial.number) < num_trials]


def check_failures(study: Study, max_failure_rate: float, at_least: int = FEW) -> None:
    """Raise TooManyFailures where too large a share of the trials done (or of `at_least`) crashed, whoever ran them."""
    done = done_trials(study)
    failed = [trial for trial in done if trial.state is TrialState.FAIL]
    if len(failed) > max_failure_rate * max(len(done), at_least):
        raise TooManyFailures(
            f"{len(failed)} of {len(done)} trials crashed, more than hydra.sweeper.max_failure_rate="
            f"{max_failure_rate:g} allows. Trial {failed[-1].number}, the last: {failed[-1].user_attrs.get('cause')}"
        )

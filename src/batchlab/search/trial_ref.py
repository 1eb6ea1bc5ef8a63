"""The reference to its trial that a search hands to a job."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from batchlab.search.settings import Settings

TRIAL = "BATCHLAB_TRIAL"
"""Environment variable in which a job in another process finds its `TrialRef`."""


@dataclass(frozen=True)
class TrialRef:
    """Reference by which a job finds its trial in any process; Hydra's configuration has the address of the storage."""

    trial_id: int  # in the storage
    number: int  # the trial's
    deadline: float | None  # time.time() at which to stop; None = never
    study: str  # the study's name
    metrics: list[str]  # names of the objectives
    directions: list[str]  # minimize or maximize, one per objective
    mlruns: str  # folder of results
    prune: bool  # whether the trial may be stopped before its end
    pruner: dict[str, Any] | None  # node of Optuna's pruner, or None
    tried: str  # what was suggested, for people
    may_repeat: bool  # whether the search may come upon a point twice; in a continuous space it does not

    @classmethod
    def of(
        cls, settings: Settings, trial_id: int, number: int, deadline: float, tried: str, may_repeat: bool
    ) -> "TrialRef":
        """Make the reference of a trial of a search."""
        metrics, directions = list(settings.metrics), list(settings.directions)
        until, how = deadline if math.isfinite(deadline) else None, (settings.prune, settings.pruner)
        return cls(
            trial_id, number, until, settings.study, metrics, directions, settings.mlruns, *how, tried, may_repeat
        )

    def as_text(self) -> str:
        """Return it as it stands in the environment of a launcher's job."""
        return json.dumps(asdict(self))


_handed_over: TrialRef | None = None


@contextmanager
def trial_here(ref: TrialRef) -> Iterator[None]:
    """Hand a trial over to the job that runs inside in this process."""
    global _handed_over
    _handed_over = ref
    try:
        yield
    finally:
        _handed_over = None


def current_ref() -> TrialRef | None:
    """Return the trial of this job: handed over in this process, else by a launcher's environment; None outside one."""
    if _handed_over is None and TRIAL in os.environ:
        return TrialRef(**json.loads(os.environ[TRIAL]))
    return _handed_over

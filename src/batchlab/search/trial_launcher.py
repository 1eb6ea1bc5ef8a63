"""Runs the jobs of trials: in this process, or through a Hydra launcher."""

import logging
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import OmegaConf, open_dict

from batchlab.config.hydra_internals import is_in_process, job_error
from batchlab.errors import reason
from batchlab.search.finalize import JobOutcome
from batchlab.search.retry import StorageUnavailable
from batchlab.search.settings import Settings
from batchlab.search.space import in_words
from batchlab.search.study import DataChanged
from batchlab.search.trial_configs import Composer
from batchlab.search.trial_ref import TRIAL, TrialRef, trial_here
from batchlab.system.child_processes import SWEEP_ID
from batchlab.system.torchrun_env import RanksFailed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One trial's job, with its overrides: those that change which files are composed, and the others."""

    trial_id: int
    number: int
    structural: Sequence[str]
    plain: Sequence[str]


class TrialRunner:
    """Runs jobs until a deadline (time.monotonic()); the basic launcher is bypassed: it composes anew for every job."""

    def __init__(
        self,
        settings: Settings,
        context: HydraContext,
        task: TaskFunction,
        launcher: Launcher,
        composer: Composer,
        deadline: float,
    ) -> None:
        self._context, self._task, self._launcher, self._composer = context, task, launcher, composer
        self._settings, self._deadline, self._may_repeat = settings, deadline, composer.space.is_discrete
        setup_globals()

    def run(self, jobs: Sequence[Job], fixed: Sequence[str]) -> list[JobOutcome]:
        """Run jobs to their end, together: a launcher waits for the slowest. `fixed` are overrides of every job.

        Raises:
            DataChanged: where a job found the data set changed.
        """
        sweep = OmegaConf.to_container(self._composer.base().hydra.sweep, resolve=False)
        if is_in_process(self._launcher) and "override_dirname" not in str(sweep):
            return [_outcome_of(self._run_here(job)) for job in jobs]
        sweep_id = os.environ.get(SWEEP_ID)  # a launcher's machine may not have inherited this one's environment
        inherited = {SWEEP_ID: sweep_id} if sweep_id else {}
        lines = []
        for job in jobs:
            carried = {TRIAL: self._ref(job).as_text()} | inherited
            environment = [f"+hydra.job.env_set.{name}='{value}'" for name, value in carried.items()]
            lines.append([*fixed, *job.structural, *job.plain, *environment])
        try:
            returned = self._launcher.launch(lines, initial_job_idx=jobs[0].number)
        except Exception:
            # one job's process died and took the others' answers with it; what they left in the store counts
            log.warning("The launcher failed:\n%s", traceback.format_exc())
            return [JobOutcome("lost") for _ in jobs]
        return [_outcome_of(each) for each in returned]

    def _ref(self, job: Job) -> TrialRef:
        tried = in_words([*job.structural, *job.plain]).replace("'", "")  # it may stand in quotes
        deadline = time.time() + self._deadline - time.monotonic()  # a launcher's job may be on another host
        return TrialRef.of(self._settings, job.trial_id, job.number, deadline, tried, self._may_repeat)

    def _run_here(self, job: Job) -> JobReturn:
        config = self._composer.job(job.structural, job.plain)
        with open_dict(config.hydra.job):
            config.hydra.job.num, config.hydra.job.id = job.number, str(job.number)
        with trial_here(self._ref(job)):
            return run_job(
                hydra_context=self._context,
                task_function=self._task,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )


def _outcome_of(returned: JobReturn) -> JobOutcome:
    if returned.status is JobStatus.FAILED:
        error = job_error(returned)
        if isinstance(error, RanksFailed):  # of the machine, not of the point that was tried
            return JobOutcome("lost")
        if isinstance(error, StorageUnavailable):  # the job could not say what it found; that is no fault of the point
            return JobOutcome("stopped")
        if isinstance(error, DataChanged):
            raise error
        cause = f"{type(error).__name__}: {reason(error)}"
        return JobOutcome("crashed", "".join(traceback.format_exception(error)), cause)
    values: Any = returned.return_value
    return JobOutcome("returned", values=values if isinstance(values, list | tuple) else [values])

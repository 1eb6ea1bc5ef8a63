"""The search loop of one process: claim a slot, ask Optuna for a point, run it, set its trial's final state."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf
from optuna.study import Study
from optuna.trial import Trial

from batchlab.config.objectives import CALIBRATED, MEASURED
from batchlab.errors import ConfigErrors
from batchlab.search.finalize import JobOutcome, finalize, has_values
from batchlab.search.first_points import first_points
from batchlab.search.optuna_internals import storage_of, suggest, trial_id_of
from batchlab.search.picks import write_solutions
from batchlab.search.retry import without_retries
from batchlab.search.sampler import batch_dimension, draw_one_that_fits, limit_to_grid, sampler_of, smallest_too_large
from batchlab.search.search_plan import fingerprint, fix_time_objective, score_metric, storage_error
from batchlab.search.settings import Settings, read_settings
from batchlab.search.space import Dimension, Space
from batchlab.search.stale_trials import SECONDS_BETWEEN_BEATS, Lease, own_lease
from batchlab.search.storage import open_storage
from batchlab.search.study import check_failures, check_fingerprint, done_trials, found_study, open_study
from batchlab.search.sweeper_keys import sampler_traits
from batchlab.search.trial_configs import Composer, parse_space
from batchlab.search.trial_launcher import Job, TrialRunner
from batchlab.search.trial_queue import TrialQueue
from batchlab.search.workers import supervise, visible_gpus
from batchlab.system.child_processes import UNTIL, WORKER
from batchlab.system.signals import check_stop, signals_wait


def search(
    context: HydraContext,
    task: TaskFunction,
    launcher: Launcher,
    master: DictConfig,
    arguments: list[str],
    show: Callable[[Study, Settings, Space], None] | None = None,
) -> None:
    """Work on the study until its slots are done, or the time is over: in this process, or as the workers' supervisor.

    `master` is the configuration that Hydra composed for the sweep; `arguments` are the typed overrides. `show`
    is called when the search ends, however it ends; not in workers.
    """
    HydraConfig.instance().set_config(master)  # Hydra does so for jobs only; the study's name is made of its choices
    settings = read_settings(master, score_metric(master))
    deadline = time.monotonic() + settings.timeout if settings.timeout else float("inf")
    space = parse_space(settings, arguments, context.config_loader)
    settings = limit_to_grid(settings, space)
    try:
        storage = open_storage(settings.mlruns, settings.storage)
    except Exception as error:
        raise ConfigErrors(storage_error(settings, error)) from error
    settings, space = fix_time_objective(settings, space, master, found_study(settings, storage))
    composer = Composer(context.config_loader, master, space)
    stamp = fingerprint(settings, space, composer.base())
    study = open_study(settings, storage, stamp)
    if errors := check_fingerprint(study, stamp):
        raise ConfigErrors(*errors)
    if WORKER not in os.environ:
        announce(study, settings, space)
    is_grid = sampler_traits(settings.sampler).grid  # which has points of its own
    points = [] if is_grid else first_points(settings, space, composer.base())
    queue = TrialQueue(study, settings, own_lease(), points)
    try:
        if settings.num_workers and WORKER not in os.environ:
            typed = OmegaConf.select(composer.base(), "device", default="auto")  # cuda:1 counts among all of them
            supervise(study, settings, space, queue, deadline, visible_gpus() if typed in ("auto", "cuda") else ())
        else:
            deadline = min(deadline, float(os.environ.get(UNTIL, "inf")))
            jobs = TrialRunner(settings, context, task, launcher, composer, deadline)
            SearchLoop(study, settings, space, queue, composer, jobs).run(own_lease(), deadline)
        if WORKER not in os.environ:
            check_failures(study, settings.max_failure_rate, at_least=0)
    finally:
        if WORKER not in os.environ:
            write_solutions(Path(master.hydra.sweep.dir), study, settings, space)
            if show is not None:
                show(study, settings, space)


def announce(study: Study, settings: Settings, space: Space) -> None:
    """Print what is searched, and how many trials are done."""
    num_done = len(done_trials(study, settings.num_trials))
    so_far = f", {num_done} of them done" if num_done else ""
    print(f"{settings.study}: {settings.num_trials} trials{so_far}; {', '.join(settings.metrics)}")
    for each in space.dimensions:
        print(f"  {each.key.lstrip('+')}: {each.described()}")
    if CALIBRATED in settings.metrics:
        print("  seconds: step times measured alone on this host, times steps; those measured are recorded beside them")
    elif settings.num_workers > 1 and MEASURED in settings.metrics:
        print(f"  seconds are measured while {settings.num_workers} workers share this host, as the study began")
    sys.stdout.flush()


class SearchLoop:
    """The loop of one process over trials of a study."""

    def __init__(
        self,
        study: Study,
        settings: Settings,
        space: Space,
        queue: TrialQueue,
        composer: Composer,
        jobs: TrialRunner,
    ) -> None:
        self._study, self._settings, self._space, self._queue = study, settings, space, queue
        self._sampler, self._composer, self._jobs = sampler_of(settings, space), composer, jobs
        self._custom = get_method(settings.custom_search_space) if settings.custom_search_space else None
        self._batch = batch_dimension(space)

    def run(self, lease: Lease, deadline: float) -> None:
        """Run trials until no slot is open; after the deadline (time.monotonic()) none begins."""
        with self._queue.held(), beating(self._study, lease) as active:
            while time.monotonic() < deadline:
                check_stop()
                trials: list[Trial] = []
                with signals_wait():  # a trial that has begun is somebody's
                    while len(trials) < self._settings.num_jobs and (trial := self._queue.claim(self._sampler)):
                        trials.append(trial)
                if not trials:
                    return
                active[:] = [trial_id_of(trial) for trial in trials]
                has_crashed = self._work_on(trials)
                active.clear()
                if has_crashed:
                    check_failures(self._study, self._settings.max_failure_rate)

    def _work_on(self, trials: Sequence[Trial]) -> bool:
        """Ask, run and tell; whatever stops this process, its trials leave their slots open. Whether one crashed."""
        try:
            jobs = [self._ask(trial) for trial in trials]
            endings = self._jobs.run(jobs, self._space.fixed)
            check_stop()  # a job that a signal cut off may have ended with another error, and has not crashed
        except BaseException:
            with signals_wait():  # a worker gets two: its group's, and its supervisor's
                for trial in trials:
                    finalize(self._study, trial_id_of(trial), JobOutcome("stopped"))
            raise
        has_crashed = False
        for trial, ending in zip(trials, endings, strict=True):
            has_crashed |= finalize(self._study, trial_id_of(trial), ending)
            self._queue.learn(trial, ending.values if has_values(self._study, ending) else ())
        return has_crashed

    def _ask(self, trial: Trial) -> Job:
        def ask(dimension: Dimension) -> Any:
            return suggest(trial, dimension.name, dimension.distribution)

        if self._batch is not None:
            limit = smallest_too_large(self._queue.known, self._batch)
            if limit < math.inf:
                again = partial(self._sampler, trial.user_attrs["slot"])
                draw_one_that_fits(self._study, trial, self._batch, limit, again)
        structural, plain = self._space.suggest(ask, self._composer.is_active)
        if self._custom is not None:
            names = {each.name for each in self._space.dimensions}
            self._custom(self._composer.base(structural), trial)
            plain += [f"{name}={value}" for name, value in trial.params.items() if name not in names]
        return Job(trial_id_of(trial), trial.number, structural, plain)


@contextmanager
def beating(study: Study, lease: Lease) -> Iterator[list[int]]:
    """Renew the lease of the trials in the list that it yields, for readers on other hosts."""
    active: list[int] = []
    over = Event()

    def beat() -> None:
        """Count up in every trial's lease until the loop is over."""
        count = 0
        with without_retries():  # the next beat comes soon enough, and the loop's end waits for this thread
            while not over.wait(SECONDS_BETWEEN_BEATS):
                count += 1
                for trial_id in list(active):
                    try:
                        storage_of(study).set_trial_user_attr(trial_id, "lease", lease.as_attribute(count))
                    except Exception:  # the trial has just ended, or the store is away for a moment
                        continue

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield active
    finally:
        over.set()
        thread.join()

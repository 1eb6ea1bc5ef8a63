"""Runs that claims need: trainings side by side in processes that stay, timings alone in fresh ones."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from batchlab.experiments.arm_runs import ArmRun
from batchlab.system.signals import check_stop, heed_signals

OnDone = Callable[[ArmRun, str], None]
"""Is given each finished task, and what went wrong, or an empty string."""


def run_tasks(tasks: Sequence[ArmRun], num_workers: int, deadline: float, sweep_id: str, tell: OnDone) -> None:
    """Run tasks until all are done or the time is over; those that may share the machine first.

    Args:
        tasks: what is done of them is recorded at once.
        num_workers: processes that train side by side.
        deadline: time.monotonic() after which no task begins.
        sweep_id: names the command.
        tell: called with each finished task.
    """
    shared = sorted((task for task in tasks if not task.is_alone), key=lambda task: str(task.config.data))
    while shared and time.monotonic() < deadline:  # again where a worker was killed
        shared = _drain(shared, num_workers, deadline, sweep_id, tell)
    alone: dict[tuple[str, int], list[ArmRun]] = {}
    for task in (task for task in tasks if task.is_alone):
        alone.setdefault((task.experiment, task.seed), []).append(task)
    for group in alone.values():  # a fresh process for each seed: what differs between processes belongs to the spread
        left = group
        while left and time.monotonic() < deadline:
            left = _drain(left, 1, deadline, sweep_id, tell)


def _drain(tasks: Iterable[ArmRun], num_workers: int, deadline: float, sweep_id: str, tell: OnDone) -> list[ArmRun]:
    """Keep the workers busy, with few tasks waiting, so that a stop does not wait for many; returns what is left."""
    waiting, running = list(tasks), dict[Future[str], ArmRun]()
    with ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"), _begin) as pool:
        try:
            while running or (waiting and time.monotonic() < deadline):
                check_stop()
                while waiting and len(running) < 2 * num_workers and time.monotonic() < deadline:
                    running[pool.submit(work, waiting[0], sweep_id)] = waiting[0]
                    waiting.pop(0)
                done = next(as_completed(running))
                result = done.result()
                tell(running.pop(done), result)
        except BrokenProcessPool:  # which of them was at fault is not known; the others have all been lost too
            for task in running.values():
                tell(task, "its process was killed, or one beside it")
    return waiting


def _begin() -> None:
    """Make a worker's lines go nowhere: they would fall into the parent's table."""
    heed_signals()
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (for as long as the process lives)
    from batchlab.commands.train.job import train_seed  # noqa: F401  (torch and mlflow: once, before the first task)


def work(task: ArmRun, sweep_id: str) -> str:
    """Train or probe one task; returns what went wrong, or an empty string."""
    from batchlab.commands.train.job import prepare, train_seed
    from batchlab.experiments.arm_runs import probe_seed
    from batchlab.training.build import resolve

    try:
        if task.probe is not None:
            probe_seed(task.config, task.probe, task.seed, sweep_id)
        else:
            train_seed(prepare(resolve(task.config)), task.seed, sweep_id)
    except Exception as error:  # a claim that cannot be measured must not stop the others
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""

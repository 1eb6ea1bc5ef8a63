"""Runs what the claims need: trainings side by side in processes that stay, timings alone in fresh ones."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed

from batchlab.claims.measure import Task
from batchlab.stopping import check_stop, heed_signals


def run_tasks(
    tasks: Sequence[Task], num_workers: int, deadline: float, sweep_id: str, tell: Callable[[Task, str], None]
) -> bool:
    """Run tasks until all are done or the time is over; what is done is recorded at once.

    Args:
        tasks: those that may share the machine are run first.
        num_workers: processes that train side by side.
        deadline: time.monotonic() after which no task begins.
        sweep_id: names the command.
        tell: is given each finished task, and what went wrong, or an empty string.

    Returns:
        Whether all of them were run.
    """
    shared = sorted((task for task in tasks if not task.is_alone), key=lambda task: str(task.config.data))
    alone = [task for task in tasks if task.is_alone]
    is_complete = True
    if shared:
        with _pool(num_workers) as pool:
            is_complete = _drain(pool, shared, num_workers, deadline, sweep_id, tell)
    for task in alone:  # a fresh process each: what differs between processes belongs to the spread
        if time.monotonic() > deadline:
            return False
        with _pool(1) as pool:
            _drain(pool, [task], 1, deadline, sweep_id, tell)
    return is_complete


def _pool(num_workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"), _begin)


def _drain(
    pool: Executor,
    tasks: Iterable[Task],
    num_workers: int,
    deadline: float,
    sweep_id: str,
    tell: Callable[[Task, str], None],
) -> bool:
    """Keep the workers busy, with few tasks waiting, so that a stop does not wait for many."""
    waiting, running = list(tasks), dict[Future[str], Task]()
    while running or (waiting and time.monotonic() < deadline):
        check_stop()
        while waiting and len(running) < 2 * num_workers and time.monotonic() < deadline:
            task = waiting.pop(0)
            running[pool.submit(work, task, sweep_id)] = task
        done = next(as_completed(running))
        tell(running.pop(done), done.result())
    return not waiting


def _begin() -> None:
    """What a worker does first: its lines would fall into the parent's table."""
    heed_signals()
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (for as long as the process lives)
    from batchlab.job import train_seed  # noqa: F401  (torch and mlflow: once, before the first task)


def work(task: Task, sweep_id: str) -> str:
    """Train or probe one task; returns what went wrong, or an empty string."""
    from batchlab.claims.probing import probe_seed
    from batchlab.job import train_seed

    try:
        if task.probe is not None:
            probe_seed(task.config, task.probe, task.seed, sweep_id)
        else:
            train_seed(task.config, task.seed, sweep_id)
    except Exception as error:  # a claim that cannot be measured must not stop the others
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""

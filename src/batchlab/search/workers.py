"""Worker processes and their supervisor: each takes the next trial when free; a dead one is replaced."""

import itertools
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from optuna.study import Study

from batchlab.search.search_progress import SearchProgress
from batchlab.search.settings import Settings
from batchlab.search.space import Space
from batchlab.search.study import check_failures, done_trials
from batchlab.search.trial_queue import TrialQueue
from batchlab.system.child_processes import (
    UNTIL,
    WORKER,
    available_cores,
    describe_exit,
    end_all,
    end_with_parent,
    last_lines,
    leave_interrupts_to_parent,
    wait_for,
)
from batchlab.system.signals import check_stop

T = TypeVar("T")
GPUS = "CUDA_VISIBLE_DEVICES"
SECONDS_BETWEEN_LOOKS = 0.3
SECONDS_TO_END = 60.0
FRUITLESS = 16
"""So many killed workers since a trial was last done, and the next would be killed as well."""
KILLS_PER_ERROR = 6
"""A worker that ends with an error of its own counts as so many: it is not the machine."""
REFUSED = 2
"""Exit code of a worker that found other data, or another space, than the study was begun with."""


class WorkersFailed(RuntimeError):
    """Worker processes end with an error; the text has the last one's output, `code` is the command's exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def supervise(
    study: Study, settings: Settings, space: Space, queue: TrialQueue, deadline: float, gpus: Sequence[str] = ()
) -> None:
    """Have workers do the open slots, until they are done or the deadline (time.monotonic()); GPUs are shared out.

    Raises:
        TooManyFailures: counted over the whole study.
        WorkersFailed: where they die before anything gets done.
    """
    fruitless, num_done = 0, len(done_trials(study, settings.num_trials))
    if num_done >= settings.num_trials:
        return
    with SearchProgress(study, settings, space) as progress, WorkerPool(settings, deadline, gpus) as pool:
        pool.fill(settings.num_trials - num_done)
        while True:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            check_stop()
            now_done = progress.show()
            fruitless, num_done = (0, now_done) if now_done > num_done else (fruitless, num_done)
            if died := pool.reap_dead():
                if REFUSED in died:
                    raise WorkersFailed(f"A worker refuses to go on. {pool.last_words()}", REFUSED)
                progress.say(f"A worker {', one '.join(map(describe_exit, died))}; its trial is run again.")
                queue.reap_stale()
                check_failures(study, settings.max_failure_rate)
                fruitless += sum(1 if code < 0 else KILLS_PER_ERROR for code in died)
                if fruitless >= FRUITLESS:
                    raise WorkersFailed(f"The workers die, no trial gets done. {pool.last_words()}")
            if now_done >= settings.num_trials or time.monotonic() > deadline or pool.is_idle():
                pool.wait()
                progress.show()
                if time.monotonic() > deadline or not _is_left(study, settings, queue):
                    return
            if died or pool.is_idle():
                pool.fill(settings.num_trials - now_done)


def _is_left(study: Study, settings: Settings, queue: TrialQueue) -> bool:
    """Tell whether a slot is open that nobody works on."""
    queue.reap_stale()
    missing = settings.num_trials - len(done_trials(study, settings.num_trials))
    return missing > len(queue.running_elsewhere())


class WorkerPool:
    """Worker processes of one supervisor; a context manager that leaves none behind."""

    def __init__(self, settings: Settings, deadline: float, gpus: Sequence[str] = ()) -> None:
        self._deadline, self._folder = deadline, Path(settings.mlruns) / "hydra" / settings.study
        self._folder.mkdir(parents=True, exist_ok=True)
        self._shares = core_shares(settings.num_workers)
        self._pins = (
            hasattr(os, "sched_setaffinity")
            and len({core for share in self._shares for core in share}) >= settings.num_workers
        )
        self._environments = worker_environments(settings.num_workers, gpus)
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._last_place = 0

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        end_all(self._workers.values(), SECONDS_TO_END)

    def fill(self, num_open: int) -> None:
        """Start a worker at every place that has none; no more of them than there are open slots."""
        for place, cores in enumerate(self._shares[:num_open]):
            if place not in self._workers:
                self._workers[place] = self._start(place, cores)

    def reap_dead(self) -> list[int]:
        """Forget workers that ended; returns the exit codes of those that died of something."""
        ended = {place: worker for place, worker in self._workers.items() if worker.poll() is not None}
        for place, worker in ended.items():
            del self._workers[place]
            if worker.returncode:
                self._last_place = place
        return [worker.returncode for worker in ended.values() if worker.returncode]

    def is_idle(self) -> bool:
        """Tell whether no worker is left."""
        return not self._workers

    def wait(self) -> None:
        """Wait until every worker has ended."""
        wait_for(self._workers.values(), math.inf)

    def last_words(self) -> str:
        """Read the last lines of the worker that died last."""
        path = self._log(self._last_place)
        return "\n".join([f"The last lines of {path}:", *last_lines(path, 15)])

    def _log(self, place: int) -> Path:
        return self._folder / f"worker-{place}.log"

    def _start(self, place: int, cores: list[int]) -> subprocess.Popen[bytes]:
        def prepare() -> None:
            leave_interrupts_to_parent()
            end_with_parent(signal.SIGTERM)
            if self._pins:  # workers that share a core would wait for it while another is free
                os.sched_setaffinity(0, cores)

        environment = os.environ | {WORKER: str(place), UNTIL: str(self._deadline)} | self._environments[place]
        environment.setdefault("OMP_NUM_THREADS", str(len(cores)))
        with self._log(place).open("a") as log:
            command = [sys.executable, *sys.orig_argv[1:]]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, preexec_fn=prepare)


def core_shares(num_workers: int) -> list[list[int]]:
    """Divide this process's cores: equal shares where there are enough, else one each in turn."""
    return dealt(num_workers, available_cores())


def visible_gpus() -> list[str]:
    """List the GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES has for them."""
    if GPUS not in os.environ:
        from torch import cuda

        return [str(index) for index in range(cuda.device_count())]
    names = (name.strip() for name in os.environ[GPUS].split(","))
    return list(itertools.takewhile(lambda name: name not in ("", "-1"), names))  # CUDA stops there as well


def worker_environments(num_workers: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """Set CUDA_VISIBLE_DEVICES of each worker where there are several GPUs: an equal share, or one in turn."""
    if len(gpus) < 2:
        return [{} for _ in range(num_workers)]
    return [{GPUS: ",".join(share)} for share in dealt(num_workers, gpus)]


def dealt(num_shares: int, items: Sequence[T]) -> list[list[T]]:
    """Divide items into so many shares: equal ones where there are enough, else one each in turn."""
    if num_shares >= len(items):
        return [[items[place % len(items)]] for place in range(num_shares)]
    bounds = [place * len(items) // num_shares for place in range(num_shares + 1)]
    return [list(items[low:high]) for low, high in itertools.pairwise(bounds)]

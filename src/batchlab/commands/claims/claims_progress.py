"""What a person sees while claims are measured: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from batchlab.experiments.arm_runs import ArmRun
from batchlab.report.run_progress import make_console

SECONDS_BETWEEN_LINES = 30.0


class ClaimsProgress:
    """Hears of each finished task, counts it, and keeps what went wrong; a context manager.

    Args:
        what: is being done.
        count: of tasks.
        failures: experiment -> what went wrong; is added to.
    """

    def __init__(self, what: str, count: int, failures: dict[str, str]) -> None:
        self._what, self._count, self._failures = what, count, failures
        self._done, self._last_line = 0, time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = make_console()
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._shown = self._bar.add_task(what, total=count)

    def __enter__(self) -> "ClaimsProgress":
        self._bar.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _t: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, task: ArmRun, error: str) -> None:
        """One more is done; `error` is empty, or what went wrong."""
        self._done += 1
        self._bar.update(self._shown, completed=self._done, description=f"{self._what}: {task.experiment}")
        if error:
            self._failures[task.experiment] = error
        if self._bar.disable and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(f"{self._what}: {self._done} of {self._count} runs, {task.experiment}", file=sys.stderr)

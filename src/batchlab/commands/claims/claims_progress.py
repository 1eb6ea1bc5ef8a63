"""Progress of a measurement of claims: a bar on a terminal, a line now and then elsewhere."""

import sys
from types import TracebackType

from rich.progress import MofNCompleteColumn, TimeElapsedColumn

from batchlab.experiments.arm_runs import ArmRun
from batchlab.system.progress import Bar, make_console

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
        self._done, self._bar = 0, Bar(make_console(), what, count, (MofNCompleteColumn(), TimeElapsedColumn()))

    def __enter__(self) -> "ClaimsProgress":
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def __call__(self, task: ArmRun, error: str) -> None:
        """One more is done; `error` is empty, or what went wrong."""
        self._done += 1
        self._bar.update(completed=self._done, description=f"{self._what}: {task.experiment}")
        if error:
            self._failures[task.experiment] = error
        if self._bar.is_line_due(SECONDS_BETWEEN_LINES):
            print(f"{self._what}: {self._done} of {self._count} runs, {task.experiment}", file=sys.stderr)

"""What a person sees while a run trains or a script measures: a bar on a terminal, plain lines elsewhere."""

import math
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from batchlab.config.objectives import CALIBRATED
from batchlab.run.training_run import RunResult
from batchlab.training.evaluation import VAL_ACCURACY, VAL_LOSS, Evaluation
from batchlab.training.loop import LoopPoint

PLAIN_WIDTH = 120
SECONDS_BETWEEN_LINES = 10.0


def make_console() -> Console:
    """Return a console on stdout, wide enough for the table where stdout is a file or a pipe; [x] is shown as it is."""
    console = Console(file=sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, width=PLAIN_WIDTH, highlight=False, markup=False)
    return console


def job_bar(console: Console, output: str) -> Progress:
    """A script's bar with what is being done and since when; disabled for output=json and where nobody watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not (console.is_terminal and output == "text"))


class RunProgress:
    """Shows one run. The bar is drawn only when told, while the training clock stands: no thread of its own.

    Args:
        console: where to show.
        label: names the run, e.g. ``batch size 128, lr 0.1, seed 0``.
    """

    def __init__(self, console: Console, label: str) -> None:
        self._console, self._label, self._last_line = console, label, time.monotonic()
        self._score = ""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %"),
        )
        self._progress = Progress(
            *columns,
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            auto_refresh=False,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(label, total=1.0, state="")

    def __enter__(self) -> "RunProgress":
        self._progress.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if isinstance(error, Exception):
            self._console.print(f"{self._label}: failed: {type(error).__name__}: {error}")

    def show(self, at: LoopPoint | Evaluation) -> None:
        """Show where the run stands, with its last scores."""
        metrics, point = (at.metrics, at.point) if isinstance(at, Evaluation) else ({}, at)
        if VAL_ACCURACY in metrics:
            self._score = f" val acc {metrics[VAL_ACCURACY]:.4f}"
        elif VAL_LOSS in metrics:
            self._score = f" val loss {metrics[VAL_LOSS]:.4g}"
        rate = point.counts.processed / max(point.counts.seconds, 1e-9)
        state = f"loss {point.train_loss:.4g}{self._score} {rate:,.0f} ex/s"
        self._progress.update(self._task, completed=point.progress, state=state)
        self._progress.refresh()
        if not self._console.is_terminal and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._console.print(f"{self._label}: {point.progress:.0%} {state}")

    def finish(self, result: RunResult) -> None:
        """One line that stays: how the run ended."""
        finals = result.finals
        accuracy, seconds = finals["final/val_accuracy"], finals["cost/train_seconds"]
        score = (
            f"val accuracy {accuracy:.4f}" if not math.isnan(accuracy) else f"val loss {finals['final/val_loss']:.4g}"
        )
        ending = score if result.outcome == "done" else f"{result.outcome}: {result.cause}"
        alone = f", {finals[CALIBRATED]:.2f} s if alone" if CALIBRATED in finals else ""
        self._console.print(f"{self._label}: {ending}, {finals['cost/num_steps']:.0f} steps in {seconds:.2f} s{alone}")

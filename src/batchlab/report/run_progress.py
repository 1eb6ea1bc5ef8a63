"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

import math
from typing import Any

from rich.console import Console
from rich.progress import TextColumn, TimeRemainingColumn

from batchlab.config.objectives import CALIBRATED
from batchlab.run.training_run import RunResult
from batchlab.system.progress import Bar
from batchlab.training.evaluation import VAL_ACCURACY, VAL_LOSS, Evaluation
from batchlab.training.loop import LoopPoint

SECONDS_BETWEEN_LINES = 10.0


class RunProgress:
    """Show one run, whose label is e.g. ``batch size 128, lr 0.1, seed 0``.

    The bar is drawn only in `show`, while the training clock stands: no thread of its own.
    """

    def __init__(self, console: Console, label: str) -> None:
        self._console, self._label, self._score = console, label, ""
        columns = (TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn(compact=True))
        self._bar = Bar(console, label, 1.0, columns, is_drawn_when_told=True)

    def __enter__(self) -> "RunProgress":
        self._bar.__enter__()
        return self

    def __exit__(self, *ended: Any) -> None:
        self._bar.__exit__(*ended)
        if isinstance(error := ended[1], Exception):
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
        self._bar.update(completed=point.progress, state=state)
        if self._bar.is_line_due(SECONDS_BETWEEN_LINES):
            self._console.print(f"{self._label}: {point.progress:.0%} {state}")

    def finish(self, result: RunResult) -> None:
        """Print one line that stays: how the run ended."""
        finals = result.finals
        accuracy, seconds = finals["final/val_accuracy"], finals["cost/train_seconds"]
        score = f"val loss {finals['final/val_loss']:.4g}" if math.isnan(accuracy) else f"val accuracy {accuracy:.4f}"
        ending = score if result.outcome == "done" else f"{result.outcome}: {result.cause}"
        alone = f", {finals[CALIBRATED]:.2f} s if alone" if CALIBRATED in finals else ""
        self._console.print(f"{self._label}: {ending}, {finals['cost/num_steps']:.0f} steps in {seconds:.2f} s{alone}")

"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

import math
from typing import Any

from rich.console import Console
from rich.progress import TextColumn, TimeRemainingColumn

from batchlab.config.objectives import CALIBRATED
from batchlab.run.training_run import RunResult
from batchlab.system.progress import Bar
from batchlab.tasks.known_tasks import FINAL
from batchlab.tasks.metric import Metric
from batchlab.training.evaluation import Evaluation
from batchlab.training.loop import LoopPoint

SECONDS_BETWEEN_LINES = 10.0


class RunProgress:
    """Show one run, whose label is e.g. ``batch size 128, lr 0.1, seed 0``.

    The bar is drawn only in `show`, while the training clock stands: no thread of its own.
    """

    def __init__(self, console: Console, label: str, score: Metric) -> None:
        self._console, self._label, self._score, self._said = console, label, score, ""
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
        point = at.point if isinstance(at, Evaluation) else at
        if isinstance(at, Evaluation) and at.score is not None:
            self._said = f" val {self._score.title} {self._score.text(at.score)}"
        rate = point.counts.processed / max(point.counts.seconds, 1e-9)
        state = f"loss {point.train_loss:.4g}{self._said} {rate:,.0f} ex/s"
        self._bar.update(completed=point.progress, state=state)
        if self._bar.is_line_due(SECONDS_BETWEEN_LINES):
            self._console.print(f"{self._label}: {point.progress:.0%} {state}")

    def finish(self, result: RunResult) -> None:
        """Print one line that stays: how the run ended."""
        finals = result.finals
        seconds, score = finals["cost/train_seconds"], finals.get(f"{FINAL}{self._score.name}", math.nan)
        said = f"val {self._score.title} {self._score.text(score)}"
        ending = said if result.outcome == "done" else f"{result.outcome}: {result.cause}"
        alone = f", {finals[CALIBRATED]:.2f} s if alone" if CALIBRATED in finals else ""
        self._console.print(f"{self._label}: {ending}, {finals['cost/num_steps']:.0f} steps in {seconds:.2f} s{alone}")

"""Progress of a command: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

PLAIN_WIDTH = 120


def make_console(is_stderr: bool = False) -> Console:
    """Return a console on stdout (or stderr), in a file or a pipe wide enough for the table; [x] is shown as it is."""
    console = Console(file=sys.stderr if is_stderr else sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


class Bar:
    """A bar that goes when its block ends; nothing where nobody watches.

    Args:
        console: where it is drawn.
        label: stands before it.
        total: what `completed` counts up to; None = not known.
        columns: behind it, the state and the time since it began where none are given.
        is_drawn_when_told: whether it is drawn at `update` alone, without a thread of its own.
        is_hidden: whether it is never drawn.
    """

    def __init__(
        self,
        console: Console,
        label: str,
        total: float | None = None,
        columns: tuple[ProgressColumn, ...] = (),
        is_drawn_when_told: bool = False,
        is_hidden: bool = False,
    ) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            *(columns or (TimeElapsedColumn(),)),
            TextColumn("{task.fields[state]}"),
            console=console,
            transient=True,
            auto_refresh=not is_drawn_when_told,
            disable=is_hidden or not console.is_terminal,
        )
        self._task = self._progress.add_task(label, total=total, state="")
        self._last_line = time.monotonic()

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    @property
    def is_drawn(self) -> bool:
        """Return whether somebody watches."""
        return not self._progress.disable

    def update(self, **shown: Any) -> None:
        """Show something else: `completed`, `description`, `state`."""
        self._progress.update(self._task, **shown)
        if not self._progress.live.auto_refresh:
            self._progress.refresh()

    def is_line_due(self, seconds: float) -> bool:
        """Tell whether to print a line instead of the bar: none was for so long, and the bar is not drawn."""
        if self.is_drawn or time.monotonic() - self._last_line <= seconds:
            return False
        self._last_line = time.monotonic()
        return True

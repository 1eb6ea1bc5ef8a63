"""The tables at the end of a search: Pareto front, and the picks as their fresh seeds measured them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from batchlab.laws.estimate import mean_of
from batchlab.report.comparison import format_estimate

FOUR_DIGITS = ("final/val_accuracy", "final/test_accuracy", "final/val_loss", "final/train_loss")
SHORT = {
    "cost/train_seconds": "train s",
    "cost/calibrated_train_seconds": "s if alone",
    "final/val_accuracy": "val accuracy",
    "final/test_accuracy": "test accuracy",
}
ROWS_OF_A_FRONT = 20


@dataclass(frozen=True)
class FrontRow:
    """One trial of the front.

    Attributes:
        number: the trial's.
        settings: what was searched, by key, as text.
        values: the objectives.
        names: picks that it is.
    """

    number: int
    settings: Mapping[str, str]
    values: Sequence[float]
    names: Sequence[str]


@dataclass(frozen=True)
class PickRow:
    """One pick.

    Attributes:
        name: e.g. ``knee``.
        number: the trial's.
        settings: what was searched, by key, as text.
        values: metric -> a value per fresh seed, NaN where a run had none; or the one value of the search.
    """

    name: str
    number: int
    settings: Mapping[str, str]
    values: Mapping[str, Sequence[float]]


def draw_front(rows: Sequence[FrontRow], metrics: Sequence[str], title: str) -> Table:
    """The front as a table; the middle of a long one is left out."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row.settings))
    for heading in ("trial", *names, *(SHORT.get(metric, metric) for metric in metrics)):
        table.add_column(heading, justify="right", overflow="fold")
    has_picks = any(row.names for row in rows)
    if has_picks:
        table.add_column("pick", no_wrap=True)
    kept = set(range(len(rows)))
    if len(rows) > ROWS_OF_A_FRONT:
        step = (len(rows) - 1) / (ROWS_OF_A_FRONT - 1)
        kept = {round(place * step) for place in range(ROWS_OF_A_FRONT)}
    for place, row in enumerate(rows):
        if place in kept or row.names:
            values = [value_text(metric, value) for metric, value in zip(metrics, row.values, strict=True)]
            picks = [", ".join(row.names)] if has_picks else []
            table.add_row(str(row.number), *(row.settings.get(name, "") for name in names), *values, *picks)
    return table


def draw_picks(rows: Sequence[PickRow], title: str) -> Table:
    """The picks as a table."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row.settings))
    metrics = list(dict.fromkeys(metric for row in rows for metric in row.values))
    for heading in ("pick", "trial", *names, *(SHORT.get(metric, metric) for metric in metrics), "n"):
        table.add_column(heading, justify="left" if heading == "pick" else "right", overflow="fold")
    for row in rows:
        estimates = [mean_of(row.values.get(metric, [])) for metric in metrics]
        cells = [
            format_estimate(each, digits_of(metric, each.value))
            for metric, each in zip(metrics, estimates, strict=True)
        ]
        count = str(min(each.n for each in estimates))
        table.add_row(row.name, str(row.number), *(row.settings.get(name, "") for name in names), *cells, count)
    return table


def digits_of(metric: str, value: float) -> int:
    """Digits after the point that a value of a metric is shown with."""
    if metric in FOUR_DIGITS:
        return 4
    return 0 if abs(value) >= 1000 else 2 if abs(value) >= 1 else 3


def value_text(metric: str, value: float) -> str:
    """A value as the tables show it."""
    if metric.startswith("value_"):  # of another application: its unit and size are not known
        return f"{value:.5g}"
    return f"{value:,.{digits_of(metric, value)}f}"


def endings(states: Sequence[str]) -> str:
    """``40 trials: 31 complete, 6 pruned, ...`` of how each ended."""
    counts = Counter(states)
    listed = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{len(states)} trial{'s' if len(states) > 1 else ''}: {listed}."

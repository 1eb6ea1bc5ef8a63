"""The tables at the end of a search: Pareto front, and the picks as their fresh seeds measured them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from batchlab.report.comparison import estimate, shown

DIGITS = {"final/val_accuracy": 4, "final/test_accuracy": 4, "final/val_loss": 4}
SHORT = {"cost/train_seconds": "train s", "final/val_accuracy": "val accuracy", "final/test_accuracy": "test accuracy"}
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
        searched: the objectives as the search saw them.
        fresh: metric -> a value per fresh seed; NaN where a run had none; empty where nothing was retrained.
    """

    name: str
    number: int
    searched: Mapping[str, float]
    fresh: Mapping[str, Sequence[float]]


def draw_front(rows: Sequence[FrontRow], metrics: Sequence[str], title: str) -> Table:
    """The front as a table; the middle of a long one is left out."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row.settings))
    for heading in ("trial", *names, *(SHORT.get(metric, metric) for metric in metrics)):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("pick", overflow="fold")
    kept = set(range(len(rows)))
    if len(rows) > ROWS_OF_A_FRONT:
        step = (len(rows) - 1) / (ROWS_OF_A_FRONT - 1)
        kept = {round(place * step) for place in range(ROWS_OF_A_FRONT)}
    for place, row in enumerate(rows):
        if place in kept or row.names:
            values = [value_text(metric, value) for metric, value in zip(metrics, row.values, strict=True)]
            table.add_row(
                str(row.number), *(row.settings.get(name, "") for name in names), *values, ", ".join(row.names)
            )
    return table


def draw_picks(rows: Sequence[PickRow], title: str) -> Table:
    """The picks as a table: searched values beside those of fresh seeds."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    searched = list(dict.fromkeys(metric for row in rows for metric in row.searched))
    fresh = list(dict.fromkeys(metric for row in rows for metric in row.fresh))
    headings = ["pick", "trial", *(f"{SHORT.get(metric, metric)} in the search" for metric in searched)]
    headings += [SHORT.get(metric, metric) for metric in fresh] + (["n"] if fresh else [])
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "pick" else "right", overflow="fold")
    for row in rows:
        cells = [value_text(metric, row.searched[metric]) for metric in searched]
        estimates = {metric: estimate(row.fresh.get(metric, [])) for metric in fresh}
        cells += [shown(estimates[metric], digits_of(metric)) for metric in fresh]
        cells += [str(min(each.n for each in estimates.values()))] if fresh else []
        table.add_row(row.name, str(row.number), *cells)
    return table


def digits_of(metric: str) -> int:
    """Digits after the point that a metric is shown with."""
    return DIGITS.get(metric, 2)


def value_text(metric: str, value: float) -> str:
    """A value as the tables show it."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.{digits_of(metric)}f}"


def endings(states: Sequence[str]) -> str:
    """``40 trials: 31 complete, 6 pruned, ...`` of how each ended."""
    counts = Counter(states)
    listed = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{len(states)} trials: {listed}."

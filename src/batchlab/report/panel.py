"""Figures as data, apart from how they are drawn: the page draws them with plotly, papers get PNG and SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from batchlab.laws.estimate import Estimate

PALETTE = ("#1b6ca8", "#c4541a", "#3a7d44", "#7a4988", "#b8860b", "#5f6a72", "#b03060", "#2a9d8f")
"""Colours that are told apart on a light and on a dark ground, and in grey by their order."""
FAINT = "#98a1a9"
"""Of what stands behind the rest."""


@dataclass(frozen=True)
class Axis:
    """One axis: what stands on it, with its unit."""

    title: str
    is_log: bool = False


@dataclass(frozen=True)
class Trace:
    """Values that belong together: the points of one setting, or the line of a law."""

    name: str  # in the legend; traces of one name share a colour and an entry
    x: Sequence[float] | Sequence[str]  # [n] values, or names where the axis is one of categories
    y: Sequence[float]  # [n]
    low: Sequence[float] | None = None  # [n] lower ends of 95 % intervals; None where there are none
    high: Sequence[float] | None = None  # [n] upper ends
    style: Literal["points", "line", "both", "band"] = "both"  # points, a line, both, or a band between low and high
    is_dashed: bool = False  # of a line: what it says was not measured
    is_faint: bool = False  # it is there to compare with: grey, behind the others
    hover: Sequence[str] | None = None  # [n] texts; None = the values
    commands: Sequence[str] | None = None  # [n] what a click on a point copies


@dataclass(frozen=True)
class Panel:
    """One figure."""

    name: str  # of its files and its place on a page, e.g. ``pareto``.
    title: str
    x: Axis
    y: Axis
    traces: Sequence[Trace]
    note: str = ""  # how to read it, and what it leaves out; a sentence or two
    switch: str = ""  # panels of one switch stand in one place, and a person chooses between them
    choice: str = ""  # what it is chosen by; the title of the x axis where empty


@dataclass(frozen=True)
class PageTable:
    """A table of a page, of cells as text; the note says how to read it."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def interval_trace(
    name: str,
    x: Sequence[float] | Sequence[str],
    estimates: Sequence[Estimate],
    *,
    style: Literal["points", "both"] = "both",
    is_faint: bool = False,
    has_bars: bool = True,
    hover: Sequence[str] | None = None,
    commands: Sequence[str] | None = None,
) -> Trace:
    """Return estimates as a trace with their intervals; without them where none has two values, or all are faint."""
    low = high = None
    if has_bars and not is_faint and any(each.n > 1 for each in estimates):
        low, high = ([ends(each)[side] for each in estimates] for side in (0, 1))
    y = [each.value for each in estimates]
    return Trace(name, x, y, low, high, style, is_faint=is_faint, hover=hover, commands=commands)


def bars(trace: Trace) -> tuple[list[float], list[float]]:
    """Return how far each interval reaches below and above its value; 0 where there is none."""
    below = [max(0.0, y - low) for y, low in zip(trace.y, trace.low or trace.y, strict=True)]
    return below, [max(0.0, high - y) for y, high in zip(trace.y, trace.high or trace.y, strict=True)]


def ends(estimate: Estimate) -> tuple[float, float]:
    """Return the ends of the interval; the mean itself where there is none."""
    return (estimate.value, estimate.value) if math.isnan(estimate.low) else (estimate.low, estimate.high)


def colours(panel: Panel) -> dict[str, str]:
    """Return a colour for each name, in the order in which they come; faint ones share theirs."""
    names = list(dict.fromkeys(trace.name for trace in panel.traces if not trace.is_faint))
    faint = {trace.name: FAINT for trace in panel.traces if trace.is_faint}
    return faint | {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)}


def back_to_front(panel: Panel) -> list[Trace]:
    """Sort the traces as they are drawn: what is faint first, then bands, then the rest."""
    return sorted(panel.traces, key=lambda trace: (not trace.is_faint, trace.style != "band"))

"""Panels as PNG and SVG, for papers and for pages that run no script."""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")  # read at import: no window on any machine
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from batchlab.report.panel import Axis, Panel, Trace, back_to_front, bars, colours

SIZE_INCHES = (6.4, 4.0)
DOTS_PER_INCH = 150
MARGINS = {"left": 0.13, "right": 0.97, "top": 0.92, "bottom": 0.14}
"""Fixed: a layout that measures every label first takes as long as the drawing."""

NARROW, WIDE = 3.0, 1000.0
"""A logarithmic axis over a smaller ratio would have no tick, and is linear; over a larger one has ticks at decades."""


def export_panel(panel: Panel, folder: Path, suffixes: tuple[str, ...] = ("png", "svg")) -> list[Path]:
    """Draw the panel into ``<folder>/<name>.<suffix>`` and return the files; the same panel gives the same bytes."""
    has_names = any(isinstance(place, str) for trace in panel.traces for place in trace.x)
    figure = _drawn_names(panel) if has_names else _drawn(panel)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{panel.name}.{suffix}" for suffix in suffixes]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        with rc_context({"svg.hashsalt": "batchlab"}):
            figure.savefig(path, metadata=metadata)
    return paths


def _drawn(panel: Panel) -> Figure:
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH)
    figure.subplots_adjust(**MARGINS)
    axes, palette, named = figure.add_subplot(), colours(panel), set[str]()
    for trace in back_to_front(panel):
        _draw(axes, trace, palette[trace.name], "" if trace.name in named else trace.name)
        named.add(trace.name)
    _label(axes.xaxis, axes.set_xscale, panel.x)
    _label(axes.yaxis, axes.set_yscale, panel.y)
    _dress(axes, panel, len(named))
    return figure


def _drawn_names(panel: Panel) -> Figure:
    """Names are read beside their points, the first on top, values from left to right."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes, palette = figure.add_subplot(), colours(panel)
    for trace in panel.traces:
        axes.errorbar(
            trace.y, [str(name).replace("_", " ") for name in trace.x], xerr=bars(trace), linestyle="none", marker="o",
            markersize=6, capsize=3, color=palette[trace.name], label=trace.name,
        )  # fmt: skip
    axes.invert_yaxis()
    _label(axes.xaxis, axes.set_xscale, panel.y)
    _dress(axes, panel, len(palette))
    return figure


def _dress(axes: Any, panel: Panel, num_names: int) -> None:
    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if num_names > 1:
        axes.legend(frameon=False, fontsize=8)


def _draw(axes: Any, trace: Trace, colour: str, label: str) -> None:
    style = "" if trace.style == "points" else "--" if trace.is_dashed else "-"
    marker = "o" if trace.style in ("points", "both") else ""
    settings = {"color": colour, "label": label or None, "linewidth": 1.6}
    if trace.style == "band":
        axes.fill_between(trace.x, trace.low, trace.high, alpha=0.18, color=colour, linewidth=0, label=label or None)
    elif trace.low is None or trace.high is None:
        axes.plot(trace.x, trace.y, linestyle=style or "none", marker=marker, markersize=5, **settings)
    else:
        axes.errorbar(
            trace.x, trace.y, yerr=bars(trace), linestyle=style or "none", marker=marker, markersize=5, capsize=3,
            elinewidth=1.1, **settings,
        )  # fmt: skip


def _label(axis: Any, set_scale: Any, what: Axis) -> None:
    axis.set_label_text(what.title)
    low, high = axis.get_minpos(), axis.get_data_interval()[1]
    if what.is_log and high > NARROW * low:
        set_scale("log")
        is_wide = high > WIDE * low
        axis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0), numticks=8 if is_wide else 12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axis.set_minor_locator(NullLocator())

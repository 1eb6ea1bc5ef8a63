"""Step time by batch size as a page: time of a step with its law, and of a pass over the data, on log axes."""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from batchlab.report.page import log_ticks
from batchlab.report.step_time_panel import law_lines
from batchlab.report.step_time_table import Series

COLOURS = ("#1b6ca8", "#c4541a", "#3a7d44", "#7a4988", "#b8860b", "#5f6a72")


def write_figure(series: list[Series], title: str, what: str, path: Path) -> None:
    """Write the page, which opens from disk without a network; under its title stands what was timed, and where."""
    names = ("seconds per step", "seconds per pass over the data")
    figure = make_subplots(rows=1, cols=2, subplot_titles=names, horizontal_spacing=0.1)
    for each, colour in zip(series, cycle(COLOURS), strict=False):
        _add_points(figure, each, colour)
        _add_law(figure, each, colour)
    figure.update_xaxes(type="log", title_text="batch size", dtick=1)
    for column in (1, 2):  # plotly's own say 2 for 0.002
        traces: Any = figure.select_traces(col=column)
        shown = log_ticks([value for trace in traces for value in trace.y])
        figure.update_yaxes(type="log", title_text="seconds", tickvals=shown or None, tickformat="~g", col=column)
    heading = {"text": title, "subtitle": {"text": what}}
    figure.update_layout(title=heading, template="plotly_white", legend={"orientation": "h", "y": -0.12})
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(path, include_plotlyjs=True)


def _add_points(figure: go.Figure, series: Series, colour: str) -> None:
    sizes = [row.batch_size for row in series.rows]
    medians = np.array([[row.step_seconds.value, row.step_seconds.low, row.step_seconds.high] for row in series.rows]).T
    for column, (value, low, high) in ((1, medians), (2, medians * (series.num_train / np.array(sizes)))):
        bars = {"array": high - value, "arrayminus": value - low, "thickness": 1}
        look = {"mode": "markers", "marker": {"color": colour, "size": 7}, "hovertemplate": "B = %{x}<br>%{y:.4g} s"}
        legend = {"name": series.label, "legendgroup": series.label, "showlegend": column == 1}
        figure.add_scatter(x=sizes, y=value, error_y=bars, row=1, col=column, **look, **legend)


def _add_law(figure: go.Figure, series: Series, colour: str) -> None:
    top = max(row.batch_size for row in series.rows)
    for at, fitted, is_beyond in law_lines(series.law, top) if series.law else []:
        line = {"color": colour, "dash": "dot" if is_beyond else "solid", "width": 1.5}
        look = {"mode": "lines", "line": line, "hoverinfo": "skip"}
        for column, y in ((1, fitted), (2, fitted * series.num_train / at)):
            legend = {"legendgroup": series.label, "showlegend": column == 1 and not is_beyond}
            figure.add_scatter(x=at, y=y, name=f"{series.label}: α + β·B", row=1, col=column, **look, **legend)

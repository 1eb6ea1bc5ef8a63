"""The page of a study: one file that needs nothing else, and opens from disk without a network."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from batchlab.report.panel import Axis, PageTable, Panel, Trace, back_to_front, bars, colours
from batchlab.report.study_data import digits
from batchlab.report.summary import finite

TEMPLATE = Path(__file__).parent / "template"
FIGURES = "figures"
"""Folder beside the page with its figures as PNG and SVG."""
DARK = {
    "#1b6ca8": "#5aa9e6", "#c4541a": "#f0884a", "#3a7d44": "#6cbf78", "#7a4988": "#b98ac9", "#b8860b": "#e0b23c",
    "#5f6a72": "#aab4bc", "#b03060": "#e87aa4", "#2a9d8f": "#4fc9bb", "#98a1a9": "#8b96a0",
}  # fmt: skip
"""A colour of a panel -> what it is on a dark ground."""
MAX_TICKS = 9
"""Of a logarithmic axis; where there would be more, only those with a 1 are written."""
ROOM = 0.6
"""Above and below what a panel is about, as a share of its range, for what stands behind it."""
LEAST = 0.9
"""On a logarithmic axis a bar reaches down to a tenth of its value at most."""


def page_of(summary: Mapping[str, Any], panels: Sequence[Panel], tables: Sequence[PageTable]) -> str:
    """Render the page as HTML: the summary, the figures, and the tables below them."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "estimate": estimate_text, "mebibytes": mebibytes, "bound": bound}
    figures = {panel.name: figure_of(panel) for panel in panels}
    return environment.get_template("page.html.j2").render(
        summary=summary,
        places=places_of(panels),
        tables=tables,
        figures=embedded({"figures": figures, "dark": DARK}),
        plotly=Markup(get_plotlyjs()),
        style=Markup((TEMPLATE / "page.css").read_text()),
        script=Markup((TEMPLATE / "page.js").read_text()),
        still=FIGURES,
    )


def places_of(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Group panels by their place on the page: one for each, or one for all of a switch."""
    places = []
    for name, group in groupby(panels, key=lambda panel: panel.switch or panel.name):
        first, *others = group
        choices = [{"name": each.name, "label": each.choice or each.x.title} for each in (first, *others)]
        places.append({"name": name, "title": first.title, "note": first.note, "choices": choices, "is_wide": False})
    if len(places) % 2:
        places[-1]["is_wide"] = True  # two stand side by side: the last has a row for itself
    return places


def embedded(value: Any) -> Markup:
    """Write JSON that can stand inside a script element, with floats of six digits: a figure has no room for more."""
    return Markup(json.dumps(finite(value, digits=6), separators=(",", ":")).replace("<", "\\u003c"))


def number(value: float | None) -> str:
    """Write three significant digits, or a whole number with thousands separated; a dash for what is not known."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:,.{digits(value)}f}"


def estimate_text(value: dict[str, float | None] | None, places: int | None = None) -> str:
    """Write ``mean ± half width`` of a record of `summary.interval`; no ± at n = 1, a dash for what is not known.

    `places` digits stand after the point; None = three significant ones in all.
    """
    if value is None or value["mean"] is None:
        return "–"
    mean, low = value["mean"], value["low"]
    count = digits(mean) if places is None else places
    return f"{mean:,.{count}f}" if low is None else f"{mean:,.{count}f} ± {mean - low:,.{count}f}"


def mebibytes(value: float | None) -> str:
    """Write bytes as MiB."""
    return "–" if value is None else f"{value / 2**20:,.0f} MiB"


def bound(text: str) -> str:
    """Return the text with ``n = 3`` and ``0.9 ± 0.1`` on one line each."""
    return text.replace("n = ", "n\u00a0=\u00a0").replace(" ± ", "\u00a0±\u00a0")


def figure_of(panel: Panel) -> dict[str, Any]:
    """Return ``{"data": [...], "layout": {...}}``, fit for JSON; the ground's and the text's colours are the page's."""
    figure, palette, named = go.Figure(), colours(panel), set[str]()
    for trace in back_to_front(panel):
        figure.add_scatter(**_scatter(panel, trace, palette[trace.name], trace.name not in named))
        named |= {trace.name} if trace.style != "band" else set()  # its line stands in the legend
    figure.update_layout(
        template=None,
        xaxis=_axis(panel.x, [x for trace in panel.traces for x in trace.x]),
        yaxis=_axis(panel.y, [y for trace in panel.traces for y in _heights(trace)]),
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        hovermode="closest",
    )
    _focus(figure, panel)
    plain = figure.to_plotly_json()
    return {"data": plain["data"], "layout": plain["layout"]}


def _focus(figure: go.Figure, panel: Panel) -> None:
    """Show the range of what the panel is about where outliers behind it would flatten it; say what lies outside."""
    main = [y for trace in panel.traces if not trace.is_faint for y in _heights(trace) if math.isfinite(y)]
    faint = [y for trace in panel.traces if trace.is_faint for y in trace.y]
    if panel.y.is_log or not main or not faint:
        return
    room = ROOM * (max(main) - min(main) or abs(max(main)) * 0.1 or 1.0)
    low, high = min(main) - room, max(main) + room
    outside = sum(not low <= y <= high for y in faint)
    if outside:
        figure.update_yaxes(range=[low, min(high, max(1.0, *main) + 0.02 * room)])
        text = f"{outside:,} more outside; a double click shows all"
        figure.add_annotation(text=text, x=1, y=0, xref="paper", yref="paper", xanchor="right", yanchor="bottom",
                              showarrow=False, font={"size": 12})  # fmt: skip


def _heights(trace: Trace) -> list[float]:
    return [*trace.y, *(trace.low or []), *(trace.high or [])]


def _scatter(panel: Panel, trace: Trace, colour: str, is_first: bool) -> dict[str, Any]:
    common = {"name": trace.name, "legendgroup": trace.name, "showlegend": is_first, "meta": {"colour": colour}}
    if trace.style == "band":
        assert trace.low is not None
        assert trace.high is not None
        outline = {"x": [*trace.x, *reversed(trace.x)], "y": [*trace.high, *reversed(trace.low)]}
        look = {"mode": "lines", "fill": "toself", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        return common | outline | look
    mode = {"points": "markers", "line": "lines", "both": "lines+markers"}[trace.style]
    scatter: dict[str, Any] = {"x": list(trace.x), "y": list(trace.y), "mode": mode}
    scatter["line"] = {"width": 2, "dash": "dash" if trace.is_dashed else "solid"}
    scatter["marker"] = {"size": 5 if trace.is_faint else 8, "opacity": 0.65 if trace.is_faint else 1}
    if trace.hover is not None:
        scatter |= {"text": list(trace.hover), "hovertemplate": "%{text}<extra></extra>"}
    elif trace.style == "line":
        scatter["hoverinfo"] = "skip"
    if trace.commands is not None:
        scatter["customdata"] = list(trace.commands)
    if trace.low is not None and trace.high is not None:
        below, above = bars(trace)
        if panel.y.is_log:  # an interval that reaches 0 has no end there
            below = [min(each, LEAST * y) for y, each in zip(trace.y, below, strict=True)]
        scatter["error_y"] = {"array": above, "arrayminus": below, "thickness": 1.4, "width": 4}
    return common | scatter


def _axis(axis: Axis, values: Sequence[Any]) -> dict[str, Any]:
    title = {"text": axis.title, "standoff": 10, "font": {"size": 13}}
    look: dict[str, Any] = {"title": title, "automargin": True, "zeroline": False}
    look |= {"type": "log" if axis.is_log else "linear", "ticks": "outside", "ticklen": 4, "showline": True}
    if axis.is_log and (ticks := log_ticks([value for value in values if isinstance(value, int | float)])):
        look |= {"tickmode": "array", "tickvals": ticks, "ticktext": [tick_text(tick) for tick in ticks]}
    return look


def log_ticks(values: Sequence[float]) -> list[float]:
    """Return ticks in steps of 1, 2 and 5 over the positive finite values; only 1 of each decade where they are many.

    Some lie beyond either end, for a person who zooms out; none where fewer than two lie inside.
    """
    good = [value for value in values if value > 0 and math.isfinite(value)]
    if not good:
        return []
    low, high = math.floor(math.log10(min(good))), math.ceil(math.log10(max(good)))
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1,)):
        ticks = [float(f"{step}e{power}") for power in range(low - 1, high + 2) for step in steps]
        inside = [tick for tick in ticks if min(good) <= tick <= max(good)]
        if len(inside) < 2:
            return []
        if len(inside) <= MAX_TICKS:
            break
    return ticks


def tick_text(value: float) -> str:
    """Write a number on an axis: thousands separated, and in powers of ten where it would be long."""
    if value >= 1e6 or value < 1e-3:
        digits, power = f"{value:.0e}".split("e")
        return f"{digits}e{int(power)}"
    return f"{value:,.6g}"

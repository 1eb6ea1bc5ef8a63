"""The page of a study: one file that needs nothing else, and opens from disk without a network."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from batchlab.report.interactive import DARK, figure_of
from batchlab.report.panel import PageTable, Panel
from batchlab.report.study_data import digits

TEMPLATE = Path(__file__).parent / "template"
FIGURES = "figures"
"""Folder beside the page with its figures as PNG and SVG."""


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
    """Write JSON that can stand inside a script element; no number is NaN."""
    return Markup(json.dumps(_drawable(value), separators=(",", ":")).replace("<", "\\u003c"))


def _drawable(value: Any) -> Any:
    """The same with null for NaN and infinity, and floats of six digits: a figure has no room for more."""
    if isinstance(value, dict):
        return {key: _drawable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_drawable(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


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

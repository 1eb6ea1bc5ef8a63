"""The best learning rate by batch size, and the exponent by which it moves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from batchlab.laws.estimate import Estimate
from batchlab.laws.line import Power, fit_power
from batchlab.report.by_size import BATCH_SIZE, MAX_OTHERS, some, trace_of
from batchlab.report.comparison import Row
from batchlab.report.panel import Axis, Panel, Trace
from batchlab.report.study_data import Study, best_by_size, labelled, rank

MIN_SIZES = 3
"""Fewer batch sizes say nothing of a power."""


@dataclass(frozen=True)
class LrPoints:
    """Learning rates of one label."""

    label: str  # tells it from other settings; empty where there is one
    tried: Sequence[Row]  # every configuration with a value
    best: Sequence[Row]  # the best of each batch size with two rates or more, by batch size
    at_end: Sequence[int]  # batch sizes whose best rate is the least or the greatest that was tried there
    law: Power | None  # through the best; None with fewer than three of them, through two of which any power goes


def lr_points(study: Study) -> list[LrPoints]:
    """Return learning rates by label; labels with fewer than two batch sizes of two rates each are left out."""
    found = []
    for label, rows in labelled(study).items():
        tried = [row for row in rows if math.isfinite(rank(study, row))]
        rates: dict[int, set[float]] = {}
        for row in tried:
            rates.setdefault(row.batch_size, set()).add(row.lr)
        best = [row for row in best_by_size(study, tried) if len(rates[row.batch_size]) > 1]
        if len(best) < 2:
            continue
        at_end = [row.batch_size for row in best if row.lr in (min(rates[row.batch_size]), max(rates[row.batch_size]))]
        law = None
        if len(best) >= MIN_SIZES:
            widths = [cell(row.lr, sorted(rates[row.batch_size])) for row in best]
            law = fit_power([row.batch_size for row in best], [row.lr for row in best], widths)
        found.append(LrPoints(label, tried, best, at_end, law))
    return found


def cell(lr: float, tried: Sequence[float]) -> float:
    """Return the width of the cell around one of at least two rising rates, in logarithm.

    It reaches half the way to each neighbour; at an end it is as wide as the way to the only one.
    """
    place = list(tried).index(lr)
    gaps = [math.log(high / low) for low, high in pairwise(tried)]
    sides = gaps[max(0, place - 1) : place + 1]
    return sum(sides) / len(sides)


def lr_panel(points: Sequence[LrPoints], study: Study) -> Panel:
    """Return the best lr against batch size on logarithmic axes, with the fitted power."""

    def rate(row: Row) -> Estimate:
        return Estimate(row.lr, math.nan, math.nan)

    tried = [row for each in points for row in each.tried]
    step = 1 + len(tried) // MAX_OTHERS
    traces = [trace_of(some("tried", step), tried[::step], study, rate, is_faint=True)]
    for each in points:
        traces.append(trace_of(each.label or "best of each batch size", each.best, study, rate, style="points"))
        if each.law is not None:
            sizes = np.geomspace(each.best[0].batch_size, each.best[-1].batch_size, 20)
            fitted = [each.law.at(size) for size in sizes]
            title = f"{each.label} ∝ B^{each.law.exponent.value:.2f}".strip()
            traces.append(Trace(title, list(sizes), fitted, style="line", is_dashed=True))
    note = " ".join(words for each in points for words in in_words(each))
    y = Axis("learning rate used, after scaling", is_log=True)
    return Panel("lr", "Best learning rate by batch size", BATCH_SIZE, y, traces, note)


def in_words(points: LrPoints) -> list[str]:
    """Return the exponent with its interval, and how far it can be trusted."""
    prefix = f"{points.label}: " if points.label else ""
    if points.law is None:
        return [f"{prefix}{len(points.best)} batch sizes do not tell how the best lr moves with the batch size."]
    exponent = points.law.exponent
    interval = f"[{exponent.low:.2f}, {exponent.high:.2f}], the spacing of the rates included"
    lines = [f"{prefix}lr ∝ B^{exponent.value:.2f} {interval} (linear rule 1, square-root rule 0.5)."]
    if len({row.varied.get("epochs") for row in points.best}) > 1:
        lines.append("They were trained for unequal epochs, which moves the best lr too.")
    if points.at_end:
        sizes = ", ".join(f"{size:,}" for size in points.at_end)
        lines.append(f"At B = {sizes} the best stands at the end of the rates that were tried: more may move it.")
    return lines

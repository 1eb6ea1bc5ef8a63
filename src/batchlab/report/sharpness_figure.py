"""Sharpness: the table at the end of a command, beside the loss it was measured at, and the panels of a page."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from batchlab.laws.estimate import Estimate
from batchlab.report.by_size import BATCH_SIZE
from batchlab.report.comparison import Row, table_of
from batchlab.report.panel import Axis, Panel, Trace, interval_trace
from batchlab.report.study_data import Study, best_by_size, labelled, settings_in_words

COLUMNS = {
    "sharpness/train_loss": "train loss",
    "sharpness/lambda_max": "lambda max",
    "sharpness/adaptive_sam": "adaptive SAM",
    "sharpness/keskar_1e-3": "phi(1e-3) %",
}
"""Those that a terminal has room for; MLflow has all."""
TITLES = {
    "sharpness/lambda_max": ("λ_max", "Hessian's λ_max (loss per squared weight)"),
    "sharpness/adaptive_sam": ("adaptive SAM", "adaptive SAM sharpness (rise of the loss)"),
    "sharpness/keskar_1e-3": ("φ(1e-3)", "Keskar's φ at ε = 1e-3 (% of 1 + loss)"),
    "sharpness/keskar_5e-4": ("φ(5e-4)", "Keskar's φ at ε = 5e-4 (% of 1 + loss)"),
    "sharpness/keskar_subspace_1e-3": ("φ in a subspace, 1e-3", "φ in a subspace, ε = 1e-3 (% of 1 + loss)"),
    "sharpness/keskar_subspace_5e-4": ("φ in a subspace, 5e-4", "φ in a subspace, ε = 5e-4 (% of 1 + loss)"),
    "sharpness/sam": ("SAM", "SAM sharpness (rise of the loss)"),
    "sharpness/trace": ("trace", "trace of the Hessian (loss per squared weight)"),
    "sharpness/lr_lambda_max": ("lr·λ_max", "learning rate × Hessian's λ_max (2 is the edge for SGD)"),
    "sharpness/train_loss": ("train loss", "train loss on the measured examples"),
}
"""What a page calls a measure: on its button, and on its axis, with the unit."""
ABOUT = ("_converged", "_standard_error")
"""Endings of what says how well another measure is known."""
MODES = {"eval": "batch norm with its running statistics", "train": "batch norm with the sample's statistics"}


def draw_sharpness(rows: Sequence[Row]) -> Table | None:
    """Return the rows' sharpness as a table for the terminal; None where nothing was measured."""
    shown = [name for name in COLUMNS if any(name in row.sharpness for row in rows)]
    if not any(row.sharpness[name].n for row in rows for name in shown if name in row.sharpness):
        return None
    names = list(dict.fromkeys(name for row in rows for name in row.varied))
    table = table_of("sharpness", ["batch size", *names, *(COLUMNS[name] for name in shown), "n"], left=names)
    for row in rows:
        settings = [str(row.batch_size), *(row.varied.get(name, "") for name in names)]
        values = [format_significant(row.sharpness[name]) if name in row.sharpness else "-" for name in shown]
        table.add_row(*settings, *values, str(row.n))
    return table


def describe_sharpness(runs: Iterable[Mapping[str, Any]]) -> str:
    """Return a sentence on what the numbers of the table depend on, as the first run that was measured says."""
    params = next(run["params"] for run in runs if "measure.batch_norm" in run["params"])
    examples, mode = params.get("measure.num_examples"), MODES[params["measure.batch_norm"]]
    sample = f"at most {int(examples):,} training examples" if examples else "all training examples"
    return f"Sharpness is that of the loss on {sample}, {mode}; it compares at equal train loss."


def format_significant(value: Estimate) -> str:
    """Write ``mean ± half width`` to three digits; no ± at n = 1, a dash for NaN."""
    if math.isnan(value.value):
        return "-"
    text = f"{value.value:.3g}"
    return text if math.isnan(value.half_width) else f"{text} ± {value.half_width:.2g}"


def sharpness_points(study: Study) -> dict[str, dict[str, list[Row]]]:
    """Return metric -> label -> the best row of each batch size; metrics without a value are left out."""
    names = {name for row in study.rows for name in row.sharpness if not name.endswith(ABOUT)}
    ordered = [*(name for name in TITLES if name in names), *sorted(names - set(TITLES))]
    best = {label: best_by_size(study, rows) for label, rows in labelled(study).items()}
    found: dict[str, dict[str, list[Row]]] = {}
    for name in ordered:
        for label, rows in best.items():
            if measured := [row for row in rows if name in row.sharpness and row.sharpness[name].n]:
                found.setdefault(name, {})[label] = measured
    return found


def sharpness_panels(points: Mapping[str, Mapping[str, Sequence[Row]]], note: str) -> list[Panel]:
    """Return one panel for each measure, in one place; the note says how it was measured."""
    panels = []
    for name, by_label in points.items():
        own = name.removeprefix("sharpness/")
        choice, title = TITLES.get(name, (own, own))
        traces = [_by_size(label or "best setting", rows, name) for label, rows in by_label.items()]
        y = Axis(title, is_log=all(isinstance(y, float) and y > 0 for trace in traces for y in trace.y))
        where = f"sharpness-{re.sub(r'[^a-z0-9]+', '_', own.lower())}", "Sharpness by batch size"
        panels.append(Panel(*where, BATCH_SIZE, y, traces, note, switch="sharpness", choice=choice))
    return panels


def _by_size(label: str, rows: Sequence[Row], name: str) -> Trace:
    hover = [f"{settings_in_words(row)}<br>{format_significant(row.sharpness[name])}<br>n = {row.n}" for row in rows]
    return interval_trace(
        label, [row.batch_size for row in rows], [row.sharpness[name] for row in rows],
        hover=hover, commands=[row.origin for row in rows],
    )  # fmt: skip

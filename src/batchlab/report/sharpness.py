"""The table of sharpness at the end of a command: what of it was measured, beside the loss it was measured at."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from batchlab.report.comparison import Estimate, Row

COLUMNS = {
    "sharpness/train_loss": "train loss",
    "sharpness/lambda_max": "lambda max",
    "sharpness/adaptive_sam": "adaptive SAM",
    "sharpness/keskar_1e-3": "phi(1e-3) %",
}
"""Those that a terminal has room for; MLflow has all."""
MODES = {"eval": "batch norm with its running statistics", "train": "batch norm with the sample's statistics"}


def draw_sharpness(rows: Sequence[Row]) -> Table | None:
    """The rows' sharpness as a table for the terminal; None where nothing was measured."""
    shown = [name for name in COLUMNS if any(name in row.sharpness for row in rows)]
    if not any(row.sharpness[name].n for row in rows for name in shown if name in row.sharpness):
        return None
    table = Table(title="sharpness", title_justify="left", title_style="bold", pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row.varied))
    for heading in ("batch size", *names, *(COLUMNS[name] for name in shown), "n"):
        table.add_column(heading, justify="left" if heading in names else "right", overflow="fold")
    for row in rows:
        settings = [str(row.batch_size), *(row.varied.get(name, "") for name in names)]
        values = [significant(row.sharpness[name]) if name in row.sharpness else "-" for name in shown]
        table.add_row(*settings, *values, str(row.n))
    return table


def how_measured(params: Mapping[str, Any]) -> str:
    """What the numbers of the table depend on.

    Args:
        params: of a run.
    """
    examples, mode = params.get("measure.num_examples"), MODES[params["measure.batch_norm"]]
    sample = f"at most {int(examples):,} training examples" if examples else "all training examples"
    return f"Sharpness is that of the loss on {sample}, {mode}; it compares at equal train loss."


def significant(value: Estimate) -> str:
    """``mean ± half width`` to three digits; no ± at n = 1, a dash for NaN."""
    if math.isnan(value.mean):
        return "-"
    text = f"{value.mean:.3g}"
    return text if math.isnan(value.half_width) else f"{text} ± {value.half_width:.2g}"

"""A claim's figure: a metric of its arms over the batch size, or side by side, with intervals over seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from batchlab.experiments.arm_results import Arm
from batchlab.experiments.experiment import Check
from batchlab.experiments.verdict import Outcome
from batchlab.laws.estimate import mean_of
from batchlab.laws.line import Array
from batchlab.report.panel import Axis, Panel, Trace, ends

READS = ("metric", "where", "tune", "target", "at", "failed")
"""Keys of a figure that choose values as a check does."""


def claim_panel(outcome: Outcome) -> Panel | None:
    """Return the figure that the experiment's yaml describes; None where nothing was measured.

    Its keys: ``metric`` (and where, tune, target, at, failed, as of a check), ``series`` name -> arms, ``metrics``
    name -> metric of the series that show another one, ``is_relative`` where each is divided by its least, ``x`` the
    key on the horizontal axis, or ``arm`` for their names, ``x_title``, ``y_title``, ``is_log_y``; or ``points``, the
    beginning of metrics whose names end in what stands on the horizontal axis, e.g. ``step_seconds/``, there divided
    by what ``over`` says for an arm.
    """
    figure, claim = outcome.experiment.figure, outcome.experiment.claim
    if not outcome.n or not figure:
        return None
    x = str(figure.get("x", "arm"))
    traces = _of_points(figure, outcome.arms) if "points" in figure else _of_arms(figure, outcome.arms, x)
    return Panel(
        name=outcome.experiment.name,
        title=f"{claim.number}. {figure['title']}",
        x=Axis(str(figure.get("x_title", "batch size" if x != "arm" else "")), is_log=x != "arm"),
        y=Axis(str(figure["y_title"]), is_log=bool(figure.get("is_log_y", False))),
        traces=traces,
    )


def _of_arms(figure: Mapping[str, Any], arms: Mapping[str, Arm], x: str) -> list[Trace]:
    measured = [name for name, arm in arms.items() if arm.settings[0]]
    series = figure.get("series") or {figure["y_title"]: measured}
    return [_trace(name, figure, [arms[arm] for arm in names], x) for name, names in series.items()]


def _trace(name: str, figure: Mapping[str, Any], arms: Sequence[Arm], x: str) -> Trace:
    keys = {key: figure[key] for key in READS if key in figure}
    keys["metric"] = figure.get("metrics", {}).get(name, figure["metric"])
    check = Check(name="figure", statistic="difference", of="", **keys)
    rows = [arm.censored_bounds(check)[:, 1] for arm in arms]
    if figure.get("is_relative", False):
        least = np.nanmin([row.mean() for row in rows if np.isfinite(row).all()], initial=np.inf)
        rows = [row / least for row in rows]
    if x == "arm":
        return _with_intervals(name, [arm.name for arm in arms], rows, "points", figure)
    return _with_intervals(name, [float(arm.chosen(check)[0].params[x]) for arm in arms], rows, "both", figure)


def _of_points(figure: Mapping[str, Any], arms: Mapping[str, Arm]) -> list[Trace]:
    start, traces = str(figure["points"]), []

    def end(metric: str) -> float:
        return float(metric.removeprefix(start))

    for arm in arms.values():
        if not (runs := arm.settings[0]):
            continue
        names = sorted((each for each in runs[0].finals if each.startswith(start)), key=end)
        rows = [np.array([run.finals.get(each, math.nan) for run in runs]) for each in names]
        unit = figure.get("over", {}).get(arm.name, 1.0)
        places = [end(each) / unit for each in names]
        traces.append(_with_intervals(arm.name.replace("_", " "), places, rows, "both", figure))
    return traces


def _with_intervals(name: str, x: Sequence[Any], rows: Sequence[Array], style: Any, figure: Mapping[str, Any]) -> Trace:
    """Means with 95 % t intervals, of logarithms where the axis has them; what is not finite has no place."""
    with np.errstate(divide="ignore"):
        scaled = [np.log(row) for row in rows] if figure.get("is_log_y", False) else rows
    back = math.exp if figure.get("is_log_y", False) else float
    found = [mean_of(np.where(np.isfinite(row), row, math.nan).tolist()) for row in scaled]
    low, high = ([back(ends(each)[side]) for each in found] for side in (0, 1))
    return Trace(name, list(x), [back(each.value) for each in found], low, high, style)

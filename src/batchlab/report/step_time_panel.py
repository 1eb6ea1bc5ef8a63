"""Seconds of a step by batch size as the runs took them, and the law t(B) = α + β·B through them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from batchlab.config.objectives import MEASURED
from batchlab.config.traits import BatchScheduleTraits, declared
from batchlab.laws.estimate import mean_of
from batchlab.laws.line import Array
from batchlab.laws.step_time import StepTime, fit_step_time
from batchlab.report.by_size import BATCH_SIZE
from batchlab.report.comparison import Run, metric_of
from batchlab.report.panel import Axis, Panel, Trace, interval_trace
from batchlab.report.step_time_table import step_time_in_words
from batchlab.report.study_data import Study, labelled

MAX_RUNS = 50
"""Of one batch size go into the law; its bootstrap need not see more."""
LOOSE = 0.3
"""A time that is farther from the law than this is named."""
NUM_POINTS = 60
"""Of a law's line."""


@dataclass(frozen=True)
class StepPoints:
    """Step times of one label."""

    label: str  # tells it from other settings; empty where there is one
    seconds: dict[int, list[float]]  # batch size -> seconds of a step in each run, by batch size
    law: StepTime | None  # None with fewer than two batch sizes


def step_points(study: Study) -> list[StepPoints]:
    """Return training seconds over steps of each run, by label; runs whose batch grows are left out."""
    found = []
    for label, rows in labelled(study).items():
        seconds: dict[int, list[float]] = {}
        for row in rows:
            for run in study.by_key[row.key]:
                if (value := step_seconds(run)) is not None:
                    seconds.setdefault(row.batch_size, []).append(value)
        if seconds:
            ordered = dict(sorted(seconds.items()))
            found.append(StepPoints(label, ordered, law_of(ordered)))
    return found


def step_seconds(run: Run) -> float | None:
    """Return mean seconds of a step of one run, as measured; None where it does not say, or its batch grew.

    Seconds as if alone are a law times steps already: through them the law would only be found again.
    """
    seconds, steps = metric_of(run, MEASURED), metric_of(run, "cost/num_steps")
    grows = declared(BatchScheduleTraits, {"_target_": run["params"].get("batch_schedule._target_")}).grows
    return seconds / steps if seconds > 0 and steps > 0 and not grows else None


def law_of(seconds: dict[int, list[float]]) -> StepTime | None:
    """Fit the law through runs at each batch size, as many of each as the size with the fewest has."""
    if len(seconds) < 2:
        return None
    count = min(MAX_RUNS, *(len(values) for values in seconds.values()))
    # evenly spaced quantiles keep the median of the sizes that have more
    blocks = np.array([np.quantile(values, (np.arange(count) + 0.5) / count) for values in seconds.values()]).T
    return fit_step_time(list(seconds), blocks)


def step_panel(points: Sequence[StepPoints]) -> Panel:
    """Return milliseconds of a step by batch size, with the law; dashed where the law does not hold."""
    traces: list[Trace] = []
    for each in points:
        means = {size: mean_of([value * 1e3 for value in values]) for size, values in each.seconds.items()}
        hover = [f"batch size {size:,}<br>{ms.value:.3g} ms per step<br>n = {ms.n}" for size, ms in means.items()]
        name = each.label or "measured"
        traces.append(interval_trace(name, list(means), list(means.values()), style="points", hover=hover))
        if each.law is not None:
            law_name = f"{each.label} α + β·B".strip()
            for at, fitted, is_beyond in law_lines(each.law, max(each.seconds)):
                traces.append(Trace(law_name, list(at), list(1e3 * fitted), style="line", is_dashed=is_beyond))
    lines = [line.strip() for each in points for line in step_time_in_words(each.label, each.law)]
    if any(each.law is not None and each.law.worst > LOOSE for each in points):
        lines.append("The times do not follow the law closely: a busy machine, or settings that change a step's work.")
    note = ". ".join(lines).replace("..", ".")
    y = Axis("time of a step (ms)", is_log=True)
    return Panel("step_time", "Time of a step by batch size", BATCH_SIZE, y, traces, note)


def law_lines(law: StepTime, top: int) -> list[tuple[Array, Array, bool]]:
    """Return batch sizes and seconds of a step by the law in its range, and beyond it (True) up to the size `top`."""
    ranges = [(law.smallest, law.largest, False), (law.largest, top, True)]
    lines = [(np.geomspace(low, high, NUM_POINTS), is_beyond) for low, high, is_beyond in ranges if high > low]
    return [(at, law.at(at), is_beyond) for at, is_beyond in lines]

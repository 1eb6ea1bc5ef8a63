"""What is gained for what it costs: every configuration, and those that no other beats in both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.config.objectives import CALIBRATED, MEASURED
from batchlab.laws.estimate import Estimate
from batchlab.report.comparison import Row, mean_metric
from batchlab.report.panel import Axis, Panel, Trace, interval_trace
from batchlab.report.study_data import Study, hover_of
from batchlab.search.pareto_front import pareto_front
from batchlab.tasks.known_tasks import FINAL, metric_of_final

AXES = {
    "cost/train_seconds": Axis("training time (s)", is_log=True),
    "cost/calibrated_train_seconds": Axis("training time if alone (s)", is_log=True),
    "cost/total_seconds": Axis("time of a run, evaluation included (s)", is_log=True),
    "cost/num_examples": Axis("examples processed", is_log=True),
    "cost/num_steps": Axis("optimizer steps", is_log=True),
    "cost/peak_memory_bytes": Axis("peak memory (bytes)", is_log=True),
    "target/seconds": Axis("time to the target (s)", is_log=True),
    "target/examples": Axis("examples to the target", is_log=True),
}
MANY = 200
"""From so many points on they have no bars."""


@dataclass(frozen=True)
class ParetoPoints:
    """Configurations by two objectives."""

    metrics: tuple[str, str]
    rows: Sequence[Row]  # configurations with both values
    values: Sequence[tuple[Estimate, Estimate]]  # [n] pairs of estimates
    front: Sequence[int]  # places of those that no other dominates, by the first objective


def pareto_points(study: Study) -> ParetoPoints | None:
    """Return configurations by the first two objectives: seconds and the score where nothing was searched.

    None with fewer than two configurations that have both values.
    """
    metrics, directions = objectives_of(study)
    found: list[tuple[Row, tuple[Estimate, Estimate]]] = []
    for row in (row for row in study.rows if not row.outcomes):
        first, second = (mean_metric(study.by_key[row.key], name) for name in metrics)
        if math.isfinite(first.value) and math.isfinite(second.value):
            found.append((row, (first, second)))
    if len(found) < 2:
        return None
    values = [pair for _, pair in found]
    front = pareto_front([(first.value, second.value) for first, second in values], directions)
    return ParetoPoints(metrics, [row for row, _ in found], values, front)


def objectives_of(study: Study) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return two objectives and their directions."""
    search = study.search
    if search is not None and len(search.metrics) > 1:
        return (search.metrics[0], search.metrics[1]), (search.directions[0], search.directions[1])
    seconds = CALIBRATED if all(row.calibrated_seconds for row in study.rows) else MEASURED
    return (seconds, f"{FINAL}{study.score.name}"), ("minimize", study.score.direction)


def axis_of(metric: str) -> Axis:
    """Return the axis of an objective."""
    found = metric_of_final(metric)
    return Axis(found.axis) if found is not None else AXES.get(metric, Axis(metric))


def pareto_panel(points: ParetoPoints, study: Study, recommended: Row | None) -> Panel:
    """Return the front as a line, the other configurations behind it, the recommended one marked."""
    on_front = set(points.front)
    others = [place for place in range(len(points.rows)) if place not in on_front]
    marked = [place for place, row in enumerate(points.rows) if recommended and row.key == recommended.key]
    traces = [_trace("other configurations", others, points, study, is_faint=True)] if others else []
    traces.append(_trace("Pareto front", points.front, points, study))
    if marked:
        traces.append(_trace("recommended", marked, points, study))
    x, y = map(axis_of, points.metrics)
    note = (
        f"{len(points.front)} of {len(points.rows):,} configurations are beaten by no other in both. "
        "A click on a point copies the command that trains it. A front of noisy values flatters its points: "
        "the answer above goes by intervals and fresh seeds."
    )
    return Panel("pareto", "What each configuration costs and reaches", x, y, traces, note)


def _trace(name: str, places: Sequence[int], points: ParetoPoints, study: Study, is_faint: bool = False) -> Trace:
    pairs = [points.values[place] for place in places]
    return interval_trace(
        name, [first.value for first, _ in pairs], [second for _, second in pairs],
        style="both" if name == "Pareto front" else "points", is_faint=is_faint, has_bars=len(places) < MANY,
        hover=[hover_of(points.rows[place]) for place in places],
        commands=[points.rows[place].origin for place in places],
    )  # fmt: skip

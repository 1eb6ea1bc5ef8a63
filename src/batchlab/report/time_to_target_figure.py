"""Time and examples to the target by batch size, and what the two laws say of them together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from batchlab.laws.convergence import Convergence
from batchlab.laws.estimate import Estimate, mean_of, of_draws
from batchlab.laws.optimum import Costs, best_batch_size, costs_of_laws, good_range
from batchlab.report.by_size import BATCH_SIZE
from batchlab.report.comparison import Row, format_interval
from batchlab.report.convergence_table import convergence_in_words, targets_of
from batchlab.report.panel import Axis, Panel, Trace, interval_trace
from batchlab.report.step_time_panel import StepPoints
from batchlab.report.study_data import Study, hover_of, num_train

NUM_POINTS = 40
"""Of a law's line."""


@dataclass(frozen=True)
class TargetPoints:
    """What runs to a target took.

    Attributes:
        rows: the best setting of each batch size, by batch size.
        seconds: to the target, one for each row; n = 0 where no run reached it.
        examples: likewise.
        law: of convergence; None where fewer than two batch sizes reached the target.
        costs: both laws; None where one of them is missing.
        words: the law of convergence for people.
    """

    rows: Sequence[Row]
    seconds: Sequence[Estimate]
    examples: Sequence[Estimate]
    law: Convergence | None
    costs: Costs | None
    words: Sequence[str]


def target_points(study: Study, steps: Sequence[StepPoints]) -> TargetPoints | None:
    """Return time and examples to the target; None where no run has one, or of one batch size only.

    Args:
        study: what was recorded.
        steps: step times; their law counts where there is one label.
    """
    runs = [run for group in study.by_key.values() for run in group]
    targets = targets_of(runs)
    if targets is None:
        return None
    rows = {row.key: row for row in study.rows}
    best = [rows[group[0]["tags"]["config_key"]] for group in targets.by_size.values()]

    def over(metric: str) -> list[Estimate]:
        groups = targets.by_size.values()
        return [mean_of([float(run["metrics"].get(metric, math.nan)) for run in group]) for group in groups]

    step, total = steps[0].law if len(steps) == 1 else None, num_train(study)
    costs = costs_of_laws(step, targets.law, total) if step and targets.law and math.isfinite(total) else None
    words = convergence_in_words(targets)
    return TargetPoints(best, over("target/seconds"), over("target/examples"), targets.law, costs, words)


def target_panels(points: TargetPoints, study: Study) -> list[Panel]:
    """Return seconds to the target with the prediction of both laws, and examples with the law of convergence."""
    sizes = np.geomspace(points.rows[0].batch_size, points.rows[-1].batch_size, NUM_POINTS)
    seconds, examples = [], []
    if points.costs is not None:
        seconds = _band("both laws", sizes, [of_draws(each[0], each) for each in points.costs.seconds(sizes).T])
    if points.law is not None:
        examples = _band("E_min·(1 + B/B_crit)", sizes, [points.law.examples(size) for size in sizes])
    seconds.append(_measured(points, points.seconds, study))
    examples.append(_measured(points, points.examples, study))
    left, right = Axis("time to the target (s)", is_log=True), Axis("examples to the target", is_log=True)
    return [
        Panel("target", "Time to the target by batch size", BATCH_SIZE, left, seconds, optimum_in_words(points)),
        Panel(
            "convergence", "Examples to the target by batch size", BATCH_SIZE, right, examples, " ".join(points.words)
        ),
    ]


def optimum_in_words(points: TargetPoints) -> str:
    """Return the batch size of the least time by both laws, with its interval."""
    if points.costs is None:
        return "Two batch sizes that reach the target, and their step times, would give the best one by law."
    low, high = good_range(points.costs)
    best = format_interval(best_batch_size(points.costs))
    return f"By both laws the least time is at B* = {best}; from {low:,.0f} to {high:,.0f} it is within 10 % of that."


def _measured(points: TargetPoints, values: Sequence[Estimate], study: Study) -> Trace:
    rows = [row for row, value in zip(points.rows, values, strict=True) if value.n]
    return interval_trace(
        "measured", [row.batch_size for row in rows], [value for value in values if value.n], style="points",
        hover=[hover_of(study, row) for row in rows], commands=[row.origin for row in rows],
    )  # fmt: skip


def _band(name: str, sizes: np.ndarray, values: Sequence[Estimate]) -> list[Trace]:
    x, y = list(sizes), [each.value for each in values]
    low, high = [each.low for each in values], [each.high for each in values]
    return [Trace(name, x, y, low, high, style="band"), Trace(name, x, y, style="line")]

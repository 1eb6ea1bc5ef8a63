"""What a study's page contains, from its runs: the answer, the panels that have data, the tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batchlab.report.answer import answer_of
from batchlab.report.by_size import accuracy_panel, seconds_panel, size_points, throughput_panel
from batchlab.report.comparison import Row, time_spent
from batchlab.report.curves import ReadCurves, curve_panels, curve_points, noise_panel
from batchlab.report.failures import failure_points, failure_table
from batchlab.report.lr_figure import LrPoints, lr_panel, lr_points
from batchlab.report.panel import PageTable, Panel
from batchlab.report.provenance import provenance_points, provenance_table
from batchlab.report.sharpness_figure import describe_sharpness, sharpness_panels, sharpness_points
from batchlab.report.step_time_panel import StepPoints, step_panel, step_points
from batchlab.report.study_data import Study
from batchlab.report.summary import summary_of
from batchlab.report.time_to_target_figure import target_panels, target_points
from batchlab.report.tradeoff import pareto_panel, pareto_points


@dataclass(frozen=True)
class Contents:
    """A page's.

    Attributes:
        summary: in numbers; `summary.json`.
        panels: figures in their order.
        tables: tables in their order, below the figures.
    """

    summary: dict[str, Any]
    panels: Sequence[Panel]
    tables: Sequence[PageTable]


def contents_of(study: Study, read: ReadCurves) -> Contents:
    """Everything that a study's records say.

    Args:
        study: what was recorded.
        read: gives curves of runs.
    """
    answer, steps, rates = answer_of(study), step_points(study), lr_points(study)
    target, facts = target_points(study, steps), provenance_points(study)
    summary = summary_of(study, answer, steps, target, rates, facts)
    summary["spent"] = time_spent(study.runs)
    panels = [
        *_by_size(study),
        *_tradeoff(study, answer.best if answer else None),
        *_along_training(study, read),
        *_speed(study, steps),
        *(target_panels(target, study) if target else []),
        *_settings(study, rates),
    ]
    failures = failure_points(study)
    tables = [failure_table(failures, study)] if failures else []
    return Contents(summary, panels, [*tables, *([provenance_table(facts)] if facts else [])])


def _by_size(study: Study) -> list[Panel]:
    points = size_points(study)
    if points is None:
        return []
    return [accuracy_panel(points, study), seconds_panel(points, study)]


def _tradeoff(study: Study, best: Row | None) -> list[Panel]:
    points = pareto_points(study)
    return [pareto_panel(points, study, best)] if points else []


def _along_training(study: Study, read: ReadCurves) -> list[Panel]:
    points = curve_points(study, read)
    noise = noise_panel(points)
    return [*(curve_panels(points, study) if points else []), *([noise] if noise else [])]


def _speed(study: Study, steps: Sequence[StepPoints]) -> list[Panel]:
    points = size_points(study)
    if points is None or not any(each.law for each in steps):
        return []
    return [throughput_panel(points, study), step_panel(steps)]


def _settings(study: Study, rates: Sequence[LrPoints]) -> list[Panel]:
    panels = [lr_panel(rates, study)] if rates else []
    points = sharpness_points(study)
    if points:
        panels += sharpness_panels(points, describe_sharpness(reversed(study.runs)))
    return panels

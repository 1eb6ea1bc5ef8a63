"""Page of a study, its numbers and figures, from what was recorded: composed, written, and laid beside the runs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchlab.config.installation import program
from batchlab.report.answer import answer_of
from batchlab.report.by_size import score_panel, seconds_panel, size_points, throughput_panel
from batchlab.report.comparison import time_spent
from batchlab.report.curves import ReadCurves, curve_panels, curve_points, noise_panel
from batchlab.report.export import export_panel
from batchlab.report.lr_figure import lr_panel, lr_points
from batchlab.report.page import FIGURES, page_of
from batchlab.report.page_tables import failure_points, failure_table, provenance_points
from batchlab.report.panel import PageTable, Panel
from batchlab.report.search_summary import search_of
from batchlab.report.sharpness_figure import describe_sharpness, sharpness_panels, sharpness_points
from batchlab.report.step_time_panel import step_panel, step_points
from batchlab.report.study_data import Study, study_of
from batchlab.report.summary import summary_of
from batchlab.report.time_to_target import target_panels, target_points
from batchlab.report.tradeoff import pareto_panel, pareto_points
from batchlab.search.dashboard import attach_figures
from batchlab.system.environment_errors import cannot_write
from batchlab.tracking.stores import report_folder
from batchlab.tracking.study_reader import attach, curves_of, study_runs


def contents_of(study: Study, read: ReadCurves) -> tuple[dict[str, Any], list[Panel], list[PageTable]]:
    """Return a page's numbers as in `summary.json`, its figures, and the tables below them; `read` gives curves."""
    answer, steps, rates = answer_of(study), step_points(study), lr_points(study)
    target, facts = target_points(study, steps[0].law if len(steps) == 1 else None), provenance_points(study)
    summary = summary_of(study, answer, steps, target, rates, facts)
    summary["spent"] = time_spent(study.runs)
    panels: list[Panel | None] = []
    sizes, curves, sharpness = size_points(study), curve_points(study, read), sharpness_points(study)
    if sizes:
        panels += [score_panel(sizes, study), seconds_panel(sizes, study)]
    if pareto := pareto_points(study):
        panels.append(pareto_panel(pareto, study, answer.best if answer else None))
    panels += [*(curve_panels(curves, study) if curves else []), noise_panel(curves)]
    if sizes and any(each.law for each in steps):
        panels += [throughput_panel(sizes, study), step_panel(steps)]
    panels += [*(target_panels(target, study) if target else []), lr_panel(rates, study) if rates else None]
    if sharpness:
        panels += sharpness_panels(sharpness, describe_sharpness(reversed(study.runs)))
    failures = failure_points(study)
    tables = [failure_table(failures, study)] if failures else []
    if facts:
        tables.append(PageTable("provenance", "Where the numbers come from", ["", ""], list(facts.items())))
    return summary, [panel for panel in panels if panel], tables


def write_study_page(mlruns: str, name: str, storage: Any = None) -> tuple[Path, Mapping[str, Any]] | None:
    """Write ``mlruns/reports/<study>/index.html``, ``summary.json`` and figures; the same records give the same bytes.

    Return the page and the summary; None where no run of the study has ended.
    """
    search = search_of(mlruns, name, storage)
    study = study_of(name, study_runs(mlruns, name), search)
    if not study.runs and not (search and search.failed):
        return None
    summary, panels, tables = contents_of(study, lambda run_ids, metrics: curves_of(mlruns, run_ids, metrics))
    folder = report_folder(mlruns, name)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_whole(folder / "index.html", page_of(summary, panels, tables))
    figures = [path for panel in panels for path in export_panel(panel, folder / FIGURES)]
    for stale in set((folder / FIGURES).glob("*.*")) - set(figures):
        stale.unlink()
    attach(mlruns, name, [folder / "summary.json", *figures])
    if search is not None:
        attach_figures(mlruns, name, figures, storage)
    return folder / "index.html", summary


def write_whole(path: Path, text: str) -> None:
    """Write a file in one move: who has it open, or writes it too, finds a whole one."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise cannot_write(path, error, f"Lost: this page; `{program('report')}` makes it again.") from error

"""A study's page, its numbers and its figures, from what was recorded: written, and laid beside the runs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchlab.config.installation import program
from batchlab.report.contents import Contents, contents_of
from batchlab.report.export import export_panel
from batchlab.report.page import FIGURES, page_of
from batchlab.report.search_summary import search_of
from batchlab.report.study_data import study_of
from batchlab.search.figures import attach_figures
from batchlab.system.environment_errors import cannot_write
from batchlab.tracking.stores import report_folder
from batchlab.tracking.study_reader import attach, curves_of, study_runs


def write_study_page(mlruns: str, name: str, storage: Any = None) -> tuple[Path, Mapping[str, Any]] | None:
    """Write ``mlruns/reports/<study>/index.html``, ``summary.json`` and figures; the same records give the same bytes.

    Args:
        mlruns: folder of results.
        name: of the study.
        storage: Optuna's store; None = optuna.db in `mlruns`.

    Returns:
        The page and the summary; None where no run of the study has ended.
    """
    search = search_of(mlruns, name, storage)
    study = study_of(name, study_runs(mlruns, name), search)
    if not study.runs and not (search and search.failed):
        return None
    contents = contents_of(study, lambda run_ids, metrics: curves_of(mlruns, run_ids, metrics))
    folder = report_folder(mlruns, name)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "summary.json", json.dumps(contents.summary, indent=1) + "\n")
    write_whole(folder / "index.html", page_of(contents))
    figures = write_figures(contents, folder / FIGURES)
    attach(mlruns, name, [folder / "summary.json", *figures])
    if search is not None:
        attach_figures(mlruns, name, figures, storage)
    return folder / "index.html", contents.summary


def write_whole(path: Path, text: str) -> None:
    """Write a file in one move: who has it open, or writes it too, finds a whole one."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise cannot_write(path, error, f"Lost: this page; `{program('report')}` makes it again.") from error


def write_figures(contents: Contents, folder: Path) -> list[Path]:
    """Every panel as PNG and SVG; files of panels that are no more are removed."""
    paths = [path for panel in contents.panels for path in export_panel(panel, folder)]
    for stale in set(folder.glob("*.*")) - set(paths):
        stale.unlink()
    return paths

"""Table of a command's runs when they are over, and the page of their study."""

from typing import Any

from batchlab.config.installation import program
from batchlab.config.schema import Config
from batchlab.report.comparison import comparison_rows, draw_table, time_spent, verdict
from batchlab.report.sharpness_figure import describe_sharpness, draw_sharpness
from batchlab.report.time_to_target import convergence_in_words, draw_targets, targets_of
from batchlab.system.progress import make_console
from batchlab.tracking.mlflow_store import TrackingUnavailable
from batchlab.tracking.study_reader import recorded_runs
from batchlab.tracking.unsent_runs import spooled_runs


def show_comparison(configs: list[Config], sweep_id: str) -> None:
    """Print the table of a command's runs, from what was recorded; nothing where no run was."""
    console = make_console()
    runs = recorded_runs(configs[0], sweep_id, lambda line: console.print(line, soft_wrap=True))
    rows = comparison_rows(runs)
    if not rows:
        return
    num_runs = sum(row.n for row in rows)
    studies = ", ".join(dict.fromkeys(config.study for config in configs))
    console.print(draw_table(rows, f"{studies}: {num_runs} run{'s' if num_runs > 1 else ''}"))
    if any(row.n > 1 for row in rows):
        console.print("± is the half width of a 95 % t interval over n seeds.")
    is_asked = len(rows) > 1 or len(configs[0].measure.sharpness) > 2  # a lone run of brief has nothing to compare
    if is_asked and (table := draw_sharpness(rows)):
        console.print(table)
        console.print(describe_sharpness(runs))
    if (targets := targets_of(runs)) is not None:
        console.print(draw_targets(targets))
        for line in convergence_in_words(targets):
            console.print(line)
    for said in filter(None, (time_spent(runs), verdict(rows))):
        console.print(said)
    waiting = any(spooled_runs(folder, sweep_id) for folder in {config.mlruns for config in configs})
    where = "written down, but not in MLflow yet" if waiting else f"`{program('ui')}` shows curves and every setting"
    console.print(f"Recorded in {configs[0].mlruns}: {where}.")
    if len(configs) > 1:
        for mlruns, study in dict.fromkeys((config.mlruns, config.study) for config in configs):
            show_page(mlruns, study)


def show_page(mlruns: str, study: str, storage: Any = None) -> None:
    """Write a study's page and say where it is, or why there is none; storage None = optuna.db in `mlruns`."""
    # plotly and matplotlib: a second that a run's start does not need
    from batchlab.report.study_page import write_study_page

    try:
        written = write_study_page(mlruns, study, storage)
    except TrackingUnavailable as error:
        later = f"{program('report')} study={study}"
        make_console().print(f"No report page: {error}. Later: {later}", soft_wrap=True)
        return
    if written is not None:
        make_console().print(f"Report: {written[0]}", soft_wrap=True)

"""End of a search: the Pareto front, picks retrained with fresh seeds, a file that runs each of them."""

import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from batchlab.commands.train.job import prepare, train_seed
from batchlab.commands.train.results import show_page
from batchlab.laws.estimate import mean_of
from batchlab.report.comparison import format_estimate
from batchlab.report.search_summary import (
    best_command,
    draw_front,
    draw_picks,
    ending,
    endings,
    picks_of,
    write_best,
)
from batchlab.search.dashboard import write_note
from batchlab.search.picks import BEST_SCORE, Candidates, all_picks, candidates, keep, retrained, worst_score
from batchlab.search.retry import StorageUnavailable
from batchlab.search.search_plan import SearchPlan
from batchlab.search.stale_trials import StaleTrialDetector, own_lease
from batchlab.search.storage import open_storage, study_lock
from batchlab.search.study import FrozenTrial, Study, TrialState, done_trials, found_study
from batchlab.search.workers import core_shares
from batchlab.system.progress import make_console
from batchlab.tracking.stores import report_folder
from batchlab.training.build import resolve
from batchlab.training.checkpoint import remove_stale

FRESH_SEEDS = 3
GIVES_WAY = {
    BEST_SCORE: "With fresh seeds another trial has a better score, and takes its place.",
    "fastest": "Worse than the interval of the best score, or not faster: the next fastest takes its place.",
}
FINISHING = "finishing"
"""Study attribute: the lease of the process that retrains the picks."""


def finish(plan: SearchPlan, sweep_id: str, may_train: bool = True) -> bool:
    """Print the front, retrain the picks where the study is done and `may_train`, write a file for each.

    Returns whether the study could be read: not where its server is away.
    """
    try:
        _finish(plan, sweep_id, may_train)
    except StorageUnavailable as error:
        print(f"{error}\nThe study is as it was left; the same command goes on.", file=sys.stderr)
        return False
    return True


def _finish(plan: SearchPlan, sweep_id: str, may_train: bool) -> None:
    settings, console = plan.settings, make_console()
    study = found_study(settings, open_storage(settings.mlruns, settings.storage))
    if study is None:
        return
    done = done_trials(study, settings.num_trials)
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    if not done:
        console.print(f"{settings.study}: no trial is done.")
        return
    console.print(f"{settings.study}: {endings([ending(trial) for trial in done])}")
    is_done = len(done) >= settings.num_trials
    if is_done and not running and (num_stale := remove_stale(settings.mlruns, settings.study)):
        console.print(f"Removed {num_stale} checkpoint{'s' if num_stale > 1 else ''} of trials that did not go on.")
    found = candidates(study, settings)
    if not found.trials:
        console.print("No trial has values, so there is nothing to recommend; their causes are in the dashboard.")
        show_page(settings.mlruns, settings.study, settings.storage)
        return
    if may_train and is_done and not running:
        with claimed(plan, study) as is_mine:
            if is_mine:
                retrain(plan, study, found, sweep_id)
    show(plan, study, found)
    show_page(settings.mlruns, settings.study, settings.storage)
    if not is_done:
        left = settings.num_trials - len(done)
        what = f"{len(running)} of the other {left} are running elsewhere" if running else f"{left} are left"
        console.print(
            f"{what}; the same command goes on. The picks are from single runs: they are retrained with "
            f"{FRESH_SEEDS} fresh seeds when the study is done, or now with hydra.sweeper.n_trials={len(done)}."
        )


@contextmanager
def claimed(plan: SearchPlan, study: Study) -> Iterator[bool]:
    """Yield whether this process retrains the picks: one at a time, and the next where that one died."""
    settings = plan.settings
    with study_lock(settings.mlruns, settings.storage, settings.study):
        holder = study.user_attrs.get(FINISHING)
        is_mine = holder is None or StaleTrialDetector().is_dead(holder)
        if is_mine:
            study.set_user_attr(FINISHING, own_lease().as_attribute())
    try:
        yield is_mine
    finally:
        if is_mine:
            study.set_user_attr(FINISHING, None)
        else:
            make_console().print("Another process is retraining the picks.")


def retrain(plan: SearchPlan, study: Study, found: Candidates, sweep_id: str) -> None:
    """Train each pick that is not known yet with fresh seeds; only here is test measured."""
    while missing := [item for item in picks_of(study, found).items() if str(item[1].number) not in retrained(study)]:
        name, trial = missing[0]
        _retrain_one(plan, study, name, trial, sweep_id)
        if picks_of(study, found)[name].number != trial.number:
            make_console().print(GIVES_WAY.get(name, f"Another trial is {name} now."))


def _retrain_one(plan: SearchPlan, study: Study, name: str, trial: FrozenTrial, sweep_id: str) -> None:
    config, _ = plan.composed(trial)
    if plan.settings.num_workers and config.num_threads is None and "OMP_NUM_THREADS" not in os.environ:
        config = replace(config, num_threads=len(core_shares(plan.settings.num_workers)[0]))  # as in the search
    first = config.seed + config.num_seeds
    make_console().print(f"Retraining {name}, trial {trial.number}, with {FRESH_SEEDS} fresh seeds:")
    tags = {"optuna.study": study.study_name, "optuna.trial_number": str(trial.number), "pick": name}
    prepared = prepare(resolve(config))
    results = [train_seed(prepared, seed, sweep_id, tags=tags) for seed in range(first, first + FRESH_SEEDS)]
    metrics = [*plan.settings.metrics, f"final/test_{prepared.run.score.name}"]
    metrics = [metric for metric in metrics if any(metric in result.finals for result in results)]
    keep(study, trial, {metric: [result.finals.get(metric, math.nan) for result in results] for metric in metrics})


def show(plan: SearchPlan, study: Study, found: Candidates) -> None:
    """Print front and picks, write the files and the dashboard's note."""
    settings, console = plan.settings, make_console()
    picks, known = all_picks(found, worst_score(found, retrained(study)), retrained(study)), retrained(study)
    is_single = len(settings.metrics) == 1
    title = (
        "the best trial" if is_single else f"Pareto front: {len(found.front)} of {len(found.trials)} complete trials"
    )
    console.print(draw_front(found.front, plan.space, settings.metrics, f"{settings.study}, {title}", picks))
    is_fresh = all(str(trial.number) in known for trial in picks.values())
    if is_fresh:
        console.print(draw_picks(picks, known, plan.space, f"picks, retrained with {FRESH_SEEDS} fresh seeds"))
        console.print(
            "± is the half width of a 95 % t interval. A value picked from noisy trials flatters: go by these."
        )
    write_files(plan, study, found, picks)


def write_files(plan: SearchPlan, study: Study, found: Candidates, picks: Mapping[str, FrozenTrial]) -> None:
    """Write a file for every pick and every trial of the front, and the dashboard's note."""
    known, folder = retrained(study), report_folder(plan.settings.mlruns, plan.settings.study)
    by_name = {**{f"trial_{trial.number}": trial for trial in found.front}, **picks}
    said = {name: about(study, found, trial, known.get(str(trial.number), {})) for name, trial in by_name.items()}
    for stale in set((folder / "best").glob("*.yaml")) - {folder / "best" / f"{name}.yaml" for name in by_name}:
        stale.unlink()  # left the front
    commands = {}
    for name, trial in by_name.items():
        config, choices = plan.composed(trial)
        write_best(folder, name, said[name], config, choices)
        commands[name] = best_command(folder, name, config)
    commands = {name: commands[name] for name in picks}
    make_console().print(f"Run one as it is: {list(commands.values())[-1]}", soft_wrap=True)
    settings = {
        name: " ".join(f"{k}={v}" for k, v in plan.space.shown(trial.params).items()) for name, trial in picks.items()
    }
    write_note(study, {name: f"`{settings[name]}`, {said[name]}" for name in picks}, commands)


def about(study: Study, found: Candidates, trial: FrozenTrial, fresh: Mapping[str, list[float]]) -> str:
    """Describe a trial in one line: what it measured in the search, and with fresh seeds."""
    values = ", ".join(f"{metric} {value:.4g}" for metric, value in zip(found.metrics, trial.values, strict=True))
    text = f"trial {trial.number} of {study.study_name}: {values}"
    if fresh:
        again = ", ".join(f"{metric} {format_estimate(mean_of(each), 4)}" for metric, each in fresh.items())
        text += f"; with {FRESH_SEEDS} fresh seeds: {again}"
    return text

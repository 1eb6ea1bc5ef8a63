"""What a search came to, as plain values: its picks, how its trials ended, why some have no values."""

import math
from collections import Counter
from typing import Any

from rich.console import Console

from batchlab.laws.estimate import mean_of
from batchlab.report.search_tables import FrontRow, draw_front, endings
from batchlab.report.study_data import FailedTrial, Search
from batchlab.search.picks import ACCURACY, Candidates, all_picks, candidates_of, first_pick, retrained
from batchlab.search.settings import Settings
from batchlab.search.space import Space, in_words
from batchlab.search.storage import find_study
from batchlab.search.study import FrozenTrial, Study, TrialState, done_trials, metrics_of
from batchlab.system.environment_errors import masked
from batchlab.tracking.stores import optuna_url

BEST = 5
"""Trials of one objective that are shown at the end of a search."""


def search_of(mlruns: str, name: str, storage: Any = None) -> Search | None:
    """What a search came to; None where there is no search of that name.

    Args:
        mlruns: folder of results.
        name: of the study.
        storage: Optuna's store; None = optuna.db in `mlruns`.
    """
    study = find_study(mlruns, name, storage)
    if study is None:
        return None
    metrics, directions = metrics_of(study)
    done, found = done_trials(study), candidates_of(study, metrics, directions)
    picks = picks_of(study, found) if found.trials else {}
    failed = [trial for trial in done if trial.state is not TrialState.COMPLETE]
    return Search(
        metrics,
        directions,
        {name: trial.number for name, trial in picks.items()},
        dict(Counter(ending(trial) for trial in done).most_common()),
        [FailedTrial(trial.number, ending(trial), cause_of(trial), tried(study, trial)) for trial in failed],
    )


def print_search(study: Study, settings: Settings, space: Space) -> None:
    """Print how a search's trials ended, the best of them, what failed and why, and where the study is.

    Args:
        study: of an application that prints nothing of its own.
        settings: of the search.
        space: what was searched.
    """
    console, done = Console(highlight=False), done_trials(study, settings.num_trials)
    console.print(f"{settings.study}: {endings([ending(trial) for trial in done])}" if done else "No trial is done.")
    found = candidates_of(study, settings.metrics, settings.directions, settings.num_trials)
    best, title = list(found.front), f"Pareto front, {len(found.front)} of {len(found.trials)} complete trials"
    if len(settings.metrics) == 1:
        best = sorted(found.trials, key=lambda trial: trial.values[0], reverse=settings.directions == ("maximize",))
        best, title = best[:BEST], "the best trials"
    if best:
        rows = [FrontRow(trial.number, space.shown(trial.params), trial.values, ()) for trial in best]
        stated = ", ".join(f"{way} {name}" for name, way in zip(settings.metrics, settings.directions, strict=True))
        console.print(draw_front(rows, settings.metrics, f"{title}: {stated}"))
    for trial in (trial for trial in done if trial.state is not TrialState.COMPLETE):
        said = f"trial {trial.number} {ending(trial)}: {tried(study, trial)}: {cause_of(trial)}"
        console.print(said, markup=False, soft_wrap=True)
    address = settings.storage if isinstance(settings.storage, str) else optuna_url(settings.mlruns)
    console.print(f"Study {settings.study} in {masked(address)}", soft_wrap=True)
    if len(done) < settings.num_trials:
        console.print(f"{settings.num_trials - len(done)} trials are left; the same command goes on.")


def ending(trial: FrozenTrial) -> str:
    """How a done trial ended, in a word or two."""
    if trial.state is TrialState.COMPLETE:
        return "complete" if "measured_by" not in trial.user_attrs else "known already"
    if trial.state is TrialState.FAIL:
        return "crashed"
    result = trial.user_attrs.get("result") or {"outcome": "lost with their workers"}
    return str(result["outcome"]).replace("_", " ")


def cause_of(trial: FrozenTrial) -> str:
    """Why a trial has no values; a sentence."""
    result = trial.user_attrs.get("result") or {}
    return str(result.get("cause") or trial.user_attrs.get("cause") or trial.user_attrs.get("lost") or "")


def tried(study: Study, trial: FrozenTrial) -> str:
    """What a trial tried, for people: Optuna's numbers as the values that were typed for them."""
    described = study.user_attrs.get("fingerprint", {})
    lines = []
    for name, value in trial.params.items():
        kind, _, key = name.rstrip(")").rpartition("(")
        items = str(described.get(key, "")).split(", ")
        typed = value
        if kind == "log2":
            typed = 2**value
        elif kind == "place" and value < len(items):
            typed = items[value]
        lines.append(f"{key}={typed}")
    return in_words(lines)


def picks_of(study: Study, found: Candidates) -> dict[str, FrozenTrial]:
    """Picks by name; only the first until its retraining says what the others have to reach."""
    known = retrained(study)
    first = first_pick(found, known)
    if all(str(trial.number) in known for trial in first.values()):
        return all_picks(found, least_accuracy(study, found), known)
    return first


def least_accuracy(study: Study, found: Candidates) -> float | None:
    """Lower end of the 95 % t interval of the most accurate trial's fresh seeds; None where it has none."""
    known = retrained(study)
    trial = first_pick(found, known).get("most_accurate")
    fresh = mean_of(known.get(str(trial.number), {}).get(ACCURACY, []) if trial else [])
    return None if math.isnan(fresh.low) else fresh.low

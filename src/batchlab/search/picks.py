"""Recommended trials of a study, what is kept of their retraining, and the file of solutions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from batchlab.config.objectives import TIMES
from batchlab.laws.estimate import mean_of
from batchlab.search.pareto_front import knee, pareto_front
from batchlab.search.settings import Settings
from batchlab.search.space import Space
from batchlab.search.study import done_trials
from batchlab.tasks.objectives import judging_objective

BEST_SCORE = "best_score"
"""Name of the pick from whose retraining the others follow."""
MAX_SHORT = 4
"""Trials in the place of the fastest whose fresh seeds may fall short."""
PICKS = "picks"
"""Study attribute: trial number -> metric -> one value per fresh seed."""

Retrained = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Candidates:
    """The trials of a study that have values."""

    trials: Sequence[FrozenTrial]  # complete and feasible, by number
    front: Sequence[FrozenTrial]  # those that no other dominates, by the first objective
    metrics: Sequence[str]  # names of the objectives
    directions: Sequence[str]  # minimize or maximize, one per objective


def candidates(study: Study, settings: Settings) -> Candidates:
    """List the trials to pick from, among the study's first `num_trials` slots."""
    return candidates_of(study, settings.metrics, settings.directions, settings.num_trials)


def candidates_of(
    study: Study, metrics: Sequence[str], directions: Sequence[str], num_trials: float = math.inf
) -> Candidates:
    """List the trials to pick from, among the first `num_trials` slots."""
    done = done_trials(study, num_trials)
    trials = [trial for trial in done if trial.state is TrialState.COMPLETE]
    front = pareto_front([trial.values for trial in trials], directions)
    return Candidates(trials, [trials[place] for place in front], metrics, directions)


def first_pick(found: Candidates, known: Retrained) -> dict[str, FrozenTrial]:
    """Pick the trial from whose retraining the others follow: of the best score, or the best of the first objective."""
    if judging_objective(found.metrics) is not None:
        return {BEST_SCORE: best_score(found, known)}
    metric = found.metrics[0]
    name = "fastest" if metric in TIMES else f"best_{metric.rpartition('/')[2]}"
    return {name: best_of(found, metric)}


def all_picks(found: Candidates, worst_score: float | None, known: Retrained) -> dict[str, FrozenTrial]:
    """Make every pick, by name: ``best_score``, ``fastest``, ``knee`` and ``best_...`` of every other objective.

    `worst_score` is the worse end of the interval of the retraining of the best score, None where there is none;
    `known` are metrics of fresh seeds of trials that were retrained already.
    """
    picks, score = first_pick(found, known), judging_objective(found.metrics)
    for metric in found.metrics:
        if metric in TIMES and score is not None:
            picks["fastest"] = fastest(found, metric, worst_score, known)
        elif metric in TIMES:
            picks["fastest"] = best_of(found, metric)
        elif metric != score:
            picks[f"best_{metric.rpartition('/')[2]}"] = best_of(found, metric)
    if len(found.metrics) > 1 and len(found.front) > 2:
        values = [trial.values for trial in found.front]
        are_costs = [
            metric.startswith("cost/") and min(each) > 0
            for metric, each in zip(found.metrics, zip(*values, strict=True), strict=True)
        ]
        picks["knee"] = found.front[knee(values, found.directions, are_costs)]
    return picks


def best_of(found: Candidates, metric: str) -> FrozenTrial:
    """Find the best trial of one objective; among equal ones the one that comes first on the front."""
    place = list(found.metrics).index(metric)
    sign = -1 if found.directions[place] == "maximize" else 1
    return min([*found.front, *found.trials], key=lambda trial: sign * trial.values[place])


def best_score(found: Candidates, known: Retrained) -> FrozenTrial:
    """Find the trial of the best mean score over fresh seeds; the search's best one where that has none yet."""
    score, sign = _score_and_sign(found)
    best = best_of(found, score)
    if str(best.number) not in known:
        return best
    means = {
        trial.number: fmean(known[str(trial.number)][score]) for trial in found.trials if str(trial.number) in known
    }
    return max(
        (trial for trial in found.trials if not math.isnan(means.get(trial.number, math.nan))),
        key=lambda trial: (sign * means[trial.number], trial is best),
        default=best,
    )


def _score_and_sign(found: Candidates) -> tuple[str, int]:
    """The score's name, and 1 where larger is better, else -1."""
    score = judging_objective(found.metrics)
    assert score is not None
    return score, 1 if found.directions[list(found.metrics).index(score)] == "maximize" else -1


def worst_score(found: Candidates, known: Retrained) -> float | None:
    """Return the worse end of the 95 % t interval of the best score's fresh seeds; None where it has none."""
    if judging_objective(found.metrics) is None:
        return None
    score, sign = _score_and_sign(found)
    fresh = mean_of(known.get(str(best_score(found, known).number), {}).get(score, []))
    end = fresh.low if sign > 0 else fresh.high
    return None if math.isnan(end) else end


def fastest(found: Candidates, seconds: str, worst: float | None, known: Retrained) -> FrozenTrial:
    """Find the trial of least seconds among those at a score or better, in the search and with fresh seeds.

    A trial that was fast and good once may have been lucky: one whose fresh seeds are worse than that, or slower than
    those of the best score, gives way to the next fastest, `MAX_SHORT` times; then, and where no score is known, it
    is the trial of the best score.
    """
    best = best_score(found, known)
    if worst is None:
        return best
    score, sign = _score_and_sign(found)
    at, place = list(found.metrics).index(score), list(found.metrics).index(seconds)
    good = sorted(
        (trial for trial in found.trials if sign * trial.values[at] >= sign * worst),
        key=lambda trial: trial.values[place],
    )
    most_seconds = fmean(known.get(str(best.number), {}).get(seconds, [math.inf]))
    for trial in good[: MAX_SHORT + 1]:
        fresh = known.get(str(trial.number))
        if fresh is None or (sign * fmean(fresh[score]) >= sign * worst and fmean(fresh[seconds]) <= most_seconds):
            return trial
    return best


def retrained(study: Study) -> Retrained:
    """Read the metrics of the picks' fresh seeds, by trial number."""
    return study.user_attrs.get(PICKS, {})


def keep(study: Study, trial: FrozenTrial, values: dict[str, list[float]]) -> None:
    """Keep what a pick's fresh seeds measured."""
    study.set_user_attr(PICKS, {**retrained(study), str(trial.number): values})


def write_solutions(folder: Path, study: Study, settings: Settings, space: Space) -> None:
    """Write ``optimization_results.yaml`` as hydra-optuna-sweeper does, for scripts that read it.

    The best parameters and value, or every solution of several objectives; parameters by key, as they are typed, and
    not as Optuna counts them (`log2(batch_size)`).
    """
    front = candidates(study, settings).front
    if not front:
        return

    def params(trial: FrozenTrial) -> dict[str, Any]:
        pairs = (line.lstrip("+").split("=", 1) for line in space.lines(trial.params))
        return {key: yaml.safe_load(value) for key, value in pairs}

    results: dict[str, Any] = {"name": "batchlab"}
    if len(settings.metrics) == 1:
        results |= {"best_params": params(front[0]), "best_value": front[0].values[0]}
    else:
        results["solutions"] = [{"params": params(each), "values": list(each.values)} for each in front]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "optimization_results.yaml").write_text(yaml.safe_dump(results, sort_keys=False))

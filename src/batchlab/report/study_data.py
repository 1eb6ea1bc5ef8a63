"""Studies as their pages need them: the runs that count, one row per configuration, what a search picked."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from batchlab.config.keys import Affects
from batchlab.config.schema import declared_key
from batchlab.laws.estimate import Estimate
from batchlab.report.comparison import (
    Row,
    Run,
    by_configuration,
    comparison_rows,
    format_estimate,
    format_score,
    judged_by,
    metric_of,
)
from batchlab.tasks.metric import Metric

UNFINISHED = "unfinished or stopped"
"""Why a run does not count."""
MAX_LABELS = 6
"""More settings beside batch size, lr and epochs than this make one line, the best of all."""


@dataclass(frozen=True)
class FailedTrial:
    """A trial of a search that ended without values."""

    outcome: str  # how it ended, e.g. ``out of memory``.
    cause: str  # a sentence
    settings: str  # what was tried, as text


@dataclass(frozen=True)
class Search:
    """What a search came to."""

    metrics: Sequence[str]  # names of the objectives
    directions: Sequence[str]  # minimize or maximize, one per objective
    picks: Mapping[str, int]  # name -> number of the trial
    endings: Mapping[str, int]  # how a trial ended -> how many
    failed: Sequence[FailedTrial]


@dataclass(frozen=True)
class Study:
    """A study."""

    name: str
    runs: Sequence[Run]  # that count: done or failed by themselves, one for each configuration and seed
    rows: Sequence[Row]  # one per configuration, from all runs but the picks' fresh seeds
    by_key: Mapping[str, Sequence[Run]]  # configuration -> its runs, likewise
    fresh: Mapping[int, Row]  # number of a trial -> the row of its fresh seeds
    search: Search | None  # what was searched; None for a grid
    left_out: Mapping[str, int]  # why runs do not count -> how many

    @cached_property
    def score(self) -> Metric:
        """Return the metric by which its configurations are judged."""
        return judged_by(self.runs)

    @cached_property
    def has_target(self) -> bool:
        """Tell whether the runs went to a target, so that the time to it decides."""
        return any(row.target_seconds for row in self.rows) and all(
            row.target_seconds for row in self.rows if not row.outcomes
        )


def study_of(name: str, recorded: Sequence[Run], search: Search | None) -> Study:
    """Make a study from all of its runs, in the order in which they began."""
    runs, left_out = counted(recorded)
    others = [run for run in runs if "pick" not in run["tags"]]
    by_trial: dict[int, list[Run]] = {}
    for run in runs:
        if "pick" in run["tags"]:
            by_trial.setdefault(int(run["tags"]["optuna.trial_number"]), []).append(run)
    fresh = {number: comparison_rows(group)[0] for number, group in sorted(by_trial.items())}
    return Study(name, runs, comparison_rows(others), by_configuration(others), fresh, search, left_out)


def counted(recorded: Sequence[Run]) -> tuple[list[Run], dict[str, int]]:
    """Return the runs that count, and how many others there are by the reason.

    A run that is unfinished or was killed says nothing of its configuration; of two with equal configuration and seed
    the later one counts (the earlier is no second seed); and all must be of the data set of the last one.
    """
    ended = [run for run in recorded if run["tags"].get("outcome") not in (None, "killed", "stopped")]
    digest = ended[-1]["tags"].get("data_digest") if ended else None
    of_data = [run for run in ended if run["tags"].get("data_digest") == digest]
    latest = {(run["tags"]["config_key"], run["params"].get("seed"), "pick" in run["tags"]): run for run in of_data}
    reasons = {
        UNFINISHED: len(recorded) - len(ended),
        "of another version of the data": len(ended) - len(of_data),
        "measured again later": len(of_data) - len(latest),
    }
    return list(latest.values()), {reason: count for reason, count in reasons.items() if count}


def rank(study: Study, row: Row) -> float:
    """Return what a configuration is judged by, smaller is better; infinite where it has no value.

    Seconds to the target where there is one, else the score on the validation split.
    """
    if study.has_target:
        value = row.target_seconds.value if row.target_seconds and row.target_seconds.n == row.n else math.nan
    else:
        value = -row.metric.sign * row.score.value
    return math.inf if math.isnan(value) or row.outcomes else value


def label_of(row: Row) -> str:
    """Return the settings that tell a row's line from others: those beside batch size, lr and length of training.

    One is its value alone, ``linear``; of several each has its key, ``lr_scaling linear, num_threads 1``.
    """
    labels = _labels(row)
    return others_in_words(row) if len(labels) > 1 else "".join(labels.values())


def _labels(row: Row) -> dict[str, str]:
    labels = {key: value for key, value in row.varied.items() if declared_key(key).affects & Affects.LABEL}
    return {key: value or "null" for key, value in labels.items()}


def labelled(study: Study) -> dict[str, list[Row]]:
    """Group rows by label; under one empty label where there are many, or where a search mixed them."""
    labels = Counter(label_of(row) for row in study.rows)
    is_one = len(labels) > MAX_LABELS or study.search is not None
    groups: dict[str, list[Row]] = {}
    for row in study.rows:
        groups.setdefault("" if is_one else label_of(row), []).append(row)
    return groups


def best_by_size(study: Study, rows: Sequence[Row]) -> list[Row]:
    """Return the best row of each batch size, by batch size; sizes of which none has a value are left out."""
    best: dict[int, Row] = {}
    for row in rows:
        known = best.get(row.batch_size)
        if math.isfinite(rank(study, row)) and (known is None or rank(study, row) < rank(study, known)):
            best[row.batch_size] = row
    return [best[size] for size in sorted(best)]


def num_train(study: Study) -> float:
    """Estimate the examples of the training split: batch size x steps / epochs; NaN where no run says."""
    sizes = []
    for run in study.runs:
        steps, epochs = metric_of(run, "cost/num_steps"), metric_of(run, "progress/epochs")
        if steps > 0 and epochs > 0:
            sizes.append(int(run["params"]["batch_size"]) * steps / epochs)
    return statistics.median(sizes) if sizes else math.nan


def settings_in_words(row: Row) -> str:
    """Write a configuration: ``batch size 128, lr 0.02, 10 epochs``, and what else varies."""
    words = [f"batch size {row.batch_size:,}", f"lr {row.lr:.4g}"]
    words += [f"{row.epochs.value:.4g} epochs"] if row.epochs.n else []
    return ", ".join([*words, others_in_words(row)] if others_in_words(row) else words)


def others_in_words(row: Row) -> str:
    """Write what else varies, ``optimizer Adam, width 64``; empty where nothing does."""
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in _labels(row).items())


def hover_of(row: Row) -> str:
    """Write what a figure says of a row under the pointer; lines are parted by <br>."""

    def seconds(value: Estimate) -> str:
        return f"{format_estimate(value, digits(value.value))} s"

    lines = [settings_in_words(row), f"validation {row.metric.title} {format_score(row)}"]
    lines.append(f"training {seconds(row.seconds)}")
    if row.calibrated_seconds:
        lines[-1] += f" if alone, {seconds(row.train_seconds)} beside others"
    if row.target_seconds:
        lines.append(f"to the target {seconds(row.target_seconds)}")
    return "<br>".join([*lines, f"n = {row.n}"])


def score_name(study: Study) -> str:
    """Return what decides, e.g. ``validation accuracy``."""
    return f"validation {study.score.title}"


def digits(value: float) -> int:
    """Return the digits after the point for three significant ones."""
    return max(0, 2 - math.floor(math.log10(abs(value)))) if value and math.isfinite(value) else 0

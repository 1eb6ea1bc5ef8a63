"""What did not end with values, with its cause."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.report.comparison import Run
from batchlab.report.panel import PageTable
from batchlab.report.study_data import Study

MAX_ROWS = 25


@dataclass(frozen=True)
class Failure:
    """Runs or trials that ended alike.

    Attributes:
        outcome: diverged, out of memory, pruned, crashed, ...
        cause: a sentence of the first of them.
        settings: of the first few, as text.
        count: how many.
    """

    outcome: str
    cause: str
    settings: Sequence[str]
    count: int


def failure_points(study: Study) -> list[Failure]:
    """Failures by outcome and cause, the most frequent first; causes that differ in numbers alone are one."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for outcome, cause, settings in _failed(study):
        pattern = re.sub(r"[-+]?\d[\d.,e+-]*|\bnan\b|\binf\b", "#", cause)
        groups.setdefault((outcome, pattern), []).append((cause, settings))
    found = []
    for (outcome, _), members in groups.items():
        settings = list(dict.fromkeys(settings for _, settings in members))
        found.append(Failure(outcome, members[0][0], settings[:3], len(members)))
    return sorted(found, key=lambda each: (-each.count, each.outcome, each.cause))


def _failed(study: Study) -> list[tuple[str, str, str]]:
    """(outcome, cause, settings) of each trial of a search, or of each run of a grid."""
    if study.search is not None:
        return [(trial.outcome, trial.cause, trial.settings) for trial in study.search.failed]
    runs = [run for run in study.runs if run["tags"].get("outcome") != "done"]
    return [
        (str(run["tags"]["outcome"]).replace("_", " "), str(run["tags"].get("cause", "")), _settings(run))
        for run in runs
    ]


def _settings(run: Run) -> str:
    return f"batch size {int(run['params']['batch_size']):,}, lr {float(run['params']['lr_used']):.4g}"


def failure_table(failures: Sequence[Failure], study: Study) -> PageTable:
    """The failures as a table."""
    what = "trials" if study.search is not None else "runs"
    rows = [
        [each.outcome, f"{each.count:,}", each.cause or "not recorded", "; ".join(each.settings)]
        for each in failures[:MAX_ROWS]
    ]
    total = sum(each.count for each in failures)
    counted = f"{total:,} {what}" if total > 1 else f"1 {what[:-1]}"
    note = f"{counted} ended without values. They count in no mean, and what failed once is not recommended."
    return PageTable("failures", "What failed, and why", ["how it ended", what, "cause", "settings, e.g."], rows, note)

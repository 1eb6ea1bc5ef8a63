"""Tables of a study's page: failures with their causes, and the provenance of the numbers."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batchlab.report.panel import PageTable
from batchlab.report.study_data import Study
from batchlab.system.host_lock import WORKERS

MAX_ROWS = 25


@dataclass(frozen=True)
class Failure:
    """Runs or trials that ended alike, e.g. diverged, with the first one's cause and the first three's settings."""

    outcome: str
    cause: str
    settings: Sequence[str]
    count: int


def failure_points(study: Study) -> list[Failure]:
    """Group failures by outcome and cause, the most frequent first; causes that differ in numbers alone are one."""
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
    found = []
    for run in study.runs:
        params, tags = run["params"], run["tags"]
        if tags.get("outcome") != "done":
            settings = f"batch size {int(params['batch_size']):,}, lr {float(params['lr_used']):.4g}"
            found.append((str(tags["outcome"]).replace("_", " "), str(tags.get("cause", "")), settings))
    return found


def failure_table(failures: Sequence[Failure], study: Study) -> PageTable:
    """Return the failures as a table."""
    what = "trials" if study.search is not None else "runs"
    rows = [
        [each.outcome, f"{each.count:,}", each.cause or "not recorded", "; ".join(each.settings)]
        for each in failures[:MAX_ROWS]
    ]
    total = sum(each.count for each in failures)
    counted = f"{total:,} {what}" if total > 1 else f"1 {what[:-1]}"
    note = f"{counted} ended without values. They count in no mean, and what failed once is not recommended."
    return PageTable("failures", "What failed, and why", ["how it ended", what, "cause", "settings, e.g."], rows, note)


MAX_VALUES = 3
"""Of one fact are written out."""
FACTS = {
    "processor": "cpu",
    "device": "device",
    "cores": "cores",
    "threads": "threads",
    "host": "host",
    "Python": "python",
    "torch": "version.torch",
    "Hydra": "version.hydra-core",
    "Optuna": "version.optuna",
    "MLflow": "version.mlflow",
    "NumPy": "version.numpy",
    "step times": "step_times",
    "command": "command",
}
"""What a page calls a tag of a run."""


def provenance_points(study: Study) -> dict[str, str]:
    """Return facts by name; a fact in which runs differ has each value with its number of runs."""
    tags = [run["tags"] for run in study.runs]
    if not tags:
        return {}
    params = study.runs[-1]["params"]
    facts = {"data": f"{_tail(params.get('data._target_'))}, digest {str(tags[-1].get('data_digest', ''))[:16]}"}
    facts |= {"model": _tail(params.get("model._target_")), "runs": _runs(study)}
    began, ended = ([time for run in study.runs if (time := run["info"].get(end))] for end in ("began", "ended"))
    if began and ended:
        facts["recorded"] = f"{_date(min(began))} to {_date(max(ended))} UTC"
    facts["commit"] = _several([_commit(each) for each in tags])
    facts |= {name: _several([str(each.get(key, "")) for each in tags]) for name, key in FACTS.items()}
    loads = [float(each["load_average"]) for each in tags if each.get("load_average")]
    if loads:
        facts["load average"] = f"{min(loads):.2f} to {max(loads):.2f}, processes that wanted a core when a run began"
    beside = [float(run["metrics"][WORKERS]) for run in study.runs if WORKERS in run["metrics"]]
    if any(each > 1 for each in beside):
        facts["trainings on the host"] = f"{min(beside):.0f} to {max(beside):.0f} at the same time"
    return {name: value for name, value in facts.items() if value}


def _runs(study: Study) -> str:
    left_out = ", ".join(f"{count} {reason}" for reason, count in study.left_out.items())
    ends = f"; trials: {', '.join(f'{n} {name}' for name, n in study.search.endings.items())}" if study.search else ""
    counted = f"{len(study.runs):,} of {len(study.rows):,} configurations"
    return f"{counted}; left out: {left_out}{ends}" if left_out else counted + ends


def _tail(target: object) -> str:
    return str(target or "").rsplit(".", 1)[-1].removeprefix("load_")


def _date(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _commit(tags: Mapping[str, Any]) -> str:
    return str(tags.get("commit", ""))[:12] + (" with changes" if tags.get("dirty") == "true" else "")


def _several(values: Sequence[str]) -> str:
    counts = Counter(value for value in values if value)
    if len(counts) <= 1:
        return next(iter(counts), "")
    shown = [f"{value} ({count:,} runs)" for value, count in counts.most_common(MAX_VALUES)]
    return "; ".join([*shown, *([f"and {len(counts) - MAX_VALUES} others"] if len(counts) > MAX_VALUES else [])])

"""What a search came to: its picks, how its trials ended, tables of the best, and a file that runs each of them."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from batchlab.config.installation import CONF, program
from batchlab.config.schema import Config, declared_key
from batchlab.config.trusted_targets import packages_to_trust
from batchlab.laws.estimate import mean_of
from batchlab.report.comparison import format_estimate, table_of
from batchlab.report.study_data import FailedTrial, Search
from batchlab.search.picks import Candidates, Retrained, all_picks, candidates_of, first_pick, retrained, worst_score
from batchlab.search.settings import Settings
from batchlab.search.space import Space, in_words
from batchlab.search.storage import find_study
from batchlab.search.study import FrozenTrial, Study, TrialState, done_trials, metrics_of
from batchlab.system.environment_errors import masked
from batchlab.tasks.known_tasks import metric_of_final
from batchlab.tasks.metric import LOSS
from batchlab.tracking.stores import optuna_url

BEST = 5
"""Trials of one objective that are shown at the end of a search."""
FRONT = 20
"""Rows of a front's table; of a longer front the middle is thinned out."""
SHORT = {"cost/train_seconds": "train s", "cost/calibrated_train_seconds": "s if alone"}


def search_of(mlruns: str, name: str, storage: Any = None) -> Search | None:
    """Read a search; None where there is none of that name in `storage`, by default optuna.db in `mlruns`."""
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
        [FailedTrial(ending(trial), cause_of(trial), tried(study, trial)) for trial in failed],
    )


def print_search(study: Study, settings: Settings, space: Space) -> None:
    """Print how trials ended, the best of them, what failed and why, for an application that prints nothing itself."""
    console, done = Console(highlight=False), done_trials(study, settings.num_trials)
    console.print(f"{settings.study}: {endings([ending(trial) for trial in done])}" if done else "No trial is done.")
    found = candidates_of(study, settings.metrics, settings.directions, settings.num_trials)
    best, title = list(found.front), f"Pareto front, {len(found.front)} of {len(found.trials)} complete trials"
    if len(settings.metrics) == 1:
        best = sorted(found.trials, key=lambda trial: trial.values[0], reverse=settings.directions == ("maximize",))
        best, title = best[:BEST], "the best trials"
    if best:
        stated = ", ".join(f"{way} {name}" for name, way in zip(settings.metrics, settings.directions, strict=True))
        console.print(draw_front(best, space, settings.metrics, f"{title}: {stated}"))
    for trial in (trial for trial in done if trial.state is not TrialState.COMPLETE):
        line = f"trial {trial.number} {ending(trial)}: {tried(study, trial)}: {cause_of(trial)}"
        console.print(line, markup=False, soft_wrap=True)
    address = settings.storage if isinstance(settings.storage, str) else optuna_url(settings.mlruns)
    console.print(f"Study {settings.study} in {masked(address)}", soft_wrap=True)
    if len(done) < settings.num_trials:
        console.print(f"{settings.num_trials - len(done)} trials are left; the same command goes on.")


def ending(trial: FrozenTrial) -> str:
    """Return how a done trial ended, in a word or two."""
    if trial.state is TrialState.COMPLETE:
        return "complete" if "measured_by" not in trial.user_attrs else "known already"
    if trial.state is TrialState.FAIL:
        return "crashed"
    result = trial.user_attrs.get("result") or {"outcome": "lost with their workers"}
    return str(result["outcome"]).replace("_", " ")


def cause_of(trial: FrozenTrial) -> str:
    """Return why a trial has no values; a sentence."""
    result = trial.user_attrs.get("result") or {}
    return str(result.get("cause") or trial.user_attrs.get("cause") or trial.user_attrs.get("lost") or "")


def tried(study: Study, trial: FrozenTrial) -> str:
    """Return what a trial tried, with Optuna's numbers as the values that were typed for them."""
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
    """Return picks by name; only the first until its retraining says what the others have to reach."""
    known = retrained(study)
    first = first_pick(found, known)
    if all(str(trial.number) in known for trial in first.values()):
        return all_picks(found, worst_score(found, known), known)
    return first


def draw_front(
    trials: Sequence[FrozenTrial],
    space: Space,
    metrics: Sequence[str],
    title: str,
    picks: Mapping[str, FrozenTrial] | None = None,
) -> Table:
    """Draw trials by their settings and objectives, with the names of the picks among them."""
    settings = [space.shown(trial.params) for trial in trials]
    names = list(dict.fromkeys(name for each in settings for name in each))
    picked = [", ".join(name for name, pick in (picks or {}).items() if pick.number == each.number) for each in trials]
    table = table_of(title, ["trial", *names, *map(heading_of, metrics)])
    if any(picked):
        table.add_column("pick", no_wrap=True)
    step = max(1.0, (len(trials) - 1) / (FRONT - 1))
    kept = {round(place * step) for place in range(FRONT)}
    for place, (trial, own, pick) in enumerate(zip(trials, settings, picked, strict=True)):
        if place in kept or pick:
            values = [value_text(metric, value) for metric, value in zip(metrics, trial.values, strict=True)]
            cells = [str(trial.number), *(own.get(name, "") for name in names), *values]
            table.add_row(*cells, *([pick] if any(picked) else []))
    return table


def draw_picks(picks: Mapping[str, FrozenTrial], known: Retrained, space: Space, title: str) -> Table:
    """Draw the picks as their fresh seeds measured them."""
    rows = [(name, trial.number, space.shown(trial.params), known[str(trial.number)]) for name, trial in picks.items()]
    names = list(dict.fromkeys(name for _, _, settings, _ in rows for name in settings))
    metrics = list(dict.fromkeys(metric for *_, values in rows for metric in values))
    headings = ["pick", "trial", *names, *map(heading_of, metrics), "n"]
    table = table_of(title, headings, left=("pick",))
    for name, number, settings, values in rows:
        found = {metric: mean_of(values.get(metric, [])) for metric in metrics}
        cells = [format_estimate(each, digits_of(metric, each.value)) for metric, each in found.items()]
        count = str(min(each.n for each in found.values()))
        table.add_row(name, str(number), *(settings.get(key, "") for key in names), *cells, count)
    return table


def heading_of(metric: str) -> str:
    """Return what stands above a column of a final metric, e.g. ``val accuracy``."""
    found = metric_of_final(metric)
    return SHORT.get(metric, metric) if found is None else f"{metric.partition('_')[0].partition('/')[2]} {found.title}"


def digits_of(metric: str, value: float) -> int:
    """Return the digits after the point that a value of a metric is shown with."""
    found = LOSS if metric == "final/train_loss" else metric_of_final(metric)
    if found is not None:
        return found.digits(value)
    return 0 if abs(value) >= 1000 else 2 if abs(value) >= 1 else 3


def value_text(metric: str, value: float) -> str:
    """Write a value as the tables show it."""
    if metric.startswith("value_"):  # of another application: its unit and size are not known
        return f"{value:.5g}"
    return f"{value:,.{digits_of(metric, value)}f}"


def endings(states: Sequence[str]) -> str:
    """Write ``40 trials: 31 complete, 6 pruned, ...`` of how each ended."""
    listed = ", ".join(f"{count} {state}" for state, count in Counter(states).most_common())
    return f"{len(states)} trial{'s' if len(states) > 1 else ''}: {listed}."


def write_best(folder: Path, name: str, about: str, config: Config, choices: Mapping[str, str]) -> Path:
    """Write ``<folder>/best/<name>.yaml``, which `batchlab train -cd <folder> +best=<name>` runs, and return it.

    It has the chosen option of every group, every setting as it was resolved, and a line about what it is.
    """
    settings = {key: value for key, value in asdict(config).items() if declared_key(key).affects}
    if settings["data"].get("root") == config.data_root:
        del settings["data"]["root"]
    defaults = [  # an option from elsewhere is not found again without its folder; all that it says stands below
        {f"override /{group}": option if (CONF / group / f"{option}.yaml").exists() else None}
        for group, option in choices.items()
        if option and group != "search" and "/" not in group
    ]
    path = folder / "best" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({"defaults": defaults} | settings, sort_keys=False)
    path.write_text(f"# @package _global_\n# {about}\n{text}")
    return path


def best_command(folder: Path, name: str, config: Config) -> str:
    """Return what to type to run such a file, quoted for a shell; with trust=[...] where its targets need it."""
    packages = packages_to_trust(config)
    trust = [f"trust=[{','.join(packages)}]"] if packages else []
    return shlex.join([*program().split(), "-cd", str(folder), f"+best={name}", *trust])

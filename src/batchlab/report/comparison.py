"""The table at the end of a command: one row per batch size, from what was recorded."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.table import Table

from batchlab.config.keys import Affects
from batchlab.config.objectives import CALIBRATED, MEASURED
from batchlab.config.schema import declared_key
from batchlab.laws.estimate import Estimate, mean_of
from batchlab.tasks.known_tasks import FINAL, METRICS
from batchlab.tasks.metric import LOSS, Metric

Run = Mapping[str, Mapping[str, Any]]
"""Params, metrics and tags of a recorded run."""
COLUMNS = {"batch_size", "log2_batch_size", "lr", "lr_used"}
"""Params that have a column of their own."""


@dataclass(frozen=True)
class Row:
    """One configuration over its seeds."""

    key: str  # of the configuration
    origin: str  # the command that trains it; empty where that is not known
    batch_size: int  # examples per optimizer step
    varied: dict[str, str]  # other settings in which the command's runs differ, by key
    lr: float  # learning rate used, after scaling
    epochs: Estimate  # passes over the training split as they were asked for; of another budget those that were run
    steps: Estimate  # optimizer steps, mean over seeds
    metric: Metric  # by which configurations are judged
    score: Estimate  # its value on the validation split
    train_seconds: Estimate  # of training, as they were measured
    examples_per_second: Estimate  # examples processed per second on the training clock
    peak_memory_bytes: float  # largest over seeds
    target_seconds: Estimate | None  # training seconds to the target; None without a target
    n: int  # runs
    outcomes: str  # e.g. ``1 diverged``; empty where all are done.
    sharpness: dict[str, Estimate]  # what was measured of it, by metric name
    # step times measured alone, times steps; None where they were not counted
    calibrated_seconds: Estimate | None = None

    @property
    def seconds(self) -> Estimate:
        """Return the seconds of training by which rows are compared: as if alone where known, else as measured."""
        return self.calibrated_seconds or self.train_seconds


def comparison_rows(runs: Sequence[Run]) -> list[Row]:
    """Group runs by configuration, ordered by batch size."""
    groups, metric = by_configuration(runs), judged_by(runs)
    varied = varied_params([group[0] for group in groups.values()])
    rows = [_row(group, varied, metric) for group in groups.values()]
    return sorted(rows, key=lambda row: (row.batch_size, *row.varied.values()))


def judged_by(runs: Sequence[Run]) -> Metric:
    """Return the metric by which runs are judged, as the last of them says.

    Runs of earlier versions do not say: it is their accuracy, the loss where none has one.
    """
    told = [METRICS[name] for run in runs if (name := run["tags"].get("score")) in METRICS]
    has_accuracy = any(not math.isnan(metric_of(run, "final/val_accuracy")) for run in runs)
    return told[-1] if told else METRICS["accuracy"] if has_accuracy else LOSS


def by_configuration(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return configuration key -> its runs."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run["tags"]["config_key"], []).append(run)
    return groups


def varied_params(runs: Sequence[Run]) -> list[str]:
    """List the settings beside batch size and lr in which runs differ, by key; a `_target_` stands for its group."""
    keys = {key for run in runs for key in run["params"]} - COLUMNS
    keys = {key for key in keys if declared_key(key).affects & Affects.IDENTITY}
    varied = sorted(key for key in keys if len({str(run["params"].get(key)) for run in runs}) > 1)
    groups = tuple(key.removesuffix("_target_") for key in varied if key.endswith("._target_"))
    return [key for key in varied if key.endswith("._target_") or not key.startswith(groups)]


def metric_of(run: Run, name: str) -> float:
    """Return a metric of a run; NaN where it has none."""
    return float(run["metrics"].get(name, math.nan))


def mean_metric(runs: Sequence[Run], name: str) -> Estimate:
    """Return the mean of a metric over runs."""
    return mean_of([metric_of(run, name) for run in runs])


def _row(group: list[Run], varied: list[str], metric: Metric) -> Row:
    over, params = partial(mean_metric, group), group[0]["params"]
    values = {key: str(params.get(key, "")) for key in varied}
    names = {key[:-9]: text.rsplit(".", 1)[-1] for key, text in values.items() if key.endswith("._target_")}
    names |= {key: text for key, text in values.items() if not key.endswith("._target_")}
    endings = [run["tags"].get("outcome", "running") for run in group]
    outcomes = ", ".join(f"{endings.count(name)} {name}" for name in dict.fromkeys(endings) if name != "done")
    has_target = any("target/seconds" in run["metrics"] for run in group)
    measures = sorted({name for run in group for name in run["metrics"] if name.startswith("sharpness/")})
    return Row(
        key=group[0]["tags"]["config_key"],
        origin=group[-1]["tags"].get("origin", ""),
        batch_size=int(params["batch_size"]),
        varied=names,
        lr=float(params["lr_used"]),
        epochs=mean_of([float(params["epochs"])]) if "epochs" in params else over("progress/epochs"),
        steps=over("cost/num_steps"),
        metric=metric,
        score=over(f"{FINAL}{metric.name}"),
        train_seconds=over(MEASURED),
        calibrated_seconds=over(CALIBRATED) if all(CALIBRATED in run["metrics"] for run in group) else None,
        examples_per_second=over("cost/examples_per_second"),
        peak_memory_bytes=max(metric_of(run, "cost/peak_memory_bytes") for run in group),
        target_seconds=over("target/seconds") if has_target else None,
        n=len(group),
        outcomes=outcomes,
        sharpness={name: over(name) for name in measures},
    )


def table_of(title: str, headings: Sequence[str], left: Sequence[str] = ()) -> Table:
    """Return an empty table for the terminal; its columns are right-justified but for those in `left`."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right", overflow="fold")
    return table


def draw_table(rows: Sequence[Row], title: str) -> Table:
    """Draw the rows as a table for the terminal."""
    has_target, is_calibrated = any(row.target_seconds for row in rows), any(row.calibrated_seconds for row in rows)
    names = list(dict.fromkeys(name for row in rows for name in row.varied))
    headings = ["batch size", *names, "lr", "steps", f"val {rows[0].metric.title}", "train s"]
    headings += ["s if alone"] if is_calibrated else []
    headings += ["s to target"] if has_target else []
    headings += ["examples/s", "peak MiB", "n"]
    headings += ["outcome"] if any(row.outcomes for row in rows) else []
    table = table_of(title, headings, left=(*names, "outcome"))
    for row in rows:
        cells = [str(row.batch_size), *(row.varied.get(name, "") for name in names), f"{row.lr:.4g}"]
        cells += [number(row.steps.value), format_score(row), format_estimate(row.train_seconds, 2)]
        cells += [format_estimate(row.calibrated_seconds, 2) if row.calibrated_seconds else ""] if is_calibrated else []
        cells += [format_estimate(row.target_seconds, 2) if row.target_seconds else ""] if has_target else []
        peak = row.peak_memory_bytes / 2**20
        cells += [number(row.examples_per_second.value), number(peak), str(row.n)]
        table.add_row(*cells, *([row.outcomes] if headings[-1] == "outcome" else []))
    return table


def verdict(rows: Sequence[Row]) -> str:
    """Compare score and training time as far as intervals carry; empty for fewer than two rows with a score."""
    rated = [row for row in rows if not math.isnan(row.score.value)]
    if len(rated) < 2:
        return ""
    best, names = max(rated, key=lambda row: row.metric.sign * row.score.value), _named(rated)
    said = f"{superlative(best.metric)} val {best.metric.title}: {names[best.key]} ({format_score(best)})."
    if any(row.score.n < 2 for row in rated):
        fastest = min(rated, key=lambda row: row.seconds.value)
        said += f" Least training time: {names[fastest.key]} ({format_estimate(fastest.seconds, 2)} s)."
        return f"{said} One seed does not tell whether they differ: num_seeds=3 gives intervals."
    tied = tied_with(best, rated)
    if len(tied) == 1:
        return f"{said} No other interval reaches it."
    fastest = min(tied, key=lambda row: row.seconds.value)
    others = "; ".join(names[row.key] for row in tied if row is not best)
    return f"{said} Not told apart from it at n = {best.n}: {others}. Fastest among these: {names[fastest.key]}."


def tied_with(best: Row, rows: Sequence[Row]) -> list[Row]:
    """Return rows whose interval of the score reaches that of the best row, itself among them."""
    if best.metric.sign > 0:
        return [row for row in rows if row is best or row.score.high >= best.score.low]
    return [row for row in rows if row is best or row.score.low <= best.score.high]


def superlative(metric: Metric) -> str:
    """Return ``Highest`` or ``Lowest``, whichever is best."""
    return "Highest" if metric.sign > 0 else "Lowest"


def format_score(row: Row) -> str:
    """Write the score of a row with its interval."""
    return format_estimate(row.score, row.metric.digits(row.score.value))


def time_spent(runs: Sequence[Run]) -> str:
    """Sum the seconds of the runs that ended by themselves, on the training clock and off it; empty where none did."""

    def total(metric: str) -> float:
        return sum(value for run in runs if not math.isnan(value := metric_of(run, metric)))

    whole, training, evaluation = total("cost/total_seconds"), total("cost/train_seconds"), total("cost/eval_seconds")
    if not whole:
        return ""
    text = f"All runs together took {whole:.1f} s: {training:.1f} s training, {evaluation:.1f} s evaluation"
    measuring = total("cost/measure_seconds")
    return f"{text}, {measuring:.1f} s measuring (measure=none leaves that out)." if measuring else f"{text}."


def _named(rows: Sequence[Row]) -> dict[str, str]:
    """Name configurations by what varies; by lr where one batch size was trained with several."""
    has_lr = len({(row.batch_size, row.lr) for row in rows}) > len({row.batch_size for row in rows})
    named = {}
    for row in rows:
        words = [f"batch size {row.batch_size}", *([f"lr {row.lr:.4g}"] if has_lr else [])]
        words += [f"{key.rpartition('.')[2]} {value}" for key, value in row.varied.items()]
        named[row.key] = ", ".join(words)
    return named


def number(value: float) -> str:
    """Write a whole number with thousands separated; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:,.0f}"


def format_estimate(value: Estimate, digits: int) -> str:
    """Write ``mean ± half width``; no ± at n = 1 and where all are one number (computed seconds), a dash for NaN."""
    if math.isnan(value.value):
        return "-"
    text = f"{value.value:.{digits}f}"
    return f"{text} ± {value.half_width:.{digits}f}" if value.half_width > 0.0 else text


def format_interval(estimate: Estimate, unit: float = 1.0, digits: int = 3) -> str:
    """Write ``value [low, high]``, multiplied by a unit."""
    value, low, high = (each * unit for each in (estimate.value, estimate.low, estimate.high))
    return f"{_short(value, digits)} [{_short(low, digits)}, {_short(high, digits)}]"


def _short(number: float, digits: int) -> str:
    if math.isnan(number):
        return "?"
    if math.isinf(number):
        return "no end"
    return f"{number:,.0f}" if abs(number) >= 10**digits else f"{number:,.{digits}g}"

"""Time and examples to the target by batch size: table, law of convergence, and figures with both laws."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Column, Table

from batchlab.laws.convergence import Convergence, fit_convergence
from batchlab.laws.estimate import Estimate, of_draws
from batchlab.laws.optimum import Costs, best_batch_size, costs_of_laws, good_range
from batchlab.laws.step_time import StepTime
from batchlab.report.by_size import BATCH_SIZE, trace_of
from batchlab.report.comparison import Row, Run, format_interval, mean_metric, metric_of
from batchlab.report.panel import Axis, Panel, Trace
from batchlab.report.study_data import Study, num_train

NUM_POINTS = 40
"""Of a law's line."""


@dataclass(frozen=True)
class Targets:
    """Runs to a target at each batch size's best setting."""

    by_size: Mapping[int, Sequence[Run]]  # batch size -> its runs; of several settings those with the fewest examples
    num_settings: int  # most settings that a batch size was run with
    law: Convergence | None  # None where fewer than two batch sizes reached the target


def targets_of(runs: Sequence[Run]) -> Targets | None:
    """Return the runs of one command with budget=target; None where there are none, or of one batch size only."""
    settings: dict[int, dict[str, list[Run]]] = {}
    for run in runs:
        if "target/examples" in run["metrics"] and run["tags"].get("outcome") == "done":
            size = int(run["params"]["batch_size"])
            settings.setdefault(size, {}).setdefault(run["tags"]["config_key"], []).append(run)
    if len(settings) < 2:
        return None
    by_size = {size: min(groups.values(), key=_mean_examples) for size, groups in sorted(settings.items())}
    reached = {size: [metric_of(run, "target/examples") for run in group] for size, group in by_size.items()}
    limits = {size: max(metric_of(run, "cost/num_examples") for run in group) for size, group in by_size.items()}
    try:
        law = fit_convergence(reached, limits)
    except ValueError:
        law = None
    return Targets(by_size, max(map(len, settings.values())), law)


def _mean_examples(group: Sequence[Run]) -> float:
    values = [metric_of(run, "target/examples") for run in group]
    return math.inf if any(map(math.isnan, values)) else sum(values) / len(values)


def draw_targets(targets: Targets) -> Table:
    """Draw epochs, steps and seconds to the target by batch size, beside the law's."""
    columns = ("batch size", "reached", "epochs", "steps", "examples", "law", "seconds")
    headings = [Column(name, justify="right") for name in columns]
    table = Table(*headings, title="to the target, mean over the runs that reached it", title_justify="left")
    for size, group in targets.by_size.items():
        done = [run for run in group if math.isfinite(metric_of(run, "target/examples"))]
        names, forms = ("epochs", "steps", "examples", "seconds"), (".2f", ",.0f", ",.0f", ".3g")
        means = {name: sum(metric_of(run, f"target/{name}") for run in done) / len(done) for name in names if done}
        numbers = [f"{means[name]:{form}}" if done else "-" for name, form in zip(names, forms, strict=True)]
        law = f"{targets.law.examples(size).value:,.0f}" if targets.law else "-"
        table.add_row(str(size), f"{len(done)} of {len(group)}", *numbers[:3], law, numbers[3])
    return table


def convergence_in_words(targets: Targets) -> list[str]:
    """Write the law with its intervals, and what it rests on."""
    law = targets.law
    if law is None:
        return ["No convergence law: fewer than two batch sizes reached the target."]
    fit = "" if math.isnan(law.r_squared) else f", R² {law.r_squared:.3f}"
    numbers = (law.min_examples, law.critical_batch_size, law.min_steps)
    least, critical, steps = (format_interval(each, digits=4) for each in numbers)
    lines = [f"E(B) = E_min·(1 + B/B_crit): E_min {least} examples, B_crit {critical}, S_min {steps} steps{fit}"]
    if law.censored:
        sizes = ", ".join(f"{size} (after {limit:,.0f} examples)" for size, limit in law.censored.items())
        lines.append(f"Did not reach the target, and bind the law from below there: {sizes}")
    if targets.num_settings == 1:
        lines.append("One learning rate for each batch size: the law is that of this rule, not of tuned rates.")
    return lines


@dataclass(frozen=True)
class TargetPoints:
    """What runs to a target took."""

    targets: Targets  # the runs and the law of convergence
    rows: Sequence[Row]  # the best setting of each batch size, by batch size
    costs: Costs | None  # both laws; None where one of them is missing


def target_points(study: Study, step: StepTime | None) -> TargetPoints | None:
    """Return time and examples to the target; None where no run has one, or of one batch size only."""
    targets = targets_of([run for group in study.by_key.values() for run in group])
    if targets is None:
        return None
    rows, total = {row.key: row for row in study.rows}, num_train(study)
    best = [rows[group[0]["tags"]["config_key"]] for group in targets.by_size.values()]
    costs = costs_of_laws(step, targets.law, total) if step and targets.law and math.isfinite(total) else None
    return TargetPoints(targets, best, costs)


def target_panels(points: TargetPoints, study: Study) -> list[Panel]:
    """Return seconds to the target with the prediction of both laws, and examples with the law of convergence."""
    sizes = np.geomspace(points.rows[0].batch_size, points.rows[-1].batch_size, NUM_POINTS)
    seconds, examples, law = list[Trace](), list[Trace](), points.targets.law
    if points.costs is not None:
        seconds = _band("both laws", sizes, [of_draws(each[0], each) for each in points.costs.seconds(sizes).T])
    if law is not None:
        examples = _band("E_min·(1 + B/B_crit)", sizes, [law.examples(size) for size in sizes])
    seconds.append(_measured(points, "target/seconds", study))
    examples.append(_measured(points, "target/examples", study))
    left, right = Axis("time to the target (s)", is_log=True), Axis("examples to the target", is_log=True)
    note = " ".join(convergence_in_words(points.targets))
    return [
        Panel("target", "Time to the target by batch size", BATCH_SIZE, left, seconds, optimum_in_words(points)),
        Panel("convergence", "Examples to the target by batch size", BATCH_SIZE, right, examples, note),
    ]


def optimum_in_words(points: TargetPoints) -> str:
    """Return the batch size of the least time by both laws, with its interval."""
    if points.costs is None:
        return "Two batch sizes that reach the target, and their step times, would give the best one by law."
    low, high = good_range(points.costs)
    best = format_interval(best_batch_size(points.costs))
    return f"By both laws the least time is at B* = {best}; from {low:,.0f} to {high:,.0f} it is within 10 % of that."


def _measured(points: TargetPoints, metric: str, study: Study) -> Trace:
    means = {size: mean_metric(group, metric) for size, group in points.targets.by_size.items()}
    rows = [row for row in points.rows if means[row.batch_size].n]
    return trace_of("measured", rows, study, lambda row: means[row.batch_size], style="points")


def _band(name: str, sizes: np.ndarray, values: Sequence[Estimate]) -> list[Trace]:
    x, y = list(sizes), [each.value for each in values]
    low, high = [each.low for each in values], [each.high for each in values]
    return [Trace(name, x, y, low, high, style="band"), Trace(name, x, y, style="line")]

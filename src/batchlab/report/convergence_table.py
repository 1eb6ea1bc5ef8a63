"""The convergence law of a command's runs to a target: a table by batch size, and the law in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Column, Table

from batchlab.laws.convergence import Convergence, fit_convergence
from batchlab.laws.estimate import Estimate
from batchlab.report.comparison import Run

Runs = Mapping[int, Sequence[Run]]


@dataclass(frozen=True)
class Targets:
    """Runs to a target at each batch size's best setting.

    Attributes:
        by_size: batch size -> its runs; of several settings those with the fewest examples.
        num_settings: most settings that a batch size was run with.
        law: None where fewer than two batch sizes reached the target.
    """

    by_size: Runs
    num_settings: int
    law: Convergence | None


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
    reached = {size: [_metric(run, "target/examples") for run in group] for size, group in by_size.items()}
    limits = {size: max(_metric(run, "cost/num_examples") for run in group) for size, group in by_size.items()}
    try:
        law = fit_convergence(reached, limits)
    except ValueError:
        law = None
    return Targets(by_size, max(map(len, settings.values())), law)


def _metric(run: Run, name: str) -> float:
    return float(run["metrics"].get(name, math.nan))


def _mean_examples(group: Sequence[Run]) -> float:
    values = [_metric(run, "target/examples") for run in group]
    return math.inf if any(map(math.isnan, values)) else sum(values) / len(values)


def draw_targets(targets: Targets) -> Table:
    """Draw epochs, steps and seconds to the target by batch size, beside the law's."""
    columns = ("batch size", "reached", "epochs", "steps", "examples", "law", "seconds")
    headings = [Column(name, justify="right") for name in columns]
    table = Table(*headings, title="to the target, mean over the runs that reached it", title_justify="left")
    for size, group in targets.by_size.items():
        done = [run for run in group if math.isfinite(_metric(run, "target/examples"))]
        names, forms = ("epochs", "steps", "examples", "seconds"), (".2f", ",.0f", ",.0f", ".3g")
        means = {name: sum(_metric(run, f"target/{name}") for run in done) / len(done) for name in names if done}
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
    lines = [
        f"E(B) = E_min·(1 + B/B_crit): E_min {_shown(law.min_examples)} examples, "
        f"B_crit {_shown(law.critical_batch_size)}, S_min {_shown(law.min_steps)} steps{fit}",
    ]
    if law.censored:
        sizes = ", ".join(f"{size} (after {limit:,.0f} examples)" for size, limit in law.censored.items())
        lines.append(f"Did not reach the target, and bind the law from below there: {sizes}")
    if targets.num_settings == 1:
        lines.append("One learning rate for each batch size: the law is that of this rule, not of tuned rates.")
    return lines


def _shown(estimate: Estimate) -> str:
    value, low, high = (
        "no end" if math.isinf(each) else f"{each:,.4g}" for each in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]"

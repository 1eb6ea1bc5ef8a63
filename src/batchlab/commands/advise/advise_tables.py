"""Advice for a person at the terminal, and as numbers."""

import math
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from batchlab.commands.advise.advice import Advice
from batchlab.commands.advise.advise_measurements import Filled, Measured
from batchlab.commands.advise.trainings import Trainings
from batchlab.report.comparison import format_interval
from batchlab.report.step_time_table import floor_in_words
from batchlab.report.summary import UNKNOWN, describe_limits, finite

ENDINGS = {"done": "worse, stopped", "no time": "time was over"}
"""Of trainings that did not reach the target."""


def show_advice(console: Console, advice: Advice, measured: Measured) -> None:
    """Print the answer first, then what it rests on."""
    low, high = advice.flat
    if advice.basis == "noise" and measured.trainings is not None:
        console.print("No two batch sizes reached the target: this rests on step time and gradient noise alone.")
    console.print(
        f"batch_size={advice.batch_size} lr={advice.lr:.3g}: "
        f"B* = {format_interval(advice.best)}; from {low:.0f} to {high:.0f} within 10 % of the least time",
        style="bold",
    )
    if math.isfinite(advice.epochs) and measured.trainings is not None:
        passes = "1 epoch" if advice.epochs == 1 else f"{advice.epochs:g} epochs"
        console.print(f"Epochs: {target_of(measured.trainings)} takes {passes} there; a better target=, more")
    console.print(f"What limits: {describe_limits(advice.limits) or UNKNOWN}")
    console.print(f"Learning rate: moves with batch_size^{advice.lr_exponent:.2f}, {advice.rule}")
    law = measured.step
    console.print(
        f"Step time: α {format_interval(law.alpha_seconds, 1e3)} ms per step, "
        f"β {format_interval(law.beta_seconds, 1e6)} µs per example; "
        f"half speed at B = {format_interval(law.half_speed)}{floor_in_words(law)}"
    )
    console.print(measured.memory[:1].upper() + measured.memory[1:])
    console.print(
        f"Gradient noise scale: B_simple = {format_interval(measured.noise)} after {measured.noise_examples:,.0f} "
        f"examples, where the first training reached the target; it grows as the loss falls"
    )
    basis = "from the trainings" if advice.basis == "trainings" else "from gradient noise alone"
    console.print(f"Critical batch size: B_crit = {format_interval(advice.critical)}, {basis}")
    if measured.trainings is not None:
        console.print(draw_trainings(measured.trainings))
    console.print(draw_predictions(advice))
    for remark in advice.remarks:
        console.print(f"Note: {remark}")


def target_of(trainings: Trainings) -> str:
    """Write the target of trainings, e.g. ``val accuracy 0.9500``."""
    return f"val {trainings.score.title} {trainings.score.text(trainings.target)}"


def draw_trainings(trainings: Trainings) -> Table:
    """Draw every training to the target, by batch size and learning rate."""
    title = f"trainings to {target_of(trainings)}"
    heads = ("B", "lr", "seed", "examples", "epochs", "steps", "s")
    table = Table(*(Column(head, justify="right") for head in heads), title=title)
    for each in sorted(trainings.done, key=lambda each: (each.batch_size, each.lr, each.seed)):
        if each.is_reached:
            passes, steps = each.examples / trainings.num_train, each.examples / each.batch_size
            numbers = f"{each.examples:,.0f}", f"{passes:.2f}", f"{steps:,.0f}", f"{each.seconds:.3g}"
        else:
            why = ENDINGS.get(each.outcome, each.outcome)
            numbers = f"{why} after {each.limit:,.0f}", "", "", ""
        table.add_row(str(each.batch_size), f"{each.lr:.3g}", str(each.seed), *numbers)
    return table


def draw_predictions(advice: Advice) -> Table:
    """Draw what each batch size costs."""
    has_price = any(math.isfinite(row.dollars) for row in advice.predictions)
    is_absolute = math.isfinite(advice.predictions[0].seconds.value)
    price = ["price"] if has_price else []
    title = "predicted to the target" if is_absolute else "predicted, relative to the best"
    counts = ["examples", "steps", "seconds", "95 %"] if is_absolute else []
    heads = ("B", *counts, "× best", "lr", *price)
    table = Table(*(Column(head, justify="right") for head in heads), title=title)
    for row in advice.predictions:
        seconds = row.seconds
        shown = [f"{row.examples:,.0f}", f"{row.steps:,.0f}", f"{seconds.value:.3g}"]
        shown.append(f"{seconds.low:.3g}-{seconds.high:.3g}")
        costs = [f"{row.dollars:.3g}"] if has_price else []
        style = "bold" if row.batch_size == advice.batch_size else None
        ratio = f"{row.over_best:.2f}"
        table.add_row(str(row.batch_size), *(shown if is_absolute else []), ratio, f"{row.lr:.3g}", *costs, style=style)
    return table


def show_filled(console: Console, filled: Filled, trainings: Trainings) -> None:
    """Print the answer of fill_then_reduce."""
    if filled.batch_size is None:
        console.print(f"No batch size reached {target_of(trainings)} in the time, from {filled.plateau} down.")
    else:
        console.print(f"batch_size={filled.batch_size} lr={filled.lr:.3g} by fill_then_reduce", style="bold")
    console.print(f"The device is filled at B = {filled.plateau}: 95 % of the greatest throughput.")
    console.print(draw_trainings(trainings))


def advice_record(advice: Advice, measured: Measured) -> dict[str, Any]:
    """Return the advice as JSON; numbers that are not known are null."""
    record = {
        "batch_size": advice.batch_size,
        "lr": advice.lr,
        "epochs": advice.epochs,
        "lr_exponent": advice.lr_exponent,
        "lr_rule": advice.rule,
        "optimal_batch_size": advice.best.record(),
        "within_10_percent": list(advice.flat),
        "limits": advice.limits,
        **{name: each.record() for name, each in measured.step.estimates().items()},
        "memory": measured.memory,
        "largest_part": measured.ceiling,
        "gradient_noise_scale": measured.noise.record(),
        "critical_batch_size": advice.critical.record(),
        "basis": advice.basis,
        "score": measured.trainings.score.name if measured.trainings else None,
        "target": measured.trainings.target if measured.trainings else None,
        "trainings": [vars(each) for each in measured.trainings.done] if measured.trainings else [],
        "predictions": [{**vars(row), "seconds": row.seconds.record()} for row in advice.predictions],
        "remarks": advice.remarks,
    }
    return finite(record)


def filled_record(filled: Filled, target: float) -> dict[str, Any]:
    """Return the answer of fill_then_reduce as JSON."""
    tried = [vars(each) for each in filled.tried]
    record = {"batch_size": filled.batch_size, "lr": filled.lr, "plateau": filled.plateau}
    return finite(record | {"method": "fill_then_reduce", "target": target, "trainings": tried})

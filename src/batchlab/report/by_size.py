"""Score, seconds and throughput by batch size, each at its best setting, with intervals over seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from batchlab.laws.estimate import Estimate
from batchlab.report.comparison import Row
from batchlab.report.panel import Axis, Panel, Trace, interval_trace
from batchlab.report.study_data import Study, best_by_size, hover_of, labelled, score_name

BATCH_SIZE = Axis("batch size (examples per step)", is_log=True)
MAX_OTHERS = 300
"""Points of settings that are not the best of their batch size: each costs a browser half a millisecond."""


@dataclass(frozen=True)
class SizePoints:
    """What was measured by batch size."""

    best: dict[str, list[Row]]  # label -> the best row of each batch size, by batch size
    others: list[Row]  # the other rows with values; where they are many, every k-th
    step: int  # k


def size_points(study: Study) -> SizePoints | None:
    """Return the best row of each batch size; None where no configuration has a value."""
    best = {label: found for label, rows in labelled(study).items() if (found := best_by_size(study, rows))}
    if not best:
        return None
    chosen = {row.key for rows in best.values() for row in rows}
    others = [row for row in study.rows if row.key not in chosen and not row.outcomes]
    step = 1 + len(others) // MAX_OTHERS
    return SizePoints(best, others[::step], step)


def score_panel(points: SizePoints, study: Study) -> Panel:
    """Return the score on the validation split by batch size."""
    axis, traces = Axis(study.score.axis), _traces(points, study, lambda row: row.score)
    title = f"Validation {study.score.title} by batch size"
    return Panel("score", title, BATCH_SIZE, axis, traces, _note(points, study))


def seconds_panel(points: SizePoints, study: Study) -> Panel:
    """Return training seconds by batch size."""
    note = "Seconds of training steps only: evaluation, measures and recording are off this clock."
    if any(row.calibrated_seconds for row in study.rows):
        note += " They are step times measured alone, times steps: these runs shared their host."
    axis, traces = Axis("training time (s)", is_log=True), _traces(points, study, lambda row: row.seconds)
    return Panel("seconds", "Training time by batch size", BATCH_SIZE, axis, traces, note)


def throughput_panel(points: SizePoints, study: Study) -> Panel:
    """Return examples per second by batch size."""
    traces = _traces(points, study, lambda row: row.examples_per_second, with_others=False)
    axis = Axis("throughput (examples/s)", is_log=True)
    note = "Where it stops rising, a larger batch only takes longer."
    return Panel("throughput", "Throughput by batch size", BATCH_SIZE, axis, traces, note)


def _traces(
    points: SizePoints, study: Study, value: Callable[[Row], Estimate], with_others: bool = True
) -> list[Trace]:
    """A line for each label through the best rows, and the others as points behind it."""
    traces = []
    if points.others and with_others:
        traces.append(trace_of(some("other settings", points.step), points.others, study, value, is_faint=True))
    only = "best setting of each batch size" if points.others else "all seeds"
    return traces + [trace_of(label or only, rows, study, value) for label, rows in points.best.items()]


def some(name: str, step: int) -> str:
    """Return a name that says where only every k-th is drawn."""
    return name if step == 1 else f"{name}, 1 in {step}"


def trace_of(
    name: str,
    rows: Sequence[Row],
    study: Study,
    value: Callable[[Row], Estimate],
    is_faint: bool = False,
    style: Literal["points", "both"] = "both",
) -> Trace:
    """Return a number of each row by its batch size; of faint rows as points without intervals."""
    return interval_trace(
        name, [row.batch_size for row in rows], [value(row) for row in rows], style="points" if is_faint else style,
        is_faint=is_faint, hover=[hover_of(row) for row in rows], commands=[row.origin for row in rows],
    )  # fmt: skip


def _note(points: SizePoints, study: Study) -> str:
    """What the bars are, and how the settings were chosen."""
    counts = sorted({row.n for rows in points.best.values() for row in rows})
    seeds = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
    bars = "bars are 95 % t intervals over seeds" if counts[-1] > 1 else "one seed each has no interval"
    judged = "seconds to the target" if study.has_target else score_name(study)
    chosen = f" Of several settings at one batch size the one with the best {judged} counts." if points.others else ""
    return f"{seeds}; {bars}.{chosen}"

"""Step time by batch size, of one process and of several over one: tables for the terminal, records for machines."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Column, Table

from batchlab.laws.equivalence import Verdict
from batchlab.laws.estimate import Estimate, median_of
from batchlab.laws.line import Array
from batchlab.laws.step_time import StepTime, crossing, crossing_of_table
from batchlab.report.comparison import format_interval


@dataclass(frozen=True)
class SizeRow:
    """One batch size of one variant."""

    batch_size: int  # examples per step
    step_seconds: Estimate  # median with its bootstrap interval
    epoch_seconds: float  # N/B steps, not rounded
    peak_bytes: float  # peak memory; NaN where it is not known

    @property
    def examples_per_second(self) -> float:
        """Return the examples per second, by the median."""
        return self.batch_size / self.step_seconds.value


@dataclass(frozen=True)
class Series:
    """One variant, ready to be shown."""

    label: str
    rows: list[SizeRow]  # by batch size, rising
    num_blocks: int  # n
    law: StepTime | None  # None with fewer than two sizes
    verdicts: list[Verdict]  # of sizes with enough neighbours
    failed: dict[int, str]  # batch size -> why it could not be timed
    flops_per_example: float
    peak_flops: float  # FLOP/s of a large matrix product on the same device
    num_train: int  # N


def size_rows(batch_sizes: Sequence[int], seconds: Array, peak_bytes: Array, num_train: int) -> list[SizeRow]:
    """Return rows of one variant; `seconds` is [num_blocks, n], `peak_bytes` [n]."""
    medians = [median_of(column) for column in seconds.T]
    return [
        SizeRow(size, step, num_train / size * step.value, float(peak))
        for size, step, peak in zip(batch_sizes, medians, peak_bytes, strict=True)
    ]


def draw_sizes(series: Series) -> Table:
    """Draw the table of one variant."""
    columns = ("B", "ms/step", "95 %", "examples/s", "epoch s", "× best", "law", "GFLOP/s", "of peak", "peak MiB")
    headings = [Column(name, justify="right", no_wrap=True) for name in columns]
    table = Table(*headings, title=f"{series.label}: seconds by batch size, n = {series.num_blocks} blocks")
    least = min(row.epoch_seconds for row in series.rows)
    for row in series.rows:
        step, flops = row.step_seconds, series.flops_per_example * row.examples_per_second
        over_law = f"{step.value / series.law.seconds(row.batch_size).value - 1:+.1%}" if series.law else ""
        table.add_row(
            str(row.batch_size),
            f"{step.value * 1e3:.3g}",
            f"{step.low * 1e3:.3g}-{step.high * 1e3:.3g}",
            f"{row.examples_per_second:,.0f}",
            f"{row.epoch_seconds:.3g}",
            f"{row.epoch_seconds / least:.2f}",
            over_law,
            f"{flops / 1e9:.3g}",
            f"{flops / series.peak_flops:.1%}",
            "" if math.isnan(row.peak_bytes) else f"{row.peak_bytes / 2**20:,.0f}",
            style="bold" if row.epoch_seconds == least else None,
        )
    for size, why in sorted(series.failed.items()):
        table.add_row(str(size), why, *[""] * 8)
    return table


NAMES = {
    "alpha_seconds": ("alpha", "s"),
    "beta_seconds": ("beta", "s/example"),
    "half_speed": ("half-speed batch size", "examples"),
    "floor_seconds": ("floor", "s"),
    "knee": ("knee", "examples"),
}
"""What a record calls each number of the law, and its unit."""


def step_time_in_words(label: str, law: StepTime | None) -> list[str]:
    """Write the law of what was timed, a line or two, its range, and what lies beyond; where there is none, why."""
    prefix = f"{label}: " if label else ""
    if law is None:
        return [f"{prefix}no law, it needs two batch sizes that could be timed"]
    fit = "" if math.isnan(law.r_squared) else f", R² {law.r_squared:.4f}"
    formula, half_speed = ("max(c, α + β·B)", "B") if law.knee else ("α + β·B", "B = α/β")
    lines = [
        f"{prefix}t(B) = {formula} from B = {law.smallest} to {law.largest}{fit}, within {law.worst:.1%}",
        f"  α {format_interval(law.alpha_seconds, 1e3)} ms per step, "
        f"β {format_interval(law.beta_seconds, 1e6)} µs per example, "
        f"half speed at {half_speed} = {format_interval(law.half_speed)}{floor_in_words(law)}",
    ]
    if law.beyond:
        sizes = ", ".join(f"{size} ({ratio - 1:+.0%})" for size, ratio in law.beyond)
        lines.append(
            f"  beyond the law, slower than it says: {sizes}; left out of α and β (caches or memory end there)"
        )
    return lines


def floor_in_words(law: StepTime) -> str:
    """Say what a step takes at least, and up to which batch size; empty where no floor is seen."""
    if law.floor_seconds is None or law.knee is None:
        return ""
    least, knee = format_interval(law.floor_seconds, 1e3), format_interval(law.knee)
    return f"; no step takes less than c = {least} ms: up to B = {knee} a larger batch costs nothing"


def draw_ratios(first: Series, second: Series) -> Table:
    """Draw two variants side by side with the ratio of their times, as in the 2017 post on a 6x64 network."""
    names = f"{first.label}: epoch s", f"{second.label}: epoch s", f"{first.label} / {second.label}"
    table = Table(*(Column(name, justify="right") for name in ("B", *names)), title="side by side")
    others = {row.batch_size: row.epoch_seconds for row in second.rows}
    for row in first.rows:
        if other := others.get(row.batch_size):
            one = row.epoch_seconds
            table.add_row(str(row.batch_size), f"{one:.3g}", f"{other:.3g}", f"{one / other:.2f}")
    return table


def crossing_in_words(first: Series, second: Series) -> str:
    """Say at which batch size two variants take the same time, by their laws and by the table itself."""
    shared = sorted({row.batch_size for row in first.rows} & {row.batch_size for row in second.rows})
    times = [
        np.array([row.step_seconds.value for row in each.rows if row.batch_size in shared]) for each in (first, second)
    ]
    found = crossing_of_table(shared, *times)
    by_table, by_law = f"B = {found:.0f}" if not math.isnan(found) else "nowhere", "no law"
    if first.law and second.law:
        at = crossing(first.law, second.law)
        by_law = f"B = {format_interval(at)}" if not math.isnan(at.value) else "nowhere"
    return f"{first.label} and {second.label} take the same time at: by the laws {by_law}; by the table {by_table}"


def draw_verdicts(series: Series, margin: float) -> Table:
    """Draw every size against the line through its neighbours."""
    title = f"{series.label}: is a size out of line with those within ±10 %? equal means within ±{margin:.0%}"
    table = Table("B", "kind", "off its line", "90 %", "p equal", "p different", "verdict", title=title)
    for verdict in series.verdicts:
        off, style = verdict.residual, "bold" if verdict.said == "different" else None
        cells = [str(verdict.batch_size), kind_of(verdict.batch_size), f"{off.value:+.2%}"]
        cells += [f"{off.low:+.2%} to {off.high:+.2%}", f"{verdict.p_equal:.3f}", f"{verdict.p_different:.3f}"]
        table.add_row(*cells, verdict.in_words, style=style)
    return table


def kind_of(size: int) -> str:
    """Return ``power of 2``, ``multiple of 8`` or nothing."""
    if size & (size - 1) == 0:
        return "power of 2"
    return "multiple of 8" if size % 8 == 0 else ""


def verdicts_in_words(series: Series) -> str:
    """Say how many sizes of each kind are equal, different, or undecided."""
    parts = []
    for kind in ("power of 2", "multiple of 8", ""):
        counts = Counter(verdict.said for verdict in series.verdicts if kind_of(verdict.batch_size) == kind)
        if counts:
            listed = (f"{counts[word]} {word}" for word in ("equal", "different", "not enough data") if counts[word])
            parts.append(f"{kind or 'other sizes'}: {', '.join(listed)}")
    return f"{series.label}: {'; '.join(parts)} (Holm-corrected over {len(series.verdicts)} sizes)"


def records_of(series: Series) -> list[dict[str, Any]]:
    """Return flat records: every median and the law."""
    found = [(f"B={row.batch_size} step", "s", row.step_seconds) for row in series.rows]
    if law := series.law:
        found += [(*NAMES[name], each) for name, each in law.estimates().items()]
    return [_record(f"{series.label} {what}", unit, each, series.num_blocks) for what, unit, each in found]


def _record(what: str, unit: str, estimate: Estimate, count: int) -> dict[str, Any]:
    ends = {"median": estimate.value, "low": estimate.low, "high": estimate.high}
    return {"what": what, "unit": unit} | ends | {"n": count}


@dataclass(frozen=True)
class Scaling:
    """Throughput of several processes that share every batch over that of one; below 1 = slower."""

    num_processes: int
    speed_ups: dict[int, Estimate]  # batch size over all processes -> the ratio
    num_blocks: int  # n


def scaling_of(batch_sizes: Sequence[int], alone: Array, shared: Array, num_processes: int) -> Scaling:
    """Take the median over the blocks of the ratio within a block, with its interval.

    [num_blocks, n] seconds per step of one process alone, and of all that share the batches, in the same blocks.
    """
    ratios = alone / shared
    return Scaling(num_processes, dict(zip(batch_sizes, map(median_of, ratios.T), strict=True)), len(ratios))


def draw_scaling(scaling: Scaling) -> Table:
    """Draw the speed-up by batch size, and the share of each process's work that is left of it."""
    num = scaling.num_processes
    columns = "B", "examples per process", "speed-up", "95 %", "efficiency"
    table = Table(*(Column(name, justify="right") for name in columns), title=f"{num} processes over one")
    for size, up in scaling.speed_ups.items():
        interval = f"{up.low:.2f} to {up.high:.2f}"
        table.add_row(str(size), f"{size / num:.4g}", f"{up.value:.2f}", interval, f"{up.value / num:.0%}")
    return table


def scaling_in_words(scaling: Scaling) -> str:
    """Say from which batch size on the processes are faster than one, and by how much at most."""
    size, best = max(scaling.speed_ups.items(), key=lambda item: item[1].value)
    faster = [str(size) for size, up in scaling.speed_ups.items() if up.low > 1]
    where = f"B = {', '.join(faster)}" if faster else "none of these batch sizes"
    at_most = f"at most {format_interval(best)} times one process's throughput, at B = {size}"
    return f"{scaling.num_processes} processes are faster than one at {where}: {at_most}."


def scaling_records(scaling: Scaling) -> list[dict[str, Any]]:
    """Return flat records of the speed-ups."""
    return [
        _record(f"{scaling.num_processes} processes over one, B={size}", "times the throughput", up, scaling.num_blocks)
        for size, up in scaling.speed_ups.items()
    ]

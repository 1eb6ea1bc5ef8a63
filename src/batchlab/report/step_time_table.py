"""Step time by batch size: tables for the terminal, records for machines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from batchlab.laws.equivalence import Verdict
from batchlab.laws.estimate import Estimate, median_of
from batchlab.laws.step_time import StepTime, crossing, crossing_of_table
from batchlab.report.comparison import format_interval


@dataclass(frozen=True)
class SizeRow:
    """One batch size of one variant.

    Attributes:
        batch_size: examples per step.
        num_blocks: n.
        step_seconds: median with its bootstrap interval.
        examples_per_second: by the median.
        epoch_seconds: N/B steps, not rounded.
        over_law: measured over the law's, minus 1; NaN without a law.
        flops_per_second: achieved.
        peak_bytes: peak memory; NaN where it is not known.
    """

    batch_size: int
    num_blocks: int
    step_seconds: Estimate
    examples_per_second: float
    epoch_seconds: float
    over_law: float
    flops_per_second: float
    peak_bytes: float


@dataclass(frozen=True)
class Series:
    """One variant, ready to be shown.

    Attributes:
        label: tells it from the others.
        rows: by batch size, rising.
        law: None with fewer than two sizes.
        verdicts: of sizes with enough neighbours.
        failed: batch size -> why it could not be timed.
        flops_per_example: of one example.
        peak_flops: FLOP/s of a large matrix product on the same device.
        num_train: N.
    """

    label: str
    rows: list[SizeRow]
    law: StepTime | None
    verdicts: list[Verdict]
    failed: dict[int, str]
    flops_per_example: float
    peak_flops: float
    num_train: int


def size_rows(
    batch_sizes: Sequence[int],
    seconds: np.ndarray,
    peak_bytes: np.ndarray,
    law: StepTime | None,
    num_train: int,
    flops_per_example: float,
) -> list[SizeRow]:
    """Rows of one variant; `seconds` is [num_blocks, n], `peak_bytes` [n]."""
    rows = []
    for place, size in enumerate(batch_sizes):
        median = median_of(seconds[:, place])
        rows.append(
            SizeRow(
                batch_size=size,
                num_blocks=len(seconds),
                step_seconds=median,
                examples_per_second=size / median.value,
                epoch_seconds=num_train / size * median.value,
                over_law=median.value / law.seconds(size).value - 1 if law else math.nan,
                flops_per_second=flops_per_example * size / median.value,
                peak_bytes=float(peak_bytes[place]),
            )
        )
    return rows


def draw_sizes(series: Series) -> Table:
    """The table of one variant."""
    columns = ("B", "ms/step", "95 %", "examples/s", "epoch s", "× best", "law", "GFLOP/s", "of peak", "peak MiB")
    table = Table(*columns, title=f"{series.label}: seconds by batch size, n = {series.rows[0].num_blocks} blocks")
    for column in table.columns:
        column.justify, column.no_wrap = "right", True
    least = min(row.epoch_seconds for row in series.rows)
    for row in series.rows:
        step = row.step_seconds
        table.add_row(
            str(row.batch_size),
            f"{step.value * 1e3:.3g}",
            f"{step.low * 1e3:.3g}-{step.high * 1e3:.3g}",
            f"{row.examples_per_second:,.0f}",
            f"{row.epoch_seconds:.3g}",
            f"{row.epoch_seconds / least:.2f}",
            "" if math.isnan(row.over_law) else f"{row.over_law:+.1%}",
            f"{row.flops_per_second / 1e9:.3g}",
            f"{row.flops_per_second / series.peak_flops:.1%}",
            "" if math.isnan(row.peak_bytes) else f"{row.peak_bytes / 2**20:,.0f}",
            style="bold" if row.epoch_seconds == least else None,
        )
    for size, why in sorted(series.failed.items()):
        table.add_row(str(size), why, *[""] * 8)
    return table


def law_in_words(series: Series) -> list[str]:
    """The fitted law of one variant, a line or two; where there is none, why."""
    return step_time_in_words(series.label, series.law)


def step_time_in_words(label: str, law: StepTime | None) -> list[str]:
    """The law, its range, and what lies beyond.

    Args:
        label: of what was timed; may be empty.
        law: None where there is none.
    """
    prefix = f"{label}: " if label else ""
    if law is None:
        return [f"{prefix}no law, it needs two batch sizes that could be timed"]
    fit = "" if math.isnan(law.r_squared) else f", R² {law.r_squared:.4f}"
    lines = [
        f"{prefix}t(B) = α + β·B from B = {law.smallest} to {law.largest}{fit}, within {law.worst:.1%}",
        f"  α {format_interval(law.alpha_seconds, 1e3)} ms per step, "
        f"β {format_interval(law.beta_seconds, 1e6)} µs per example, "
        f"half speed at B = α/β = {format_interval(law.half_speed, 1)}",
    ]
    if law.beyond:
        sizes = ", ".join(f"{size} ({ratio - 1:+.0%})" for size, ratio in law.beyond)
        lines.append(
            f"  beyond the law, slower than it says: {sizes}; left out of α and β (caches or memory end there)"
        )
    return lines


def draw_ratios(first: Series, second: Series) -> Table:
    """Two variants side by side, with the ratio of their times, as in the table of the 2017 post on a 6x64 network."""
    table = Table(
        "B",
        f"{first.label}: epoch s",
        f"{second.label}: epoch s",
        f"{first.label} / {second.label}",
        title="side by side",
    )
    for column in table.columns:
        column.justify = "right"
    others = {row.batch_size: row for row in second.rows}
    for row in first.rows:
        if (other := others.get(row.batch_size)) is not None:
            ratio = row.epoch_seconds / other.epoch_seconds
            table.add_row(str(row.batch_size), f"{row.epoch_seconds:.3g}", f"{other.epoch_seconds:.3g}", f"{ratio:.2f}")
    return table


def crossing_in_words(first: Series, second: Series) -> str:
    """At which batch size two variants take the same time, by their laws and by the table itself."""
    shared = sorted({row.batch_size for row in first.rows} & {row.batch_size for row in second.rows})
    times = [
        np.array([row.step_seconds.value for row in each.rows if row.batch_size in shared]) for each in (first, second)
    ]
    found = crossing_of_table(shared, *times)
    by_table = f"B = {found:.0f}" if not math.isnan(found) else "nowhere"
    by_law = "no law"
    if first.law and second.law:
        at = crossing(first.law, second.law)
        by_law = f"B = {format_interval(at, 1)}" if not math.isnan(at.value) else "nowhere"
    return f"{first.label} and {second.label} take the same time at: by the laws {by_law}; by the table {by_table}"


def draw_verdicts(series: Series, margin: float) -> Table:
    """Every size against the line through its neighbours."""
    title = f"{series.label}: is a size out of line with those within ±10 %? equal means within ±{margin:.0%}"
    table = Table("B", "kind", "off its line", "90 %", "p equal", "p different", "verdict", title=title)
    for verdict in series.verdicts:
        low, high = verdict.residual.low, verdict.residual.high
        table.add_row(
            str(verdict.batch_size),
            kind_of(verdict.batch_size),
            f"{verdict.residual.value:+.2%}",
            f"{low:+.2%} to {high:+.2%}",
            f"{verdict.p_equal:.3f}",
            f"{verdict.p_different:.3f}",
            verdict.in_words,
            style="bold" if verdict.said == "different" else None,
        )
    return table


def kind_of(size: int) -> str:
    """``power of 2``, ``multiple of 8`` or nothing."""
    if size & (size - 1) == 0:
        return "power of 2"
    return "multiple of 8" if size % 8 == 0 else ""


def verdicts_in_words(series: Series) -> str:
    """How many sizes of each kind are equal, different, or undecided."""
    said = []
    for kind in ("power of 2", "multiple of 8", ""):
        verdicts = [verdict.said for verdict in series.verdicts if kind_of(verdict.batch_size) == kind]
        counts = {word: verdicts.count(word) for word in ("equal", "different", "not enough data")}
        if verdicts:
            parts = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
            said.append(f"{kind or 'other sizes'}: {parts}")
    return f"{series.label}: {'; '.join(said)} (Holm-corrected over {len(series.verdicts)} sizes)"


def records_of(series: Series) -> list[dict[str, Any]]:
    """Flat records: every median and the law."""
    records = [
        _record(f"{series.label} B={row.batch_size} step", "s", row.step_seconds, row.num_blocks) for row in series.rows
    ]
    if series.law is not None:
        count = series.rows[0].num_blocks
        records.append(_record(f"{series.label} alpha", "s", series.law.alpha_seconds, count))
        records.append(_record(f"{series.label} beta", "s/example", series.law.beta_seconds, count))
        records.append(_record(f"{series.label} half-speed batch size", "examples", series.law.half_speed, count))
    return records


def _record(what: str, unit: str, estimate: Estimate, count: int) -> dict[str, Any]:
    return {
        "what": what, "unit": unit, "median": estimate.value, "low": estimate.low, "high": estimate.high, "n": count,
    }  # fmt: skip

"""What several processes that share every batch gain over one: throughput by batch size, from paired blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from batchlab.laws.estimate import Estimate, median_of
from batchlab.report.comparison import format_interval


@dataclass(frozen=True)
class Scaling:
    """One batch size.

    Attributes:
        batch_size: examples per step, over all processes.
        num_processes: that share it.
        speed_up: throughput over that of one process; below 1 = slower.
        num_blocks: n.
    """

    batch_size: int
    num_processes: int
    speed_up: Estimate
    num_blocks: int


def scaling_rows(
    batch_sizes: Sequence[int], alone: np.ndarray, shared: np.ndarray, num_processes: int
) -> list[Scaling]:
    """The speed-up at each batch size: median over the blocks of the ratio within a block, with its interval.

    Args:
        batch_sizes: [n].
        alone: [num_blocks, n] seconds per step of one process.
        shared: [num_blocks, n] of all processes together, in the same blocks.
        num_processes: that share each batch.
    """
    ratios = alone / shared
    return [
        Scaling(size, num_processes, median_of(ratios[:, place]), len(ratios)) for place, size in enumerate(batch_sizes)
    ]


def draw_scaling(rows: list[Scaling]) -> Table:
    """The speed-up by batch size, and the share of each process's work that is left of it."""
    num = rows[0].num_processes
    table = Table("B", "examples per process", "speed-up", "95 %", "efficiency", title=f"{num} processes over one")
    for column in table.columns:
        column.justify = "right"
    for row in rows:
        up = row.speed_up
        share, interval = f"{row.batch_size / num:.4g}", f"{up.low:.2f} to {up.high:.2f}"
        table.add_row(str(row.batch_size), share, f"{up.value:.2f}", interval, f"{up.value / num:.0%}")
    return table


def scaling_in_words(rows: list[Scaling]) -> str:
    """From which batch size on the processes are faster than one, and by how much at most."""
    best, num = max(rows, key=lambda row: row.speed_up.value), rows[0].num_processes
    faster = [row.batch_size for row in rows if row.speed_up.low > 1]
    at_most = f"at most {format_interval(best.speed_up, 1)} times one process's throughput, at B = {best.batch_size}"
    if not faster:
        return f"{num} processes are faster than one at none of these batch sizes: {at_most}."
    return f"{num} processes are faster than one at B = {', '.join(map(str, faster))}: {at_most}."


def scaling_records(rows: list[Scaling]) -> list[dict[str, Any]]:
    """Flat records of the speed-ups."""
    return [
        {
            "what": f"{row.num_processes} processes over one, B={row.batch_size}",
            "unit": "times the throughput",
            "median": row.speed_up.value,
            "low": row.speed_up.low,
            "high": row.speed_up.high,
            "n": row.num_blocks,
        }
        for row in rows
    ]

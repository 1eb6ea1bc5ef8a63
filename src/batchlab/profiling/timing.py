"""Time steps in randomised complete blocks: every block times every cell once, in a shuffled order."""

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from batchlab.laws.estimate import Estimate
from batchlab.laws.line import Array
from batchlab.system.device_memory import is_out_of_memory, peak_bytes, reset_peak
from batchlab.training.build import Built, has_programs, is_graphed, use_settings
from batchlab.training.gradient import whole_gradient
from batchlab.training.plan import part_sizes

VISIT_SECONDS = 0.015
"""A visit lasts about so long, at least one step. What a busy host does to a step lasts longer, so more visits are
worth more than longer ones: standard deviation .15 of a visit of .06 s, .17 of one of .015 s, on two shared cores."""
MIN_BLOCKS = 5
"""Fewer complete blocks say nothing."""
ClockName = Literal["wall", "process", "cuda events"]


@dataclass(frozen=True)
class Cell:
    """One thing that is timed."""

    built: Built  # model, data and optimizer on their device, shared by the cells of one variant
    batch_size: int  # examples per step
    mode: Literal["train", "inference"] = "train"  # train (forward, backward, optimizer step) or inference (forward)
    # at least batch_size examples that stay on the device, of which each step takes the first; None = the run's own
    # stream of examples, with its loader
    batch: tuple[Tensor, Tensor] | None = None
    micro_batch_size: int | None = None  # most examples of a part, or None


@dataclass(frozen=True)
class Timings:
    """What the blocks said."""

    seconds: Array  # [num_blocks, num_cells] seconds per step
    peak_bytes: Array  # [num_cells] peak memory of the cell's first steps; NaN where the system does not say
    drift: Estimate  # change of the log time from the first block to the last, over all cells
    load: tuple[float, float]  # load average before and after
    clock: Mapping[str, ClockName]  # what was read
    num_threads: int  # of torch on a CPU
    failed: dict[int, str] = field(default_factory=dict)  # place of a cell -> why it could not be timed


def time_cells(
    cells: Sequence[Cell],
    num_blocks: int,
    budget_seconds: float,
    clock: Literal["wall", "process"] = "wall",
    tell: Callable[[float], None] = lambda _share: None,
    min_steps: int = 1,
) -> Timings:
    """Time every cell once per block until the blocks or the budget are used up.

    Args:
        cells: what to time.
        num_blocks: at most.
        budget_seconds: of the blocks; one that would end after it is not begun. Cells whose warm-up does not fit into
            half as long, the largest batches, are not timed.
        clock: on a CPU: wall clock, or the process's own time, which a busy neighbour does not stretch.
        tell: is given the share that is done, in [0, 1], after each visit.
        min_steps: of a visit; more than one where steps differ by their number.

    Returns:
        The timings; fewer blocks than asked for where the budget was used up, none where not one fitted.
    """
    before, steps, failed, peaks = _load(), {}, {}, np.full(len(cells), math.nan)
    warm_until = time.perf_counter() + budget_seconds / 2  # three steps each; then five blocks fit into the budget
    for place in sorted(range(len(cells)), key=lambda each: cells[each].batch_size):
        if time.perf_counter() > warm_until:
            failed[place] = "not in budget_seconds"
            continue
        try:
            warm_until += _compile(cells[place])
            once, peaks[place] = _warm_up(cells[place], clock)
            steps[place] = max(min_steps, math.ceil(VISIT_SECONDS / once))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            failed[place] = "out of memory"
        tell(0.0)
    rows, ends, shuffle, started = [], [], random.Random(0), time.perf_counter()
    while len(rows) < num_blocks:
        spent = time.perf_counter() - started
        if not steps or spent + spent / max(1, len(rows)) > budget_seconds:
            break
        row = np.full(len(cells), math.nan)
        for place in shuffle.sample(sorted(steps), len(steps)):
            row[place] = _visit(cells[place], steps[place], clock)
            tell(min(1.0, max(len(rows) / num_blocks, (time.perf_counter() - started) / budget_seconds)))
        rows.append(row)
        ends.append(time.perf_counter() - started)
    seconds = np.array(rows).reshape(len(rows), len(cells))
    devices = {cell.built.device.type for cell in cells}
    clocks: dict[str, ClockName] = {each: "cuda events" if each == "cuda" else clock for each in devices}
    return Timings(
        seconds, peaks, drift_of(seconds, np.array(ends)), (before, _load()), clocks, torch.get_num_threads(), failed
    )


def drift_of(seconds: Array, ends: Array) -> Estimate:
    """Estimate the change of the mean log time from the first block to the last, with its 95 % t interval.

    NaN for fewer than five blocks. `seconds` is [num_blocks, num_cells], NaN where a cell failed; each block ended
    at `ends` [num_blocks], seconds since the start.
    """
    if len(seconds) < MIN_BLOCKS:
        return Estimate(math.nan, math.nan, math.nan)
    level = np.nanmean(np.log(seconds), axis=1)
    at = (ends - ends.mean()) / (ends[-1] - ends[0])
    slope = float(at @ level / (at @ at))
    left = level - level.mean() - slope * at
    error = math.sqrt(left @ left / (len(ends) - 2) / (at @ at))
    half = float(stats.t.ppf(0.975, len(ends) - 2)) * error
    return Estimate(slope, slope - half, slope + half)


def stepper(cell: Cell) -> Callable[[int], None]:
    """Return a function that makes the cell's steps: number of steps -> nothing."""
    train_step, sizes = cell.built.train_step, part_sizes(cell.batch_size, cell.micro_batch_size)
    source = cell.built.stream if cell.batch is None else Resident(*cell.batch)
    start = 0

    def gradient() -> Tensor:
        return whole_gradient(train_step, source, start, cell.batch_size, cell.micro_batch_size)

    def step() -> None:
        nonlocal start
        if train_step.ranks is not None:
            train_step.ranks.announce(start, cell.batch_size, 1.0)
        train_step.step(gradient)
        start += cell.batch_size

    def forward() -> None:
        nonlocal start
        for size in sizes:
            train_step.forward(source.take(start, size)[0])
            start += size

    def run(num_steps: int) -> None:
        if cell.built.device.type == "cuda":
            torch.cuda.set_device(cell.built.device.index or 0)
        train_step.model.train(cell.mode == "train")
        use_settings(cell.built.config)
        with torch.set_grad_enabled(cell.mode == "train"):
            for _ in range(num_steps):
                step() if cell.mode == "train" else forward()

    return run


class Resident:
    """Examples that lie on the device; every step takes the same ones, so that nothing but the step is timed."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self._inputs, self._targets = inputs, targets

    def take(self, _start: int, count: int) -> tuple[Tensor, Tensor]:
        """Return the first `count` examples, wherever the stream stands."""
        return self._inputs[:count], self._targets[:count]


def _compile(cell: Cell) -> float:
    """Compile a cell's program, where it has one; returns the seconds, which count to no budget."""
    started = time.perf_counter()
    reset_peak(cell.built.device)
    if has_programs(cell.built.config, cell.built.device):
        stepper(cell)(1)
    return time.perf_counter() - started


def _warm_up(cell: Cell, clock: Literal["wall", "process"]) -> tuple[float, float]:
    """Time a step after two that are thrown away; returns its seconds and their peak memory."""
    if not is_graphed(cell.built.config, cell.built.device):  # whose replays allocate nothing
        reset_peak(cell.built.device)
    run = stepper(cell)
    run(2)  # the second is the first whose gradients and optimizer state exist
    return max(_timed(cell, run, 1, clock), 1e-7), peak_bytes(cell.built.device)


def _visit(cell: Cell, num_steps: int, clock: Literal["wall", "process"]) -> float:
    run = stepper(cell)
    run(1)  # caches and allocator belong to the cell before
    return _timed(cell, run, num_steps, clock)


def _timed(cell: Cell, run: Callable[[int], None], num_steps: int, clock: Literal["wall", "process"]) -> float:
    if cell.built.device.type == "cuda":
        torch.cuda.set_device(cell.built.device.index or 0)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run(num_steps)
        end.record()
        torch.cuda.synchronize(cell.built.device)
        return start.elapsed_time(end) / 1e3 / num_steps
    if cell.built.device.type == "mps":
        torch.mps.synchronize()
    read = time.process_time if clock == "process" else time.perf_counter
    started = read()
    run(num_steps)
    if cell.built.device.type == "mps":
        torch.mps.synchronize()
    return (read() - started) / num_steps


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan

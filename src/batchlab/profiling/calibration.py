"""Measure the seconds of a step that has the host alone, for runs that share the host.

The law t(B) = alpha + beta*B (in k parts alpha_0 + k*alpha + beta*B) is measured once for each kind of step, while no
training of ours runs on the host, and kept in the table of step times.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial

from batchlab.config.identity import environment, load_average
from batchlab.config.objectives import CALIBRATED
from batchlab.config.registration import shares_host
from batchlab.config.schema import Config
from batchlab.config.traits import OptimizerTraits, declared
from batchlab.laws.step_cost import StepCost, Timed, extended, fit_step_cost
from batchlab.models.norm import pass_sizes
from batchlab.profiling.step_table import NAME, StepTimes, read_entry, untimed, write_entry
from batchlab.profiling.timing import Cell, time_cells
from batchlab.system.host_lock import host_alone
from batchlab.tasks.objectives import name_of
from batchlab.training.build import build_run, lock_names, pick_device
from batchlab.training.plan import ResolvedRun, part_sizes

SMALLEST, LEAST_TOP = 8, 64
"""Timed are 8, 16, 32, 64 and on, up to the first power of two that is no smaller than the run's largest batch."""
NUM_BLOCKS, BUDGET_SECONDS = 20, 6.0
"""Each block times every size once; sizes whose warm-up takes more than half of the seconds are left to the law."""


def counts_alone(config: Config) -> bool:
    """Tell whether a run's clock counts step times that were measured alone, instead of what it measures.

    Where its study optimises these seconds, and where trials that share the host are ended by seconds or judged by the
    seconds to a target. An optimizer of several passes has no step time: they are as many as it needs; and what a step
    takes that several processes share is not measured.
    """
    if config.num_processes > 1 or declared(OptimizerTraits, config.optimizer).multi_pass:
        return False
    is_optimised = CALIBRATED in (name_of(each) for each in config.objectives)
    return is_optimised or (config.budget.kind in ("seconds", "target") and shares_host())


def step_seconds(run: ResolvedRun) -> tuple[Callable[[int], float] | None, str]:
    """Return seconds of a step by batch size, as measured alone on this kind of host: from the table, or measured now.

    Where it has to be measured, our other trainings on this host stand meanwhile; to be called while this process holds
    no place among them; micro_batch_size=auto is settled.

    Returns:
        A function, batch size -> seconds, None where nothing could be timed; and where its numbers are from.
    """
    sizes, micro, mlruns = run.batch_sizes, run.plan.micro_batch_size, run.config.mlruns
    entry = read_entry(mlruns, untimed(run))
    if entry.missing(wanted := sizes_to_time(max(sizes), run.plan.num_train, micro)):
        with host_alone(*lock_names(pick_device(run.config.device))) as is_alone:
            entry = read_entry(mlruns, entry)  # another process may have measured while this one waited
            if missing := entry.missing(wanted):
                entry = time_steps(run, entry, missing, is_alone)
                write_entry(mlruns, entry)
    cost = entry.cost
    if cost is None or any(cost.seconds(size, len(part_sizes(size, micro))) is None for size in sizes):
        return None, f"{entry.key}: nothing could be timed: {', '.join(sorted(set(entry.failed.values())))}"

    return cache(partial(_seconds, cost, micro)), said(entry)


def _seconds(cost: StepCost, micro_batch_size: int | None, batch_size: int) -> float:
    found = cost.seconds(batch_size, len(part_sizes(batch_size, micro_batch_size)))
    assert found is not None
    return found


def said(entry: StepTimes) -> str:
    """Return an entry in one line: its key, its law, when it was measured."""
    line = ""
    if entry.cost is not None and entry.cost.alpha_seconds and entry.cost.beta_seconds:
        alpha, beta = entry.cost.alpha_seconds, entry.cost.beta_seconds
        line = f"{alpha.value * 1e3:.4g} ms + {beta.value * 1e6:.4g} us per example, "
        line += f"at least {floor.value * 1e3:.4g} ms, " if (floor := entry.cost.floor_seconds) else ""
    beside = "" if entry.measured["is_alone"] else " beside others: no lock could be made"
    return f"{NAME} {entry.key}: {line}measured {entry.measured['date']}{beside}"


def sizes_to_time(largest: int, num_train: int, micro_batch_size: int | None = None) -> list[int]:
    """Return the batch sizes from which a run's step times follow, given its largest batch.

    Up to m = micro_batch_size they are steps in one part; where the run has larger ones, a little more than m, 2m and
    4m are timed as well.
    """
    sizes = [SMALLEST]
    while sizes[-1] < max(largest, LEAST_TOP):
        sizes.append(2 * sizes[-1])
    most = num_train if micro_batch_size is None else min(num_train, micro_batch_size)
    found = {min(size, most) for size in sizes}
    if micro_batch_size is not None and largest > micro_batch_size:
        found |= {min(largest, size) for size in (micro_batch_size + 1, 2 * micro_batch_size, 4 * micro_batch_size)}
    return sorted(found)


def time_steps(run: ResolvedRun, entry: StepTimes, batch_sizes: list[int], is_alone: bool) -> StepTimes:
    """Return the entry with these sizes timed, too; what was timed before stays as it is, and so does its cost.

    The largest of them is timed again beside the new ones, see `extended`. `is_alone` tells whether no training of ours
    runs on this host meanwhile.
    """
    started, built = time.perf_counter(), build_run(run, run.config.seed)
    micro, failed = built.plan.micro_batch_size, dict(entry.failed)
    least, unit = pass_sizes(built.train_step.model)
    unfit = {
        size: "a size that the model's norm does not take"
        for size in batch_sizes
        if any(part < least or part % unit for part in part_sizes(size, micro))
    }
    known = [each.batch_size for each in entry.timed if each.num_parts == 1]
    sizes = [*([max(known)] if known else []), *(size for size in batch_sizes if size not in unfit)]
    cells = [Cell(built, size, micro_batch_size=micro) for size in sizes]
    # an optimizer that does more at every tenth step is timed over ten
    at_least = int(run.config.optimizer.get("precondition_frequency") or 1)
    timings = time_cells(cells, NUM_BLOCKS, BUDGET_SECONDS, min_steps=at_least)
    failed |= unfit | {sizes[place]: why for place, why in timings.failed.items()}
    timed = [
        Timed(size, len(part_sizes(size, micro)), timings.seconds[:, place].tolist())
        for place, size in enumerate(sizes)
        if place not in timings.failed
    ]
    cost = fit_step_cost(timed) if entry.cost is None else extended(entry.cost, entry.timed, timed)
    everything = (*entry.timed, *(each for each in timed if each.batch_size not in known))
    facts = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": environment()["commit"]}
    facts |= {"load_average": load_average(), "is_alone": is_alone, "seconds": time.perf_counter() - started}
    return replace(entry, timed=everything, failed=failed, cost=cost, measured=facts)

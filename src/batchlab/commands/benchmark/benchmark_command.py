"""`batchlab benchmark`: times, fits, writes and shows."""

import json
import math
import sys
from pathlib import Path
from typing import Any

from batchlab.commands.benchmark.benchmark_rules import check, check_batches
from batchlab.commands.command_line import Request
from batchlab.config.command_keys import Benchmark
from batchlab.laws.equivalence import MARGIN, MIN_NEIGHBOURS, WINDOW
from batchlab.profiling.flops import flops_per_example, matmul_peak
from batchlab.profiling.step_time_benchmark import (
    Variant,
    VariantTimes,
    model_name,
    sharing,
    time_variants,
    variants_of,
)
from batchlab.profiling.timing import MIN_BLOCKS, Timings
from batchlab.report.step_time_figure import write_figure
from batchlab.report.step_time_table import (
    Scaling,
    Series,
    crossing_in_words,
    draw_ratios,
    draw_scaling,
    draw_sizes,
    draw_verdicts,
    records_of,
    scaling_in_words,
    scaling_of,
    scaling_records,
    size_rows,
    step_time_in_words,
    verdicts_in_words,
)
from batchlab.system.progress import Bar, make_console
from batchlab.tracking.finished_runs import record_study
from batchlab.tracking.stores import report_folder
from batchlab.training.build import device_name, num_programs, use_settings

CHECKS = (check, check_batches)


def series_of(measured: VariantTimes) -> Series:
    """Return what was measured of a variant, with its arithmetic."""
    variant, built = measured.variant, measured.variant.built
    flops, num_train = flops_per_example(built, variant.mode), len(built.dataset.train)
    use_settings(built.config)
    peak = matmul_peak(built.device, built.config.precision)
    rows, num_blocks = (
        size_rows(measured.batch_sizes, measured.seconds, measured.peak_bytes, num_train),
        len(measured.seconds),
    )
    return Series(
        variant.label, rows, num_blocks, measured.law, measured.verdicts, measured.failed, flops, peak, num_train
    )


def show(what: str, series: list[Series], timings: Timings, keys: Benchmark) -> None:
    """Print every variant's table, law and verdicts, then the variants side by side."""
    console = make_console()
    console.print(what)
    for each in series:
        console.print(draw_sizes(each))
        for line in step_time_in_words(each.label, each.law):
            console.print(line)
        console.print(f"  {each.flops_per_example:.3g} FLOP per example; peak {each.peak_flops / 1e9:.4g} GFLOP/s")
        if close := unjudged(each):
            console.print(close)
        if each.verdicts:
            console.print(draw_verdicts(each, MARGIN))
            console.print(verdicts_in_words(each))
    for other in series[1:]:
        console.print(draw_ratios(series[0], other))
        console.print(crossing_in_words(series[0], other))
    for line in caveats(timings, keys):
        console.print(line)


def facts_of(variants: list[Variant]) -> str:
    """Name model, data and device, whatever the tables call the variants, and how many programs were compiled."""
    models = dict.fromkeys(model_name(each.built.config) for each in variants)
    built = variants[0].built
    devices = dict.fromkeys(device_name(each.built.device) for each in variants)
    compiled = (
        f"; {num_programs()} compiled programs" if any(each.built.config.compile is True for each in variants) else ""
    )
    return (
        f"{', '.join(models)} on {built.dataset.name} {list(built.dataset.input_shape)}, {', '.join(devices)}{compiled}"
    )


def unjudged(series: Series) -> str:
    """List the sizes that have neighbours within 10 %, but too few to be judged."""
    sizes, judged = [row.batch_size for row in series.rows], {verdict.batch_size for verdict in series.verdicts}
    near = [a for a in sizes if a not in judged and any(a != b and abs(b / a - 1) <= WINDOW for b in sizes)]
    if not near:
        return ""
    return f"  not judged, fewer than {MIN_NEIGHBOURS} neighbours within ±10 %: {', '.join(map(str, near))}"


def caveats(timings: Timings, keys: Benchmark) -> list[str]:
    """Say how it was measured, and what a reader should know of it."""
    clocks = ", ".join(f"{device}: {clock}" for device, clock in sorted(timings.clock.items()))
    count, drift = len(timings.seconds), timings.drift
    is_seen = drift.low > 0 or drift.high < 0
    drifted = f"times drifted by {drift.value:+.1%} over the blocks" if is_seen else "no drift to be seen"
    lines = [
        f"Clock {clocks}; {timings.num_threads} thread{'s' if timings.num_threads > 1 else ''}; {count} blocks; "
        f"load average {timings.load[0]:.2f} before, {timings.load[1]:.2f} after; {drifted}"
    ]
    if count < keys.num_blocks:
        lines.append(f"{count} of {keys.num_blocks} blocks fitted into budget_seconds={keys.budget_seconds:g}.")
    return lines


def write(request: Request, what: str, series: list[Series], records: list[dict[str, Any]]) -> Path:
    """Write the page, the numbers, and a run to MLflow; returns the page."""
    config = request.configs[0]
    page = report_folder(config.mlruns, config.study) / "step_time.html"
    write_figure(series, config.study, what, page)
    curves, finals = {}, {}
    for each in series:
        steps = [(row.batch_size, row.step_seconds.value) for row in each.rows]
        curves[f"step_time/step_seconds/{each.label}"] = steps
        for name in ("epoch_seconds", "examples_per_second", "peak_bytes"):
            curves[f"step_time/{name}/{each.label}"] = [(row.batch_size, getattr(row, name)) for row in each.rows]
        for name, estimate in each.law.estimates().items() if each.law else ():
            finals[f"step_time/{name}/{each.label}"] = estimate.value
    record_study(config, "benchmark", vars(request.keys), finals, curves, "step_time", records)
    return page


def run(request: Request) -> int:
    """Time, fit, write and show; returns the exit code."""
    console, is_text = make_console(), request.keys.output == "text"
    with (
        Bar(console, "warm-up and blocks", 1.0, is_hidden=not is_text) as bar,
        sharing(variants_of(request.keys, request.configs)) as variants,
    ):
        timings, measured = time_variants(request.keys, variants, lambda share: bar.update(completed=share))
    if len(timings.seconds) < MIN_BLOCKS:
        print(too_few(timings, request.keys), file=sys.stderr)
        return 1
    series = [series_of(each) for each in measured if each.batch_sizes]
    scaling = scaling_between(measured)
    records = [record for each in series for record in records_of(each)]
    records += scaling_records(scaling) if scaling else []
    what = facts_of(variants)
    page = write(request, what, series, records)
    if is_text:
        show(what, series, timings, request.keys)
        if scaling:
            console.print(draw_scaling(scaling))
            console.print(scaling_in_words(scaling))
        console.print(f"Written to {page}; recorded in MLflow under {request.configs[0].study}.")
    else:
        print(json.dumps(records, indent=1))
    return 0


def scaling_between(measured: list[VariantTimes]) -> Scaling | None:
    """Compare the processes with one, at the sizes that both could do; None where there is one process."""
    alone, together = measured[0], measured[-1]
    num = together.variant.built.config.num_processes
    sizes = [size for size in alone.batch_sizes if size in together.batch_sizes]
    if num == 1 or not sizes:
        return None
    one, many = (each.seconds[:, [each.batch_sizes.index(size) for size in sizes]] for each in (alone, together))
    return scaling_of(sizes, one, many, num)


def too_few(timings: Timings, keys: Benchmark) -> str:
    """Say what could be measured in the budget, and what would do."""
    if len(timings.failed) == timings.seconds.shape[1]:
        return f"No batch size could be timed: {', '.join(sorted(set(timings.failed.values())))}."
    done = len(timings.seconds)
    needed = keys.budget_seconds * MIN_BLOCKS / max(done, 1)
    advice = f"budget_seconds={math.ceil(needed * 1.2 if done else keys.budget_seconds * 10)}"
    return (
        f"{done} of {MIN_BLOCKS} blocks fitted into budget_seconds={keys.budget_seconds:g}; nothing was written. "
        f"Type {advice}, or fewer or smaller batch_sizes"
    )

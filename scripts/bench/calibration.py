"""Twelve configurations searched with one worker and with two: what their seconds say, measured and as if alone.

    python scripts/bench/calibration.py [repeats=6] [epochs=12] [file=mlruns/bench/calibration.jsonl]

A grid of two widths of a small network and six batch sizes on data=digits, one thread each, every search in a folder of
its own, so that it measures its step times itself: with two workers under the lock of the host. Intervals are 95 % t
intervals over the repeats. Two configurations are told apart where their intervals of the searches with one worker are
disjoint; counted is how many such pairs the searches with two workers rank the other way round, by their means and in
each search by itself. A file of searches that is there is gone on with.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from batchlab.config.objectives import CALIBRATED, MEASURED
from batchlab.config.schema import REPOSITORY
from batchlab.laws.estimate import Estimate, mean_of
from batchlab.report.comparison import format_estimate
from batchlab.report.panel import ends
from batchlab.report.result_files import write_results
from batchlab.system.progress import make_console
from batchlab.tracking.study_reader import study_runs

SIZES, WIDTHS = (16, 32, 64, 128, 256, 512), (64, 384)
CONFIGS = list(itertools.product(WIDTHS, SIZES))
STUDY = "calibration"
SAID = {MEASURED: "measured", CALIBRATED: "as if alone"}
Seconds = dict[tuple[str, int], np.ndarray]
"""(metric, number of workers) -> [num_repeats, num_configs]."""


def search(num_workers: int, epochs: int, folder: Path) -> dict[str, list[float]]:
    """One search over the grid; metric -> seconds of each configuration."""
    sizes, widths = (",".join(map(str, values)) for values in (SIZES, WIDTHS))
    typed = ["-m", "hydra/sweeper=batchlab", f"study={STUDY}", f"epochs={epochs}", "measure=none", "num_threads=1"]
    typed += [f"batch_size={sizes}", f"model.width={widths}", "hydra/sweeper/sampler=grid", "hydra.sweeper.prune=false"]
    typed += [f"hydra.sweeper.n_trials={len(CONFIGS)}", f"hydra.sweeper.num_workers={num_workers}"]
    typed += [f"objectives=[{CALIBRATED},final/val_accuracy]"]
    environment = os.environ | {"BATCHLAB_MLRUNS": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(REPOSITORY / "train.py"), *typed]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    runs = {
        (int(run["params"]["model.width"]), int(run["params"]["batch_size"])): run["metrics"]
        for run in study_runs(str(folder), STUDY)
        if "pick" not in run["tags"]
    }
    return {metric: [runs[config][metric] for config in CONFIGS] for metric in (MEASURED, CALIBRATED)}


def searches(repeats: int, epochs: int, path: Path) -> Seconds:
    """Searches with one worker and with two in turn; those that the file has are not made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in path.open()] if path.exists() else []
    for repeat, num_workers in itertools.product(range(repeats), (1, 2)):
        if [repeat, num_workers, epochs] not in [each["search"] for each in done]:
            with tempfile.TemporaryDirectory() as folder:
                values = search(num_workers, epochs, Path(folder))
            done.append({"search": [repeat, num_workers, epochs], "seconds": values})
            with path.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
    found: dict[tuple[str, int], list[list[float]]] = {}
    for each in (each for each in done if each["search"][2] == epochs):
        for metric, seconds in each["seconds"].items():
            found.setdefault((metric, each["search"][1]), []).append(seconds)
    return {key: np.array(rows) for key, rows in found.items()}


def pairs_apart(estimates: Sequence[Estimate]) -> list[tuple[int, int]]:
    """Places of two configurations with disjoint intervals, the faster one first."""
    spans = [ends(each) for each in estimates]
    return [(a, b) for a, b in itertools.permutations(range(len(spans)), 2) if spans[a][1] < spans[b][0]]


def turned(pairs: Sequence[tuple[int, int]], seconds: np.ndarray) -> float:
    """Share of the pairs that [num_configs] seconds rank the other way round."""
    return float(np.mean([seconds[a] >= seconds[b] for a, b in pairs]))


def judged(found: Seconds) -> tuple[Table, list[dict[str, object]]]:
    """Pairs that one worker tells apart, and what two workers make of them."""
    table = Table("2 workers' seconds", "told apart by 1 worker's", "pairs", "ranked otherwise by the means",
                  "in a search, mean", "in a search, most", title="ranks")  # fmt: skip
    records: list[dict[str, object]] = []
    for metric, reference in itertools.product((CALIBRATED, MEASURED), repeat=2):
        pairs = pairs_apart([mean_of(column.tolist()) for column in found[reference, 1].T])
        by_mean = turned(pairs, found[metric, 2].mean(axis=0))
        alone = sorted(turned(pairs, row) for row in found[metric, 2])
        cells = (f"{by_mean:.1%}", f"{np.mean(alone):.1%}", f"{alone[-1]:.1%}")
        table.add_row(SAID[metric], SAID[reference], str(len(pairs)), *cells)
        what = (
            f"pairs that 1 worker's seconds {SAID[reference]} tell apart, ranked otherwise by 2 workers' {SAID[metric]}"
        )
        records.append({"what": f"{what}, by the means", "unit": "share", "median": by_mean, "low": None,
                        "high": None, "n": len(pairs)})  # fmt: skip
        records.append({"what": f"{what}, in one search", "unit": "share", "median": float(np.median(alone)),
                        "low": alone[0], "high": alone[-1], "n": len(alone)})  # fmt: skip
    return table, records


def listed(found: Seconds) -> tuple[Table, list[dict[str, object]]]:
    """Seconds of each configuration, and what they are to those that one worker measured."""
    columns = [(MEASURED, 1), (CALIBRATED, 1), (MEASURED, 2), (CALIBRATED, 2)]
    names = [f"{SAID[metric]}, {num} worker{'s' if num > 1 else ''}" for metric, num in columns]
    table = Table("width", "batch size", *names, title="seconds of a training")
    records: list[dict[str, object]] = []
    for place, (width, size) in enumerate(CONFIGS):
        values = [mean_of(found[column][:, place].tolist()) for column in columns]
        table.add_row(str(width), str(size), *(format_estimate(each, 3) for each in values))
        for name, each in zip(names, values, strict=True):
            low, high = ends(each)
            records.append({"what": f"{name}, mean: width {width}, batch size {size}", "unit": "s",
                            "median": each.value, "low": low, "high": high, "n": each.n})  # fmt: skip
    ratios = [found[column].mean(axis=0) / found[MEASURED, 1].mean(axis=0) for column in columns]
    table.add_section()
    table.add_row(
        "", "over the first", *(f"{np.median(each):.2f} ({each.min():.2f}-{each.max():.2f})" for each in ratios)
    )
    for name, each in zip(names, ratios, strict=True):
        records.append({"what": f"{name}, over measured, 1 worker", "unit": "ratio",
                        "median": float(np.median(each)), "low": float(each.min()), "high": float(each.max()),
                        "n": len(CONFIGS)})  # fmt: skip
    return table, records


def main() -> None:
    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    path = Path(typed.get("file", REPOSITORY / "mlruns" / "bench" / "calibration.jsonl"))
    found = searches(int(typed.get("repeats", 6)), int(typed.get("epochs", 12)), path)
    (first, records), (second, more) = listed(found), judged(found)
    whole = Table.grid()
    whole.add_row(first)
    whole.add_row("")
    whole.add_row(second)
    make_console().print(whole)
    if typed.get("write", "true") == "true":
        write_results("calibration", __doc__ or "", whole, records + more)


if __name__ == "__main__":
    main()

"""Seconds in which the page of a large study is made, and in which a browser has it open.

    python scripts/bench/report.py [runs=5000] [repeats=3]

A study is made up in a temporary store: batch size x lr x epochs, three seeds each, with the settings, finals, curves
and tags of a real run, values by the laws with noise, every fiftieth configuration diverged. Rendering is
reading the records, making page, summary and figures for papers (PNG and SVG), and laying them beside the runs; the
command is `scripts/report.py` as a person types it, start of Python and import of MLflow included. The page is opened
from disk in Chromium, headless and without a GPU: the answer is there at the first paint with content, the page is open
when the figures in view are drawn, and complete when all are. Processor seconds are those of this process in rendering:
what it takes where no neighbour has the cores.
"""

import math
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from playwright.sync_api import Browser, sync_playwright
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[2]
STUDY = "large"
NUM_SEEDS = 3
NUM_EVALS = 10
NUM_TRAIN = 50_000
ALPHA, BETA = 2e-3, 4e-6
"""Seconds of a step, and of an example, of the study that is made up."""
CHROMIUM = "/usr/bin/chromium"
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
GOALS = {"rendering": 10.0, "open": 3.0}
"""Seconds that a study of 5,000 runs may take."""


def settings_of(index: int) -> tuple[int, float, int]:
    """Batch size, lr and epochs of one configuration: powers of two, lr and epochs spread evenly in logarithm."""
    draw = random.Random(index)
    return 2 ** draw.randint(4, 13), 10 ** draw.uniform(-3, 0), round(2 * 20 ** draw.random())


def values_of(index: int, seed: int) -> dict[str, float]:
    """Finals of one run, by the laws of step time and convergence."""
    size, lr, epochs = settings_of(index)
    draw, steps = random.Random(1000 * index + seed), max(1, round(epochs * NUM_TRAIN / size))
    off_lr = math.log10(lr / (0.02 * (size / 128) ** 0.6))
    learned = epochs / (1 + size / 900) * 10 ** (-(off_lr**2))
    accuracy = min(0.999, 0.97 - 0.4 * math.exp(-learned / 2) + draw.gauss(0, 0.004))
    seconds = steps * (ALPHA + BETA * size) * draw.uniform(0.97, 1.05)
    examples = steps * size
    values = {f"final/val_{name}": accuracy for name in ("accuracy", "precision", "recall", "auroc", "auprc")}
    values |= {
        "final/val_loss": 1 - accuracy,
        "final/train_loss": 0.9 - accuracy * 0.9,
        "final/test_accuracy": accuracy,
    }
    values |= {"cost/train_seconds": seconds, "cost/eval_seconds": 0.1, "cost/total_seconds": seconds + 1.0}
    values |= {"cost/num_steps": steps, "cost/num_examples": examples, "cost/examples_per_second": examples / seconds}
    values |= {f"cost/{name}_seconds": 0.01 for name in ("measure", "warmup", "compile")}
    values |= {"cost/peak_memory_bytes": 1e9 + 2e5 * size, "noise/gradient_noise_scale": 50 * 10 ** (2 * accuracy)}
    return values | {"sharpness/lambda_max": 40 / size**0.3, "sharpness/adaptive_sam": 0.1, "sharpness/train_loss": 0.1}


def curves_of(index: int, seed: int) -> list[tuple[str, int, float]]:
    """(metric, step, value) of every evaluation of one run."""
    finals, points = values_of(index, seed), []
    for place in range(1, NUM_EVALS + 1):
        share, step = place / NUM_EVALS, round(finals["cost/num_steps"] * place / NUM_EVALS)
        accuracy = finals["final/val_accuracy"] * (1 - math.exp(-5 * share))
        points += [("val/accuracy", step, accuracy), ("val/loss", step, 1 - accuracy)]
        points += [("progress/epochs", step, settings_of(index)[2] * share)]
        points += [("progress/examples", step, finals["cost/num_examples"] * share)]
        points += [("progress/train_seconds", step, finals["cost/train_seconds"] * share)]
        points += [("noise/gradient_noise_scale", step, finals["noise/gradient_noise_scale"] * share)]
    return points


def make_study(mlruns: Path, num_runs: int) -> None:
    """Fill a store of MLflow with a study; through its tables, since its own API would take minutes."""
    from batchlab.config.identity import environment
    from batchlab.config.registration import register_schema
    from batchlab.config.resolve import flat_params, resolved
    from batchlab.tracking.mlflow_store import open_store

    register_schema()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = resolved(compose("train", [f"study={STUDY}", f"mlruns={mlruns}"]))
    params = {key: str(value) for key, value in flat_params(config).items() if value is not None}
    store = open_store(str(mlruns), STUDY)
    tags = environment() | {"batchlab.role": "run", "data_digest": "0" * 64, "device": "cpu: made up", "threads": "1"}
    tags |= {"mlflow.parentRunId": store.parent_id, "cause": "", "sweep_id": "made-up"}
    with sqlite3.connect(mlruns / "mlflow.db") as database:
        for run in range(num_runs):
            add_run(database, run, str(store.experiment_id), params, tags)


def add_run(
    database: sqlite3.Connection, run: int, experiment: str, params: dict[str, str], tags: dict[str, str]
) -> None:
    """Write one run into MLflow's tables."""
    (index, seed), run_id, began = divmod(run, NUM_SEEDS), f"{run:032x}", 1_700_000_000_000 + 1000 * run
    size, lr, epochs = settings_of(index)
    has_diverged = index % 50 == 49
    params = params | {"batch_size": str(size), "lr": str(lr), "lr_used": str(lr), "epochs": str(epochs)}
    params |= {"seed": str(seed), "num_seeds": str(NUM_SEEDS), "log2_batch_size": str(math.log2(size))}
    tags = tags | {"outcome": "diverged" if has_diverged else "done", "config_key": f"{index:012x}"}
    tags |= {"cause": f"the training loss was nan at step {10 + index}"} if has_diverged else {}
    tags |= {"origin": f"python train.py batch_size={size} lr={lr} epochs={epochs} num_seeds={NUM_SEEDS}"}
    row = {"run_uuid": run_id, "name": f"B{size}", "status": "FINISHED", "start_time": began, "end_time": began + 900}
    row |= {"lifecycle_stage": "active", "experiment_id": experiment, "artifact_uri": "", "user_id": ""}
    row |= {"source_type": "UNKNOWN", "source_name": "", "entry_point_name": "", "source_version": ""}
    _insert(database, "runs", [row])
    _insert(database, "params", [{"run_uuid": run_id, "key": key, "value": value} for key, value in params.items()])
    _insert(database, "tags", [{"run_uuid": run_id, "key": key, "value": value} for key, value in tags.items()])
    curves = curves_of(index, seed)
    finals = [(name, 0, math.nan if has_diverged else value) for name, value in values_of(index, seed).items()]
    latest = {name: (step, value) for name, step, value in [*curves, *finals]}
    points = [_metric(run_id, began, *point) for point in [*curves, *finals]]
    _insert(database, "metrics", points)
    _insert(database, "latest_metrics", [_metric(run_id, began, name, *at) for name, at in latest.items()])


def _metric(run_id: str, began: int, name: str, step: int, value: float) -> dict[str, Any]:
    is_nan = math.isnan(value)
    stored = 0.0 if is_nan else value
    return {"run_uuid": run_id, "key": name, "value": stored, "timestamp": began, "step": step, "is_nan": is_nan}


def _insert(database: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    places = ", ".join("?" * len(names))
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"
    database.executemany(statement, [tuple(row.values()) for row in rows])


def render_seconds(mlruns: Path) -> dict[str, float]:
    """Seconds of rendering in this process, by the wall and by the processor, and of the whole command."""
    from batchlab.report.study_page import write_study_page

    began, worked = time.perf_counter(), time.process_time()
    assert write_study_page(str(mlruns), STUDY) is not None
    seconds = {"rendering": time.perf_counter() - began, "rendering, processor": time.process_time() - worked}
    command = [sys.executable, str(REPOSITORY / "scripts" / "report.py"), f"study={STUDY}", f"mlruns={mlruns}"]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return seconds | {"command": time.perf_counter() - began}


def open_seconds(browser: Browser, page: Path) -> dict[str, float]:
    """Seconds until the answer is painted, the figures in view are drawn, all are; a fresh context, nothing cached."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(
        "new MutationObserver(() => { window.opened ??= document.documentElement.dataset.open && performance.now(); })"
        ".observe(document, { attributes: true, subtree: true, attributeFilter: ['data-open'] })"
    )
    tab = context.new_page()
    began = time.perf_counter()
    tab.goto(page.as_uri(), wait_until="commit")
    tab.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    complete = time.perf_counter() - began
    painted = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
    opened = tab.evaluate("window.opened") / 1000
    context.close()
    return {"answer": painted, "open": opened, "complete": complete}


def main() -> None:
    from batchlab.report.result_files import write_results
    from batchlab.system.progress import make_console

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    num_runs, repeats = int(typed.get("runs", 5000)), int(typed.get("repeats", 3))
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        mlruns = Path(folder)
        make_study(mlruns, num_runs)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = mlruns / "reports" / STUDY / "index.html"
        for _ in range(repeats):
            for name, value in (render_seconds(mlruns) | open_seconds(browser, page)).items():
                seconds.setdefault(name, []).append(value)
        browser.close()
        size = page.stat().st_size / 2**20
    show(num_runs, seconds, size, make_console().print, write_results)


def show(num_runs: int, seconds: dict[str, list[float]], mebibytes: float, tell: Any, write: Any) -> None:
    """Print and write down the medians with their range."""
    table = Table("what", "median s", "least to most", "goal", title=f"{num_runs:,} runs, page of {mebibytes:.1f} MiB")
    records = []
    for name, values in seconds.items():
        median, low, high = statistics.median(values), min(values), max(values)
        goal = f"{GOALS[name]:g}" if name in GOALS and num_runs == 5000 else ""
        table.add_row(name, f"{median:.2f}", f"{low:.2f} to {high:.2f}", goal)
        record = {"what": f"{name}, study of {num_runs} runs", "unit": "s", "median": round(median, 3)}
        records.append(record | {"low": round(low, 3), "high": round(high, 3), "n": len(values)})
    tell(table)
    write("report", __doc__ or "", table, records)


if __name__ == "__main__":
    main()

"""Milliseconds that a run inside a multirun costs beyond its training and evaluation.

    python scripts/bench/overhead.py [jobs=12] [num_threads=1]

Runs `train.py -m seed=0,1,... budget=steps budget.num_steps=50` in a process of its own, on fresh stores, with a
Hydra callback that reads the clock at the start and the end of each job. The first job, which creates the
stores and imports what is missing, is shown apart. Composition is Hydra's time between two jobs.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[2]
TIMES = "BATCHLAB_BENCH_TIMES"


class Stopwatch(Callback):
    """Appends a line at the start and the end of each job to the file named by the environment."""

    def on_job_start(self, config: Any, **_: Any) -> None:
        self._write("start", config.seed)

    def on_job_end(self, config: Any, **_: Any) -> None:
        self._write("end", config.seed)

    def _write(self, what: str, seed: int) -> None:
        with open(os.environ[TIMES], "a") as file:
            file.write(json.dumps([what, seed, time.perf_counter()]) + "\n")


def measure(num_jobs: int, num_threads: int, folder: Path) -> list[dict[str, float]]:
    """For each job seconds of composition, of training and evaluation, and of everything else."""
    os.environ |= {TIMES: str(folder / "times"), "BATCHLAB_MLRUNS": str(folder / "mlruns")}
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    seeds = ",".join(map(str, range(num_jobs)))
    overrides = [f"seed={seeds}", "budget=steps", "budget.num_steps=50", "study=overhead", f"num_threads={num_threads}"]
    callback = "+hydra.callbacks.stopwatch._target_=overhead.Stopwatch"
    command = [sys.executable, str(REPOSITORY / "train.py"), "-m", *overrides, callback]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (folder / "times").read_text().splitlines()]
    starts = {seed: at for what, seed, at in lines if what == "start"}
    ends = {seed: at for what, seed, at in lines if what == "end"}
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("overhead")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`batchlab.role` = 'run'")
    known = {int(run.data.params["seed"]): run.data.metrics for run in runs}
    rows = []
    for seed in range(num_jobs):
        work = known[seed]["cost/train_seconds"] + known[seed]["cost/eval_seconds"]
        composition = starts[seed] - ends[seed - 1] if seed else float("nan")
        rows.append({"composition": composition, "work": work, "rest": ends[seed] - starts[seed] - work})
    return rows


def main() -> None:
    from batchlab.report.result_files import write_results
    from batchlab.system.progress import make_console

    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    num_jobs = int(typed.get("jobs", 12))
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(num_jobs, int(typed.get("num_threads", 1)), Path(folder))
    table = Table(
        "job", "composition ms", "training and evaluation ms", "everything else ms", title="a run in a multirun"
    )
    slowest = max(rows[1:], key=lambda row: row["rest"])
    for name, some in (
        ("first", rows[:1]),
        (f"median of the other {num_jobs - 1}", rows[1:]),
        ("slowest other", [slowest]),
    ):
        table.add_row(
            name,
            *(f"{statistics.median(row[key] for row in some) * 1e3:.0f}" for key in ("composition", "work", "rest")),
        )
    make_console().print(table)
    rest = sorted(row["rest"] * 1e3 for row in rows[1:])
    record = {"what": "cost of a run beyond training, evaluation and composition", "unit": "ms"}
    record |= {
        "median": round(statistics.median(rest), 1),
        "low": round(rest[0], 1),
        "high": round(rest[-1], 1),
        "n": len(rest),
    }
    write_results("overhead", __doc__ or "", table, [record])


if __name__ == "__main__":
    main()

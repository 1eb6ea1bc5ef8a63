"""Trials per second of a study with 1, 2, 4 and 8 workers, on SQLite and on PostgreSQL.

    python scripts/bench/workers.py [rounds=5] [trials=20] [sleep=0.5] [workers=1,2,4,8] [stores=sqlite,postgresql]

A bare Hydra application under `hydra/sweeper=batchlab`, without MLflow, whose task sleeps. Its workers wait for each
other in their first trial and go on at different times within one sleep; what counts are the trials between the last
worker's second start and the first worker's last end, each worker from its first end there to its last one. Rounds are
interleaved over stores and numbers of workers, after one command that is thrown away. Linear is the rate of one worker
of the same round and store times their number. Rounds are kept in mlruns/bench/workers.jsonl: the script goes on where
it was stopped, as long as the commit is the same.

PostgreSQL is Debian's with its own settings, started by the script on a free port; it shares the workers' cores.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from postgres import Postgres, serving
from rich.table import Table

from batchlab.config.identity import environment, load_average
from batchlab.config.schema import REPOSITORY
from batchlab.laws.estimate import Estimate, median_of
from batchlab.report.result_files import write_results

APP = """
import json, os, random, time
from pathlib import Path
import hydra

def note(what):
    with open(os.environ["BENCH_TIMES"], "a") as file:
        file.write(json.dumps([what, os.getpid(), time.perf_counter()]) + "\\n")

def wait_for_all(num_workers, sleep):
    ready = Path("ready")
    ready.mkdir(exist_ok=True)
    if not (ready / str(os.getpid())).exists():
        (ready / str(os.getpid())).touch()
        while len(list(ready.iterdir())) < num_workers:
            time.sleep(0.01)
        time.sleep(random.uniform(0, sleep))

@hydra.main(config_path=".", config_name="app", version_base="1.3")
def main(config):
    wait_for_all(config.num_workers, config.sleep)
    note("start")
    time.sleep(config.sleep)
    note("end")
    return 1.0

main()
"""
RAW = REPOSITORY / "mlruns" / "bench" / "workers.jsonl"


@dataclass(frozen=True)
class Request:
    """What is measured: trials per worker, seconds of a trial, numbers of workers, stores."""

    trials: int
    sleep: float
    workers: list[int]
    stores: list[str]


def sweep(address: str, num_workers: int, asked: Request) -> list[list[Any]]:
    """One command; what its tasks noted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.py").write_text(APP)
        lines = (f"sleep: {asked.sleep}", f"num_workers: {num_workers}", f"mlruns: {folder}", "x: 1.0", "b: 16")
        (folder / "app.yaml").write_text("\n".join(lines) + "\n")
        address = address or f"sqlite:///{folder}/optuna.db"
        command = [sys.executable, str(folder / "app.py"), "-m", "hydra/sweeper=batchlab", "x=interval(0.0,1.0)",
                   "b=16,32,64", f"hydra.sweeper.n_trials={num_workers * (asked.trials + 1)}",
                   "hydra.sweeper.study_name=bench", f"hydra.sweeper.storage={address}", "hydra.sweep.dir=out",
                   f"hydra.sweeper.num_workers={num_workers}"]  # fmt: skip
        env = os.environ | {"BENCH_TIMES": str(folder / "times"), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=env, cwd=folder, stdout=subprocess.DEVNULL)
        return [json.loads(line) for line in (folder / "times").read_text().splitlines()]


def measured(notes: list[list[Any]]) -> dict[str, float]:
    """Trials per second, and milliseconds from the end of a trial to the start of the worker's next one."""
    starts: dict[int, list[float]] = {}
    ends: dict[int, list[float]] = {}
    for what, pid, at in notes:
        (starts if what == "start" else ends).setdefault(pid, []).append(at)
    begin, end = max(each[1] for each in starts.values()), min(each[-1] for each in ends.values())
    rate, gaps = 0.0, []
    for pid, each in ends.items():
        inside = [at for at in each if begin <= at <= end]
        rate += (len(inside) - 1) / (inside[-1] - inside[0])
        gaps += [after - before for before, after in zip(each, starts[pid][1:], strict=False) if begin <= before < end]
    return {"rate": rate, "gap_ms": 1e3 * float(np.median(gaps)), "num_trials": sum(map(len, ends.values()))}


def seconds_of_cpu(pid: int) -> float:
    """CPU seconds of a process and of all that it ever started."""
    process, living = psutil.Process(pid), []
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it has ended since; its parent has waited for it
            living.append(each.cpu_times())
    waited = process.cpu_times()
    return sum(each.user + each.system for each in living) + waited.children_user + waited.children_system


def one(server: Postgres, store: str, num_workers: int, asked: Request) -> dict[str, float]:
    """Measure one store with so many workers, once."""
    if store == "sqlite":
        return measured(sweep("", num_workers, asked))
    database = f"bench{time.time_ns()}"
    before = seconds_of_cpu(server.pid)
    found = measured(sweep(server.database(database), num_workers, asked))
    [(commits,)] = server.ask(f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{database}'")
    found["server_ms"] = 1e3 * (seconds_of_cpu(server.pid) - before) / found["num_trials"]
    found["commits"] = commits / found["num_trials"]
    return found


def measure(server: Postgres, num_rounds: int, asked: Request, commit: str) -> list[dict[str, Any]]:
    """Every round that is not known yet; returns all of this commit."""
    RAW.parent.mkdir(parents=True, exist_ok=True)
    known = [json.loads(line) for line in RAW.read_text().splitlines()] if RAW.exists() else []
    key = {"commit": commit, "trials": asked.trials, "sleep": asked.sleep}
    known = [each for each in known if {name: each[name] for name in key} == key]
    have = {(each["round"], each["store"], each["workers"]) for each in known}
    wanted = [
        (turn, store, num) for turn in range(num_rounds) for num in asked.workers for store in asked.stores
        if (turn, store, num) not in have
    ]  # fmt: skip
    if wanted:
        one(server, wanted[0][1], 1, asked)  # caches of files, and Python's bytecode
    for turn, store, num in wanted:
        place = key | {"round": turn, "store": store, "workers": num, "load": load_average()}
        known.append(place | one(server, store, num, asked))
        with RAW.open("a") as file:
            file.write(json.dumps(known[-1]) + "\n")
        print(f"round {turn}, {store}, {num} workers: {known[-1]['rate']:.2f} trials/s", flush=True)
    return [each for each in known if each["round"] < num_rounds]


def over_linear(rows: list[dict[str, Any]], store: str, num: int) -> list[float]:
    """What part of linear so many workers did, round by round."""
    rates = {(each["round"], each["workers"]): each["rate"] for each in rows if each["store"] == store}
    turns = sorted({turn for turn, count in rates if count == num} & {turn for turn, count in rates if count == 1})
    return [rates[turn, num] / (num * rates[turn, 1]) for turn in turns]


def record_of(what: str, unit: str, values: list[float], digits: int) -> dict[str, Any]:
    """Median with its 95 % bootstrap interval."""
    found = median_of(np.array(values)) if len(values) > 1 else Estimate(values[0], float("nan"), float("nan"))
    numbers = {"median": found.value, "low": found.low, "high": found.high}
    return {"what": what, "unit": unit} | {k: round(v, digits) for k, v in numbers.items()} | {"n": len(values)}


def records_of(rows: list[dict[str, Any]], asked: Request) -> list[dict[str, Any]]:
    """What the rounds came to."""
    records = []
    for store in asked.stores:
        for num in asked.workers:
            mine = [each for each in rows if (each["store"], each["workers"]) == (store, num)]
            name = f"{store}, {num} workers" if num > 1 else f"{store}, 1 worker"
            records.append(record_of(f"trials per second, {name}", "1/s", [each["rate"] for each in mine], 3))
            if num > 1 and (parts := over_linear(rows, store, num)):
                records.append(record_of(f"part of linear, {name}", "ratio", parts, 3))
            records.append(record_of(f"between two trials of a worker, {name}", "ms", [e["gap_ms"] for e in mine], 1))
        served = [each for each in rows if each["store"] == store and each["workers"] == max(asked.workers)]
        if store == "postgresql":
            name = f"{max(asked.workers)} workers"
            records.append(record_of(f"CPU of the server per trial, {name}", "ms", [e["server_ms"] for e in served], 1))
            records.append(record_of(f"commits per trial, all told, {name}", "1", [e["commits"] for e in served], 1))
    return records


def main() -> None:
    from batchlab.system.progress import make_console

    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    asked = Request(
        int(typed.get("trials", 20)),
        float(typed.get("sleep", 0.5)),
        [int(each) for each in typed.get("workers", "1,2,4,8").split(",")],
        typed.get("stores", "sqlite,postgresql").split(","),
    )
    with serving() as server:
        rows = measure(server, int(typed.get("rounds", 5)), asked, environment()["commit"][:12])
    records = records_of(rows, asked)
    table = Table("what", "median", "95 %", "n", title=f"workers whose trial sleeps {asked.sleep:g} s")
    for each in records:
        unit = f" {each['unit']}" if each["unit"] in ("ms", "1/s") else ""
        interval = f"{each['low']} to {each['high']}" if each["n"] > 1 else ""
        table.add_row(each["what"], f"{each['median']}{unit}", interval, str(each["n"]))
    make_console().print(table)
    if typed.get("write", "true") == "true":
        write_results("workers", __doc__ or "", table, records)


if __name__ == "__main__":
    main()

"""A study whose workers, supervisor and database are killed and restarted all the while; it ends as if nothing was.

    python scripts/bench/chaos.py [num_trials=200] [seed=0] [every=20,40] [kills=1000] [restarts=2] [away=8]

A real search (digits, MLP; MLflow on, PostgreSQL as Optuna's store, a password in its address) with 4 workers. While
it runs, a random worker is killed (-9) every 20 to 40 seconds, PostgreSQL is stopped for some seconds and started again
twice, all of its connections are cut once, and the supervisor is killed once, after which the same command is typed
again. At the end, asked of the stores themselves:

* every slot is done once, no trial is running or waiting, no run of MLflow seems to run;
* each done trial has one MLflow run that names it and ended as it did, and every value of the trial is the run's;
* no process is left, and the password stands nowhere in what was said.

Exit code 1 where that is not so. `make chaos` runs it.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from aftermath import findings, processes_of
from mlflow import MlflowClient
from optuna import load_study
from postgres import PASSWORD, Postgres, serving
from rich.table import Table

from batchlab.config.schema import REPOSITORY
from batchlab.report.result_files import write_results
from batchlab.search.storage import open_storage
from batchlab.search.study import is_done
from batchlab.system.child_processes import WORKER
from batchlab.system.signals import heed_signals

STUDY, NUM_WORKERS = "chaos", 4
SPACE = ("data=digits", "measure=none", "num_threads=1", "epochs=tag(log,int(interval(40,160)))")
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_WITHOUT_PROGRESS = 300.0


@dataclass
class Command:
    """`train.py search=joint` in a process group of its own; typed again after it was killed.

    Attributes:
        line: of the command.
        folder: where it runs, and where its words go.
        process: the one that runs.
    """

    line: list[str]
    folder: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def type(self) -> None:
        """Start it."""
        env = os.environ | {"BATCHLAB_MLRUNS": str(self.folder / "mlruns"), "OMP_NUM_THREADS": "1"}
        with (self.folder / "said").open("a") as said:
            self.process = subprocess.Popen(
                self.line, env=env, cwd=self.folder, stdout=said, stderr=said, start_new_session=True
            )

    def workers(self) -> list[psutil.Process]:
        """The workers that live."""
        try:
            children = psutil.Process(self.process.pid).children()
            return [child for child in children if WORKER in child.environ()]
        except psutil.Error:
            return []

    def is_over(self) -> bool:
        """Whether it has ended by itself; one that failed is an error."""
        code = self.process.poll()
        if code:
            raise SystemExit(f"The command ended with exit code {code}:\n{(self.folder / 'said').read_text()[-3000:]}")
        return code == 0


@dataclass
class Chaos:
    """What is done to a study, and how often it was."""

    server: Postgres
    command: Command
    database: str
    draw: random.Random
    away: float
    done: Counter[str] = field(default_factory=Counter)

    def kill_worker(self) -> bool:
        """Kill a random worker; whether there was one."""
        workers = self.command.workers()
        if workers:
            self.draw.choice(workers).kill()
            self.done["workers killed"] += 1
        return bool(workers)

    def restart_server(self) -> None:
        """Stop the database and start it again."""
        self.server.stop()
        time.sleep(self.away)
        self.server.start()
        self.done["restarts of PostgreSQL"] += 1

    def cut_connections(self) -> None:
        """Cut every connection of the study."""
        self.done["connections cut"] += self.server.cut(self.database)

    def kill_supervisor(self) -> None:
        """Kill the command, and type it again when its workers have gone."""
        workers = self.command.workers()
        self.command.process.kill()
        self.command.process.wait()
        _, left = psutil.wait_procs(workers, timeout=60)
        assert not left, f"workers outlived their supervisor: {left}"
        self.command.type()
        self.done["supervisors killed"] += 1


def torment(chaos: Chaos, num_trials: int, every: tuple[float, float], max_kills: int, num_restarts: int) -> None:
    """Do all of it while the command runs; returns when it has ended.

    The big ones come when a share of the trials is done, so that a fast machine gets them as well; workers die by the
    clock, as long as anything gets done in between: a search whose workers all die before that stops, and says so.
    """
    shares = [(place + 1) / (num_restarts + 1) for place in range(num_restarts)]
    plan: list[tuple[float, Callable[[], None]]] = [(share, chaos.restart_server) for share in shares]
    plan += [(0.2, chaos.cut_connections), (0.5, chaos.kill_supervisor)]
    plan.sort(key=lambda item: item[0])
    moved, num_done, done_at_kill = time.monotonic(), 0, 0
    next_kill = time.monotonic() + chaos.draw.uniform(*every)
    while not chaos.command.is_over():
        time.sleep(SECONDS_BETWEEN_LOOKS)
        now_done, now = count_done(chaos.server, chaos.database), time.monotonic()
        if now_done > num_done:
            num_done, moved = now_done, now
        if now - moved > SECONDS_WITHOUT_PROGRESS:
            raise SystemExit(f"Nothing happens any more:\n{(chaos.command.folder / 'said').read_text()[-3000:]}")
        if plan and num_done >= plan[0][0] * num_trials and chaos.command.workers():
            plan.pop(0)[1]()
            print(f"{num_done} trials done; {dict(chaos.done)}", flush=True)
        is_due = now > next_kill and done_at_kill < num_done < num_trials
        if is_due and chaos.done["workers killed"] < max_kills and chaos.kill_worker():
            next_kill, done_at_kill = time.monotonic() + chaos.draw.uniform(*every), num_done
    assert not plan, "the study was done before everything had been done to it"


def count_done(server: Postgres, database: str) -> int:
    """How many trials have ended other than by being lost, asked of the tables; 0 before there are any."""
    [(exists,)] = server.ask("SELECT to_regclass('trials') IS NOT NULL", database=database)
    if not exists:
        return 0
    lost = "SELECT 1 FROM trial_user_attributes a WHERE a.trial_id = t.trial_id AND a.key = 'lost'"
    states = "('COMPLETE', 'PRUNED', 'FAIL')"
    question = f"SELECT count(*) FROM trials t WHERE state IN {states} AND NOT EXISTS ({lost})"
    return server.ask(question, database=database)[0][0]


def run(server: Postgres, folder: Path, typed: dict[str, str]) -> tuple[list[str], dict[str, float]]:
    """The whole show; what is wrong, and what was done and found."""
    num_trials, seed = int(typed.get("num_trials", 200)), int(typed.get("seed", 0))
    low, high = (float(each) for each in typed.get("every", "20,40").split(","))
    address = server.database(STUDY)
    line = [sys.executable, str(REPOSITORY / "train.py"), "search=joint", f"study={STUDY}", f"seed={seed}", *SPACE]
    line += [f"hydra.sweeper.{key}={value}" for key, value in
             (("n_trials", num_trials), ("num_workers", NUM_WORKERS), ("storage", address))]  # fmt: skip
    command = Command(line, folder)
    chaos = Chaos(server, command, STUDY, random.Random(seed), float(typed.get("away", 8)))
    began = time.monotonic()
    command.type()
    try:
        torment(chaos, num_trials, (low, high), int(typed.get("kills", 1000)), int(typed.get("restarts", 2)))
    finally:
        if command.process.poll() is None:
            os.killpg(command.process.pid, signal.SIGKILL)
    mlruns = str(folder / "mlruns")
    trials = load_study(study_name=STUDY, storage=open_storage(mlruns, address)).get_trials(deepcopy=False)
    client = MlflowClient(f"sqlite:///{mlruns}/mlflow.db")
    experiment = client.get_experiment_by_name(STUDY)
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id], max_results=50_000))
    logs = [path.read_text(errors="replace") for path in (folder / "mlruns" / "hydra" / STUDY).glob("worker-*.log")]
    said = "".join([(folder / "said").read_text(), *logs])
    found: dict[str, Any] = {"done trials": sum(map(is_done, trials))}
    found["trials lost on the way and run again"] = len(trials) - found["done trials"]
    found["MLflow runs that ended KILLED"] = sum(each.info.status == "KILLED" for each in runs)
    found["seconds"] = round(time.monotonic() - began)
    config_error = findings(trials, runs, num_trials) + ["the password was said"] * (PASSWORD in said)
    config_error += [f"left behind: {each}" for each in processes_of(mlruns)]
    return config_error, {**chaos.done, **found}


def main() -> int:
    from batchlab.system.progress import make_console

    heed_signals()  # nothing stays behind
    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    with serving() as server, tempfile.TemporaryDirectory() as folder:
        config_error, found = run(server, Path(folder), typed)
    table = Table("what", "how many", title="chaos: what was done to a study, and what it came to")
    numbers = found | {"things that are wrong at the end": len(config_error)}
    for what, number in numbers.items():
        table.add_row(what, f"{number:g}")
    make_console().print(table)
    for each in config_error:
        print(each, file=sys.stderr)
    records = [
        {"what": what, "unit": "s" if what == "seconds" else "1", "median": number, "low": None, "high": None, "n": 1}
        for what, number in numbers.items()
    ]
    if typed.get("write", "true") == "true":
        write_results("chaos", __doc__ or "", table, records)
    return 1 if config_error else 0


if __name__ == "__main__":
    sys.exit(main())

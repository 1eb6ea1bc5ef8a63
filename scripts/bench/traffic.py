"""What a trial of a search asks of a PostgreSQL server, and through Optuna's gRPC proxy.

    python scripts/bench/traffic.py [trials=300]

The search's own loop, TPE, one process, with jobs that do to their trial what a training run does (a run id, three
evaluations of which two are checked, a result) and whose objectives are constant. SQL statements and transactions are
counted where they leave the process; the server is Debian's with its own settings on the same machine, the proxy is
`scripts/proxy.py` beside it. From these numbers docs/scale.md reckons what many workers need.
"""

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from postgres import Postgres, free_port, serving
from rich.table import Table
from sqlalchemy import Engine, event
from study import SAMPLERS, SPACE, AlwaysActive, ConstantJobs
from workers import seconds_of_cpu

from batchlab.config.schema import REPOSITORY
from batchlab.laws.estimate import median_of
from batchlab.report.result_files import write_results
from batchlab.search.settings import Settings
from batchlab.search.space_parser import make_space
from batchlab.search.stale_trials import own_lease
from batchlab.search.storage import open_storage
from batchlab.search.study import open_study
from batchlab.search.sweep import SearchLoop
from batchlab.search.trial import Shared
from batchlab.search.trial_queue import TrialQueue


class TimedSlots(TrialQueue):
    """Slots that note how long each taking of one was, the study's lock included."""

    begins: list[float]
    seconds: list[float]

    def claim(self, sampler: Any) -> Any:
        self.begins.append(time.perf_counter())
        taken = super().claim(sampler)
        self.seconds.append(time.perf_counter() - self.begins[-1])
        return taken


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts what SQLAlchemy sends within the block."""
    counts: Counter[str] = Counter()
    listeners = {
        "before_cursor_execute": lambda *_: counts.update(["SQL statements"]),
        "commit": lambda *_: counts.update(["transactions"]),
    }
    for name, listener in listeners.items():
        event.listen(Engine, name, listener)
    try:
        yield counts
    finally:
        for name, listener in listeners.items():
            event.remove(Engine, name, listener)


def search(address: str, num_trials: int) -> tuple[TimedSlots, Counter[str]]:
    """A whole study; its slots, and what was sent."""
    with tempfile.TemporaryDirectory() as folder:
        metrics, directions = ("cost/train_seconds", "final/val_accuracy"), ("minimize", "maximize")
        settings = Settings("traffic", metrics, directions, address, folder, num_trials, None, 0, 1, 0.5,
                            SAMPLERS["tpe"], None, True, (), {}, None)  # fmt: skip
        space = make_space(OverridesParser.create().parse_overrides(list(SPACE)), [], lambda _: False)
        study = open_study(settings, open_storage(folder, address), {})
        slots = TimedSlots(study, settings, own_lease(), [])
        slots.begins, slots.seconds = [], []
        jobs: Any = ConstantJobs(settings, Shared(study))
        composer: Any = AlwaysActive()
        with counted() as counts:
            SearchLoop(study, settings, space, slots, composer, jobs).run(own_lease(), float("inf"))
        return slots, counts


@contextmanager
def proxy(address: str) -> Iterator[str]:
    """A proxy of ours before a database; its address."""
    port = free_port()
    command = [sys.executable, str(REPOSITORY / "scripts" / "proxy.py"), f"storage={address}", f"port={port}"]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([*command, f"mlruns={Path(folder)}"], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            process.stdout.readline()  # says where it listens, when it does
            yield f"grpc://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def record_of(what: str, unit: str, values: list[float]) -> dict[str, Any]:
    """Median with its 95 % bootstrap interval; of a count over all trials the mean alone."""
    found = median_of(np.array(values))
    numbers = {"median": found.value, "low": found.low, "high": found.high}
    return {"what": what, "unit": unit} | {key: round(each, 2) for key, each in numbers.items()} | {"n": len(values)}


def records_of(server: Postgres, way: str, address: str, num_trials: int) -> list[dict[str, Any]]:
    """What a study asks, one way or the other."""
    before = seconds_of_cpu(server.pid)
    slots, counts = search(address, num_trials)
    spent = 1e3 * (seconds_of_cpu(server.pid) - before) / num_trials
    whole = [1e3 * (after - at) for at, after in zip(slots.begins, slots.begins[1:], strict=False)]
    records = [record_of(f"cost of a trial, {way}", "ms", whole)]
    records.append(record_of(f"of it taking a slot, under the lock, {way}", "ms", [1e3 * s for s in slots.seconds]))
    records.append(record_of(f"CPU of the server per trial, {way}", "ms", [spent]))
    records += [record_of(f"{what} per trial, {way}", "1", [count / num_trials]) for what, count in counts.items()]
    return records


def main() -> None:
    from batchlab.system.progress import make_console

    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    num_trials = int(typed.get("trials", 300))
    with serving() as server:
        records = records_of(server, "PostgreSQL", server.database("direct"), num_trials)
        connections = server.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = 'direct'")
        records.append(record_of("connections of a process, PostgreSQL", "1", [connections[0][0]]))
        with proxy(server.database("behind")) as address:
            records += records_of(server, "gRPC proxy", address, num_trials)
    table = Table("what", "median", "95 %", "n", title="what a trial asks of its store")
    for each in records:
        unit = f" {each['unit']}" if each["unit"] == "ms" else ""
        interval = f"{each['low']} to {each['high']}" if each["n"] > 1 else ""
        table.add_row(each["what"], f"{each['median']}{unit}", interval, str(each["n"]))
    make_console().print(table)
    if typed.get("write", "true") == "true":
        write_results("traffic", __doc__ or "", table, records)


if __name__ == "__main__":
    main()

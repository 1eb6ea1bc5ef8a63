"""What a trial of a search costs beyond its own run, and what a second worker brings.

    python scripts/bench/study.py [trials=300] [many=3000] [sweeps=60] [sleep=0.3]

1. Ask, tell, attributes and pruning checks of one process on SQLite: the search's own loop with jobs that do what a
   training run does to its trial (a run id, three evaluations of which two are checked, a result) and whose objectives
   are constant. With the default sampler over 300 trials, with the random sampler over 3,000.
2. Everything between the end of one task and the start of the next in a whole command, Hydra's composition and folders
   included: the same application under `hydra/sweeper=batchlab` and under the released plugin, hydra-optuna-sweeper
   1.3.0 with optuna 2.10.1, SQLAlchemy 1.4.54 and alembic 1.15.2 in an environment of its own; SQLite, one objective.
3. Trials per second of workers whose trial sleeps, each counted from its first trial's end to its last one's.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.table import Table

from batchlab.config.schema import REPOSITORY
from batchlab.report.result_files import write_results
from batchlab.search.finalize import JobOutcome
from batchlab.search.settings import Settings
from batchlab.search.space_parser import make_space
from batchlab.search.stale_trials import own_lease
from batchlab.search.storage import open_storage
from batchlab.search.study import open_study
from batchlab.search.sweep import SearchLoop
from batchlab.search.trial import SearchTrial, Shared
from batchlab.search.trial_launcher import Job
from batchlab.search.trial_queue import TrialQueue
from batchlab.search.trial_ref import TrialRef
from batchlab.training.evaluation import Evaluation
from batchlab.training.loop import LoopPoint
from batchlab.training.plan import Counts

SPACE = ("batch_size=tag(pow2,int(interval(16,8192)))", "lr=tag(log,interval(0.0001,1))", "epochs=int(interval(2,40))")
SAMPLERS = {
    "tpe": {"_target_": "optuna.samplers.TPESampler", "multivariate": True, "seed": 0},
    "random": {"_target_": "optuna.samplers.RandomSampler", "seed": 0},
}
APP = """
import json, os, time
import hydra

def note(what):
    with open(os.environ["BENCH_TIMES"], "a") as file:
        file.write(json.dumps([what, os.getpid(), time.perf_counter()]) + "\\n")

@hydra.main(config_path=".", config_name="app", version_base="1.3")
def main(config):
    note("start")
    time.sleep(config.sleep)
    note("end")
    return 1.0

main()
"""
RELEASED = ("hydra-core==1.3.8", "hydra-optuna-sweeper==1.3.0", "optuna==2.10.1", "SQLAlchemy==1.4.54",
            "alembic==1.15.2", "setuptools<80")  # fmt: skip


class ConstantJobs:
    """Does to each trial what a training run does, without one; the objectives are constant."""

    def __init__(self, settings: Settings, shared: Shared) -> None:
        self._settings, self._shared = settings, shared

    def run(self, jobs: list[Job], _fixed: Any) -> list[JobOutcome]:
        """One job: a run id, three evaluations, a result."""
        for job in jobs:
            trial_ref = TrialRef.of(self._settings, job.trial_id, job.number, float("inf"), "", may_repeat=False)
            trial = SearchTrial(self._shared, trial_ref)
            trial.known("identity")
            trial.begin_run("0123456789abcdef", "key")
            for place in (1, 2, 3):
                counts = Counts(place, place, place, 0.1 * place)
                point = LoopPoint(counts, place, place / 3, 1, 0.1, 0.5, is_due=True, is_last=place == 3)
                trial.why_stop(Evaluation(point, {"val/accuracy": 0.9}, point.is_last, 0.9))
            trial.finish("done", "", [1.0, 0.9], {"step_seconds": 0.1, "peak_memory_bytes": 1.0})
        return [JobOutcome("returned", values=(1.0, 0.9)) for _ in jobs]


class AlwaysActive:
    """Stands for the composer: every dimension is asked."""

    def is_active(self, _structural: Any, _dimension: Any) -> bool:
        return True


class TimedSlots(TrialQueue):
    """Slots that note when each trial begins."""

    begins: list[float]

    def claim(self, sampler: Any) -> Any:
        self.begins.append(perf_counter())
        return super().claim(sampler)


def trial_costs(num_trials: int, sampler: str) -> list[float]:
    """Milliseconds of each trial of a study with a constant objective."""
    with tempfile.TemporaryDirectory() as folder:
        metrics, directions = ("cost/train_seconds", "final/val_accuracy"), ("minimize", "maximize")
        settings = Settings("bench", metrics, directions, None, folder, num_trials, None, 0, 1, 0.5,
                            SAMPLERS[sampler], None, True, (), {}, None)  # fmt: skip
        space = make_space(OverridesParser.create().parse_overrides(list(SPACE)), [], lambda _: False)
        study = open_study(settings, open_storage(folder), {})
        slots = TimedSlots(study, settings, own_lease(), [])
        slots.begins = []
        jobs: Any = ConstantJobs(settings, Shared(study))
        composer: Any = AlwaysActive()
        loop = SearchLoop(study, settings, space, slots, composer, jobs)
        loop.run(own_lease(), float("inf"))
        return [1e3 * (after - before) for before, after in zip(slots.begins, slots.begins[1:], strict=False)]


def sweep(python: Path, folder: Path, sweeper: str, num_trials: int, sleep: float, *more: str) -> list[list[Any]]:
    """Run the application under a sweeper; what its tasks noted."""
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    (folder / "app.yaml").write_text(f"x: 1.0\nb: 16\nsleep: {sleep}\nmlruns: {folder}\n")
    command = [str(python), str(folder / "app.py"), "-m", f"hydra/sweeper={sweeper}", "x=interval(0.0,1.0)",
               "b=16,32,64", f"hydra.sweeper.n_trials={num_trials}", "hydra.sweeper.study_name=bench",
               f"hydra.sweeper.storage=sqlite:///{folder}/optuna.db", "hydra.sweeper.n_jobs=1",
               f"hydra.sweep.dir={folder}/out", *more]  # fmt: skip
    times = folder / "times"
    env = os.environ | {"BENCH_TIMES": str(times), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return [json.loads(line) for line in times.read_text().splitlines()]


def between(notes: list[list[Any]]) -> list[float]:
    """Milliseconds from the end of each task to the start of the next."""
    return [1e3 * (after[2] - before[2]) for before, after in zip(notes[1::2], notes[2::2], strict=False)]


def rate(notes: list[list[Any]]) -> float:
    """Tasks per second: the sum of what each process does between its first task's end and its last one's."""
    ends: dict[int, list[float]] = {}
    for what, pid, at in notes:
        if what == "end":
            ends.setdefault(pid, []).append(at)
    return sum((len(each) - 1) / (each[-1] - each[0]) for each in ends.values() if len(each) > 1)


def released_python(folder: Path) -> Path:
    """The interpreter of an environment with the released plugin."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        uv = Path(sys.executable).parent / "uv"
        subprocess.run([str(uv), "pip", "install", "--quiet", "--python", str(python), *RELEASED], check=True)
    return python


def record_of(what: str, unit: str, values: list[float]) -> dict[str, Any]:
    """Median with the middle 90 % of single trials."""
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
    digits = 2 if unit == "ratio" else 1
    numbers = {"median": statistics.median(values), "low": low, "high": high}
    return {
        "what": what,
        "unit": unit,
        **{key: round(value, digits) for key, value in numbers.items()},
        "n": len(values),
    }


def main() -> None:
    from batchlab.system.progress import make_console

    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    few, many, sweeps = int(typed.get("trials", 300)), int(typed.get("many", 3000)), int(typed.get("sweeps", 60))
    sleep = float(typed.get("sleep", 0.3))
    costs = {"tpe": trial_costs(few, "tpe"), "random": trial_costs(many, "random")}
    records = [record_of(f"cost of a trial, TPE, {few} trials", "ms", costs["tpe"])]
    for end in (few, many):
        part = costs["random"][max(0, end - 100) : end]
        records.append(record_of(f"cost of a trial, random sampler, the last 100 up to trial {end}", "ms", part))
    python = released_python(REPOSITORY / "mlruns" / "bench" / "released")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(sys.executable), python
        for turn in (1, 2, 3):  # interleaved
            for name, interpreter, sweeper in (("batchlab", ours, "batchlab"), ("released plugin", theirs, "optuna")):
                gaps = between(sweep(interpreter, Path(folder) / f"{sweeper}{turn}", sweeper, sweeps // 3, 0.0))
                costs.setdefault(name, []).extend(gaps)
        ratios = []
        for turn in (1, 2, 3):
            rates = [rate(sweep(ours, Path(folder) / f"w{turn}{num}", "batchlab", 12 * num, sleep,
                                f"hydra.sweeper.num_workers={num}")) for num in (1, 2)]  # fmt: skip
            ratios.append(rates[1] / rates[0])
    records += [record_of(f"between two tasks of a command, {name}", "ms", costs[name])
                for name in ("batchlab", "released plugin")]  # fmt: skip
    records.append(record_of(f"trials per second of two workers over one, a trial sleeps {sleep:g} s", "ratio", ratios))
    table = Table("what", "median", "5 % to 95 % of single values", "n", title="a trial of a search")
    for each in records:
        unit = "" if each["unit"] == "ratio" else f" {each['unit']}"
        table.add_row(each["what"], f"{each['median']}{unit}", f"{each['low']} to {each['high']}", str(each["n"]))
    make_console().print(table)
    write_results("study", __doc__ or "", table, records)


if __name__ == "__main__":
    main()

"""What pruning with two objectives loses and saves, by replaying recorded curves.

    python scripts/bench/pruning.py [curves=240] [file=mlruns/bench/curves.jsonl] [replays=60]

Records learning curves of random points of the space of `search=joint` (batch size, lr, epochs) for every lr schedule
on two data sets, each run to its end; a file that is there is gone on with. The pruner was chosen on the first
120 curves of each, and is judged on the others: studies drawn from them in random order are replayed once as they
are and once with the pruner looking at every evaluation; counted are the Pareto points of the first that the
second has not, and the training seconds that it saved.
"""

import json
import math
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from rich.table import Table

from batchlab.config.registration import register_schema
from batchlab.config.resolve import resolved
from batchlab.config.schema import REPOSITORY
from batchlab.run.training_run import run, run_to_end
from batchlab.search.pareto_front import pareto_front
from batchlab.search.pruning import Curve, Front, error_of, is_dominated
from batchlab.training.build import build
from batchlab.training.evaluation import Evaluation
from batchlab.training.loop import LoopPoint

SCHEDULES = ("constant", "cosine", "linear", "step", "wsd")
DATA = (["data=digits"], ["data=synthetic", "data.num_examples=6000"])
SIZES = (16, 32, 64, 128, 256)
METRICS = ("cost/train_seconds", "final/val_accuracy")
DIRECTIONS = ("minimize", "maximize")
CHOSEN_ON = 120
"""Curves of each schedule and data set on which the pruner's constants were chosen."""


def drawn(key: str) -> dict[str, float]:
    """A random point of the space of search=joint."""
    draw = random.Random(key)
    epochs = round(math.exp(draw.uniform(math.log(2), math.log(40))))
    return {"batch_size": draw.choice(SIZES), "lr": 0.02 * 20 ** draw.uniform(-1, 1), "epochs": epochs}


def record(point: dict[str, float], overrides: list[str], seed: int) -> dict[str, Any]:
    """One run to its end: its curve at every evaluation."""
    lines = [f"{key}={value}" for key, value in point.items()]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = resolved(compose("train", [*overrides, *lines, "num_threads=1", "study=bench", "mlruns=mlruns"]))
    points: list[LoopPoint | Evaluation] = []
    result = run_to_end(run(build(config, seed)), points.append)
    due = [each for each in points if isinstance(each, Evaluation) and each.score is not None]
    return {
        "point": point,
        "outcome": result.outcome,
        "progress": [each.point.progress for each in due],
        "seconds": [each.point.counts.seconds for each in due],
        "error": [error_of("maximize", each.score or 0.0) for each in due],
    }


def record_all(num_curves: int, path: Path) -> None:
    """Record what the file does not have yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {json.loads(line)["key"] for line in path.open()} if path.exists() else set()
    register_schema()
    for number in range(num_curves):
        for schedule in SCHEDULES:
            for data in DATA:
                key = f"{data[0]} {schedule} {number}"
                if key not in known:
                    curve = record(drawn(key), [f"lr_schedule={schedule}", *data], seed=number)
                    with path.open("a") as file:
                        file.write(json.dumps({"key": key, "data": data[0], "schedule": schedule, **curve}) + "\n")


@dataclass(frozen=True)
class Replay:
    """One replayed study.

    Attributes:
        num_lost: Pareto points of the full study that the pruned one has not.
        num_front: Pareto points of the full study.
        seconds: of training in the full study.
        saved_seconds: of them, not spent by the pruned one.
    """

    num_lost: int
    num_front: int
    seconds: float
    saved_seconds: float


def replay(recorded: list[dict[str, Any]]) -> Replay:
    """A study of recorded curves in the order given, pruned as a search would prune it."""
    curves: list[Curve] = []
    values: list[tuple[float, ...]] = []
    ends, is_kept, spent = [], [], 0.0
    for each in recorded:
        whole = Curve(tuple(each["progress"]), tuple(each["seconds"]), tuple(each["error"]))
        front = Front(METRICS, DIRECTIONS, values, curves)
        stop = stopping_place(front, whole)
        ends.append((whole.seconds[-1], 1 - whole.error[-1]))
        is_kept.append(stop is None)
        spent += whole.seconds[-1 if stop is None else stop]
        if stop is None:
            curves.append(whole)
            values.append(ends[-1])
    front_places = pareto_front(ends, DIRECTIONS)
    num_lost = sum(not is_kept[place] for place in front_places)
    seconds = sum(end[0] for end in ends)
    return Replay(num_lost, len(front_places), seconds, seconds - spent)


def stopping_place(front: Front, whole: Curve) -> int | None:
    """The evaluation at which the pruner stops a curve; None where it runs to its end."""
    before = False
    for place in range(len(whole.progress) - 1):
        part = Curve(whole.progress[: place + 1], whole.seconds[: place + 1], whole.error[: place + 1])
        now = is_dominated(front, part)
        if now and before:
            return place
        before = now
    return None


def summary(replays: list[Replay], draw: random.Random) -> dict[str, float]:
    """Share of front points lost with its upper 95 % limit, share of seconds saved with its 95 % interval.

    Bootstrap over replayed studies. They share curves, so the limits are those of the order and the draw, and
    not of other curves.
    """

    def shares(some: list[Replay]) -> tuple[float, float]:
        lost = sum(each.num_lost for each in some) / sum(each.num_front for each in some)
        return lost, sum(each.saved_seconds for each in some) / sum(each.seconds for each in some)

    lost, saved = shares(replays)
    again = [shares(draw.choices(replays, k=len(replays))) for _ in range(2000)]
    losses, savings = sorted(each[0] for each in again), sorted(each[1] for each in again)
    upper = max(losses[1900], 3 / sum(each.num_front for each in replays))  # none seen in n: below 3/n
    return {"lost": lost, "lost_upper": upper, "saved": saved, "saved_low": savings[50], "saved_high": savings[1950]}


def main() -> None:
    from batchlab.report.result_files import write_results
    from batchlab.system.progress import make_console

    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    num_curves, num_replays = int(typed.get("curves", 240)), int(typed.get("replays", 60))
    path = Path(typed.get("file", REPOSITORY / "mlruns" / "bench" / "curves.jsonl"))
    record_all(num_curves, path)
    rows = [json.loads(line) for line in path.open()]
    rows = [row for row in rows if row["outcome"] == "done" and int(row["key"].split()[-1]) >= CHOSEN_ON]
    table = Table("lr schedule", "trials", "curves", "front points lost", "upper 95 %", "seconds saved", "95 %",
                  title="pruning with two objectives, replayed")  # fmt: skip
    records = []
    for schedule in SCHEDULES:
        groups = [[row for row in rows if (row["schedule"], row["data"]) == (schedule, data[0])] for data in DATA]
        for num_trials in (40, num_curves - CHOSEN_ON):
            draw = random.Random(f"{schedule} {num_trials}")
            replays = [replay(draw.sample(group, min(num_trials, len(group)))) for group in groups
                       for _ in range(num_replays)]  # fmt: skip
            found, count = summary(replays, draw), sum(map(len, groups))
            interval = f"{found['saved_low']:.1%} to {found['saved_high']:.1%}"
            cells = (f"{found['lost']:.2%}", f"{found['lost_upper']:.2%}", f"{found['saved']:.1%}", interval)
            table.add_row(schedule, str(num_trials), str(count), *cells)
            name = f"{schedule}, studies of {num_trials} trials"
            records.append({"what": f"front points lost, {name}", "unit": "share", "median": found["lost"],
                            "low": 0.0, "high": found["lost_upper"], "n": len(replays)})  # fmt: skip
            records.append({"what": f"seconds saved, {name}", "unit": "share", "median": found["saved"],
                            "low": found["saved_low"], "high": found["saved_high"], "n": len(replays)})  # fmt: skip
    make_console().print(table)
    write_results("pruning", __doc__ or "", table, records)


if __name__ == "__main__":
    main()

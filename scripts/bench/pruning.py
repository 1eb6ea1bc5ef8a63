"""What pruning with two objectives loses and saves, by replaying recorded curves.

    python scripts/bench/pruning.py [curves=120] [file=mlruns/bench/curves.jsonl] [replays=400]

Records learning curves of random points of the space of `search=joint` (batch size, lr, epochs) for every lr schedule
on two data sets, each run to its end; a file that is there is gone on with. Then it replays studies of 40 trials drawn
from the curves of one schedule and data set, in random order, once as they are and once with the pruner looking at every
evaluation, and counts the Pareto points of the first that the second has not, and the training seconds it saved.
"""

import json
import math
import random
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from batchlab.build import build
from batchlab.config import REPOSITORY, register_schema, resolved
from batchlab.run import run

SCHEDULES = ("constant", "cosine", "linear", "step", "wsd")
DATA = (["data=digits"], ["data=synthetic", "data.num_examples=6000"])
SIZES = (16, 32, 64, 128, 256)


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
    training, points = run(build(config, seed)), []
    while True:
        try:
            points.append(next(training))
        except StopIteration as stop:
            result = stop.value
            break
    due = [each for each in points if each.is_due and each.val_accuracy is not None]
    return {
        "point": point,
        "outcome": result.outcome,
        "progress": [each.progress for each in due],
        "seconds": [each.counts.seconds for each in due],
        "accuracy": [each.val_accuracy for each in due],
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

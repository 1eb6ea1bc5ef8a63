"""Seconds to a target at the advised batch size against the best of a grid, always 32, always 256 and fill_then_reduce.

    python scripts/bench/advice.py [data_root=DIR] [pairs=digits-mlp,fashion-mlp] [budget_seconds=60]

Per pair of model and data: scripts/advise.py's laws and fill_then_reduce give a batch size each. Then every power of
two from 8 up to a third of the data is trained to the same target with learning rates a factor of two apart, until the
best is not at an end of its row. At its best lr each batch size is then trained with 3 fresh seeds, sizes in shuffled
order within a seed; its time is their median on the training clock, one thread. The advised batch size is one of them,
its lr from the same grid: what is compared is the batch size.
"""

import math
import os
import random
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

from hydra import compose, initialize_config_dir
from rich.table import Table

from batchlab.commands.advise.advice import advise
from batchlab.commands.advise.advise_measurements import Measured, fill_then_reduce, measure, train_at_sizes
from batchlab.commands.advise.trainings import MAX_EPOCHS, Trainings
from batchlab.config.command_keys import Advise
from batchlab.config.registration import register_schema
from batchlab.config.resolve import resolved
from batchlab.config.schema import REPOSITORY, Config
from batchlab.report.result_files import write_results
from batchlab.system.progress import make_console

PAIRS = {
    "digits-mlp": ["data=digits", "model=mlp"],
    "digits-convnet": ["data=digits", "model=convnet", "model.width=8", "optimizer=adam"],
    "synthetic-mlp6x64": ["data=synthetic", "data.num_examples=60000", "model=mlp6x64", "optimizer=adam"],
    "fashion-mlp": ["data=fashion_mnist", "data.num_train=20000", "model=mlp", "model.norm=batch"],
}
NUM_SEEDS = 3
LRS = 2.0
"""Learning rates of the grid lie so far apart, on powers of it times the configured one."""
GRID_SECONDS = 20.0
"""For the learning rates of one batch size; sizes that take longer are far from the best."""


def config_of(pair: str, data_root: str, mlruns: str) -> Config:
    fixed = [f"data_root={data_root}", f"mlruns={mlruns}", "num_threads=1", "study=advice", "device=cpu"]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        return resolved(compose("train", [*PAIRS[pair], *fixed]))


def tuned(trainings: Trainings, batch_size: int, start: float) -> float | None:
    """The best learning rate of a grid for a batch size; None where none reached the target."""
    trainings.deadline = time.perf_counter() + GRID_SECONDS
    known = [each for each in trainings.done if each.is_reached]
    limit = min((each.examples for each in known), default=math.inf) * 12 + 20 * batch_size
    best = trainings.tune(batch_size, start, min(limit, MAX_EPOCHS * trainings.num_train))
    return best.lr if best else None


def times_of(trainings: Trainings, lrs: dict[int, float]) -> dict[int, float]:
    """Median seconds to the target over fresh seeds, infinite where most did not reach it."""
    shuffle, seconds = random.Random(0), {size: [] for size in lrs}
    for repeat in range(1, NUM_SEEDS + 1):
        for size in shuffle.sample(sorted(lrs), len(lrs)):
            trainings.deadline = time.perf_counter() + GRID_SECONDS
            best = trainings.best_at(size)
            limit = 5 * best.examples + 20 * size if best else MAX_EPOCHS * trainings.num_train
            found = trainings.train(size, lrs[size], trainings.config.seed + repeat, limit)
            seconds[size].append(found.seconds if found.is_reached else math.inf)
    return {size: statistics.median(each) for size, each in seconds.items()}


def grid_lr(lr: float, batch_size: int, base: int, base_lr: float) -> float:
    """The grid's learning rate nearest to an lr that moves with the square root of the batch size."""
    wanted = lr * math.sqrt(batch_size / base)
    return base_lr * LRS ** round(math.log(wanted / base_lr, LRS))


def examine(pair: str, config: Config, keys: Advise) -> dict[str, float]:
    """Every figure of one pair."""
    say = make_console().print
    measured: Measured = measure(keys, config, lambda _what, _share: None)
    assert measured.trainings is not None
    target, base = measured.trainings.target, int(config.batch_size)
    train_at_sizes(measured, config)
    advice = advise(measured, None)
    low, high = advice.best.low, advice.best.high
    say(f"{pair}: target {target:.4f}, B* {advice.best.value:.0f} [{low:.0f}, {high:.0f}], advised {advice.batch_size}")
    fresh = Trainings(
        measured.trainings.config,
        measured.num_train,
        measured.trainings.score,
        target,
        time.perf_counter() + keys.budget_seconds,
    )
    filled = fill_then_reduce(replace(measured, trainings=fresh), base)
    trainings = Trainings(measured.trainings.config, measured.num_train, measured.trainings.score, target, 0.0)
    largest = 2 ** int(math.log2(measured.num_train / 3))
    sizes = {2**power for power in range(3, int(math.log2(largest)) + 1)}
    sizes |= {advice.batch_size, *([filled.batch_size] if filled.batch_size else [])}
    middle, lrs = min(sizes, key=lambda size: abs(math.log(size / 128))), {}
    for size in sorted(sizes, key=lambda size: abs(math.log(size / middle))):
        near = min((each for each in trainings.done if each.is_reached), default=None,
                   key=lambda each: (abs(math.log(each.batch_size / size)), each.examples))  # fmt: skip
        lr, at = (near.lr, near.batch_size) if near else (config.lr, base)
        if (found := tuned(trainings, size, grid_lr(lr, size, at, config.lr))) is not None:
            lrs[size] = found
    times = times_of(trainings, lrs)
    say("  " + ", ".join(f"B={size}: {times[size]:.3g} s at lr {lrs[size]:.3g}" for size in sorted(times)))
    best = min(times, key=lambda size: times[size])
    plan = {"advised": advice.batch_size, "always 32": 32, "always 256": 256, "fill_then_reduce": filled.batch_size}
    ratios = {name: times.get(size or 0, math.inf) / times[best] for name, size in plan.items()}
    return {"best": best, "best seconds": times[best], "target": target, "filled": filled.batch_size or math.nan,
            "advice": advice.batch_size, "low": low, "high": high} | ratios  # fmt: skip


def main() -> None:
    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    register_schema()
    places = [
        typed.get("data_root"),
        os.environ.get("BATCHLAB_DATA"),
        REPOSITORY / "data",
        REPOSITORY / "../shared/data",
    ]
    data_root = next((str(place) for place in places if place and (Path(place) / "FashionMNIST").exists()), "data")
    keys = Advise(budget_seconds=float(typed.get("budget_seconds", 60)))
    names = ("advised", "always 32", "always 256", "fill_then_reduce")
    table = Table("pair", "best B", "s", "B* [95 %]", "advised", "fill B", "advised ×", "32 ×", "256 ×", "fill ×")
    found = {}
    for pair in typed.get("pairs", ",".join(PAIRS)).split(","):
        found[pair] = each = examine(pair, config_of(pair, data_root, typed.get("mlruns", "mlruns")), keys)
        table.add_row(
            pair, f"{each['best']:.0f}", f"{each['best seconds']:.3g}", f"[{each['low']:.0f}, {each['high']:.0f}]",
            f"{each['advice']:.0f}", f"{each['filled']:.0f}", *(f"{each[name]:.2f}" for name in names),
        )  # fmt: skip
    means = {name: math.exp(statistics.fmean(math.log(each[name]) for each in found.values())) for name in names}
    table.add_row("geometric mean", "", "", "", "", "", *(f"{means[name]:.2f}" for name in names))
    make_console().print(table)
    records = [
        {"what": f"{pair} {name}", "unit": "times the best of the grid" if name in names else name,
         "median": value if math.isfinite(value) else None,
         "low": None, "high": None, "n": NUM_SEEDS}
        for pair, each in found.items() for name, value in each.items()
    ]  # fmt: skip
    if typed.get("write", "true") == "true":
        write_results("advice", __doc__ or "", table, records)


if __name__ == "__main__":
    main()

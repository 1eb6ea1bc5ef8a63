"""Time a step of our loop against the floor, a DataLoader and Lightning; every one waits for the device.

python loop.py
"""

import logging
import random
import statistics
import time
import warnings
from itertools import chain, repeat

from day import CUDA, DEVICE, config, error_of, say, sync
from torch.utils.data import DataLoader, TensorDataset


def with_graphs(built):
    """Return the run's train step with passes that are recorded."""
    from batchlab.training.cuda_graph import CudaRecorder, graphed

    return graphed(built.train_step, CudaRecorder(built.device))


def loops(built, other):
    """Return the loops that are timed: name -> function of a count of steps that returns seconds per step.

    Args:
        built: the run.
        other: the same run for Lightning, whose Trainer leaves its model on the CPU.
    """
    loader, model = loader_of(built), built.train_step.model
    runs = {"floor": floor(built), "ours": ours(built, built.train_step), "DataLoader": plain(built, loader)}
    if CUDA:
        runs["ours, graphed"] = ours(built, with_graphs(built))
    found = {name: timed(model, run) for name, run in runs.items()}
    found["ours, budget=seconds"] = by_seconds(built)
    try:
        from lightning_trainer import trainer

        found["Lightning"] = trainer(other, loader)
    except ImportError as error:
        say("loop", what="Lightning", failed=str(error))
    return found


def loader_of(built):
    """Return a DataLoader of a run's normalised training examples."""
    split = built.dataset.train
    inputs = split.inputs[:20000].cpu().float().sub(built.dataset.mean.cpu()).div(built.dataset.std.cpu())
    return DataLoader(
        TensorDataset(inputs, split.targets[: len(inputs)].cpu()),
        built.plan.batch_size,
        shuffle=True,
        drop_last=True,
        pin_memory=CUDA,
        num_workers=2 if CUDA else 0,
        persistent_workers=CUDA,
    )


def timed(model, run):
    """Return a function that measures the seconds per step of a loop of so many steps."""

    def measure(count):
        model.train()
        sync()
        begun = time.perf_counter()
        run(count)
        sync()
        return (time.perf_counter() - begun) / count

    return measure


def step(train_step, x, y):
    """Take an optimizer step on a batch."""
    train_step.optimizer.zero_grad()
    train_step.backward(train_step.compute_loss(x, y))
    train_step.optimizer.step()


def floor(built):
    """Return the loop of steps on one batch that stays in memory."""
    resident = tuple(each.clone() for each in built.stream.take(0, built.plan.batch_size))

    def run(count):
        for _ in range(count):
            step(built.train_step, *resident)

    return run


def plain(built, loader):
    """Return the loop of steps on the batches of a DataLoader."""
    endless = chain.from_iterable(repeat(loader))

    def run(count):
        for _ in range(count):
            x, y = next(endless)
            step(built.train_step, x.to(DEVICE, non_blocking=True), y.to(DEVICE, non_blocking=True))

    return run


def plan_of(built, budget, amount):
    """Return the plan of a run with another budget, evaluated at its end alone."""
    from batchlab.training.plan import Plan

    return Plan(built.plan.batch_size, None, len(built.dataset.train), budget, amount, 10**12)


def ours(built, train_step):
    """Return our loop with a budget of steps."""
    from batchlab.training.loop import fit

    def run(count):
        for _ in fit(train_step, built.stream, plan_of(built, "steps", count), built.schedule, built.clock):
            pass

    return run


def by_seconds(built):
    """Return a function that measures our loop with a budget of seconds."""
    from batchlab.training.loop import fit

    def measure(count):  # the budget says how long
        before = built.clock.measured
        *_, last = fit(built.train_step, built.stream, plan_of(built, "seconds", 0.2), built.schedule, built.clock)
        return (built.clock.measured - before) / max(1, last.counts.steps)

    return measure


def of(what, size, *typed):
    from batchlab.training.build import build

    built, other = (build(config(*typed, f"batch_size={size}", "measure=none"), 0) for _ in range(2))
    blocks, runs = (5, 0.25) if CUDA else (2, 0.002), loops(built, other)
    count = max(2, int(blocks[1] / runs["floor"](5)))
    times = {name: [] for name in runs}
    for block in range(blocks[0]):
        for name in random.Random(block).sample(sorted(runs), len(runs)):
            if name == "Lightning" and block > 2:
                continue
            if name in times:
                try:
                    value = runs[name](count)
                    if block or name == "Lightning":
                        times[name].append(value)
                except Exception as error:
                    say("loop", what=what, B=size, loop=name, failed=error_of(error))
                    del times[name]
    floor = statistics.median(times["floor"])
    for name, values in times.items():
        if values:
            say(
                "loop",
                what=what,
                B=size,
                loop=name,
                us=round(1e6 * statistics.median(values), 1),
                over_floor=round(statistics.median(values) / floor, 3),
            )


def graph_is_right():
    """Say the losses of fifty steps replayed beside those of fifty steps eager: are they the same?"""
    from batchlab.training.build import build
    from batchlab.training.loop import fit
    from batchlab.training.plan import Plan

    for name, typed in {
        "mlp6x64": ["data=digits", "model=mlp6x64", "+optimizer.fused=true"],
        "resnet20 bfloat16": [
            "data=synthetic_images",
            "data.num_examples=2048",
            "model=resnet20",
            "precision=bfloat16",
        ],
    }.items():
        ends = []
        for is_graph in (False, True):
            built = build(config(*typed, "batch_size=64", "measure=none"), 0)
            train_step = with_graphs(built) if is_graph else built.train_step
            plan = Plan(64, None, len(built.dataset.train), "steps", 50, 640)
            points = [
                point.train_loss
                for point in fit(train_step, built.stream, plan, built.schedule, built.clock)
                if point.is_due
            ]
            ends.append(points)
        say("loop", what=f"graphed against eager, {name}", eager=ends[0], graphed=ends[1])


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    if CUDA:
        try:
            graph_is_right()
        except Exception as error:
            say("loop", what="graphed", failed=error_of(error))
    few = ["data=synthetic", "data.num_examples=30000"]
    cases = [
        ("mlp6x64", 32, [*few, "model=mlp6x64"]),
        ("mlp6x64 fused", 32, [*few, "model=mlp6x64", "+optimizer.fused=true"]),
        ("mlp6x64 fused", 1024, [*few, "model=mlp6x64", "+optimizer.fused=true"]),
        ("convnet", 128, ["data=synthetic_images", "data.num_examples=20000", "model=convnet"]),
    ]
    for what, size, typed in cases if CUDA else cases[:1]:
        try:
            of(what, size, *typed)
        except Exception as error:
            say("loop", what=what, B=size, failed=error_of(error))

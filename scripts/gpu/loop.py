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


def loops(built, num_train, other):  # other: the same run for Lightning, whose Trainer leaves its model on the CPU
    from batchlab.training.loop import fit
    from batchlab.training.plan import Plan

    train_step, size = built.train_step, built.plan.batch_size
    split = built.dataset.train
    inputs = split.inputs[:20000].cpu().float().sub(built.dataset.mean.cpu()).div(built.dataset.std.cpu())
    pairs = TensorDataset(inputs, split.targets[: len(inputs)].cpu())
    loader = DataLoader(
        pairs,
        size,
        shuffle=True,
        drop_last=True,
        pin_memory=CUDA,
        num_workers=2 if CUDA else 0,
        persistent_workers=CUDA,
    )
    endless = chain.from_iterable(repeat(loader))
    resident = tuple(each.clone() for each in built.stream.take(0, size))

    def step(x, y, from_step=train_step):
        from_step.optimizer.zero_grad()
        from_step.backward(from_step.compute_loss(x, y))
        from_step.optimizer.step()

    def timed(run):
        def measure(count):
            train_step.model.train()
            sync()
            begun = time.perf_counter()
            run(count)
            sync()
            return (time.perf_counter() - begun) / count

        return measure

    def floor(count):
        for _ in range(count):
            step(*resident)

    def ours(with_step):
        def run(count):
            plan = Plan(size, None, num_train, "steps", count, 10**12)
            for _ in fit(with_step, built.stream, plan, built.schedule, built.clock):
                pass

        return run

    def seconds(count):
        plan = Plan(size, None, num_train, "seconds", 0.2, 10**12)
        before = built.clock.measured
        *_, last = fit(train_step, built.stream, plan, built.schedule, built.clock)
        return (built.clock.measured - before) / max(1, last.counts.steps)

    def plain(count):
        for _ in range(count):
            x, y = next(endless)
            step(x.to(DEVICE, non_blocking=True), y.to(DEVICE, non_blocking=True))

    found = {"floor": timed(floor), "ours": timed(ours(train_step)), "DataLoader": timed(plain)}
    if CUDA:
        from graphed import graphed

        found["ours, graphed"] = timed(ours(graphed(train_step, built.stream, size)))
    found["ours, budget=seconds"] = seconds
    try:
        import lightning

        class Module(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.model = other.train_step.model

            def training_step(self, batch, _):
                return other.loss_function(self.model(batch[0]), batch[1])

            def configure_optimizers(self):
                return other.train_step.optimizer

        class Timer(lightning.Callback):
            started = ended = 0.0

            def on_train_batch_end(self, trainer, *_):
                if trainer.global_step == 20:
                    sync()
                    self.started = time.perf_counter()

            def on_train_end(self, *_):
                sync()
                self.ended = time.perf_counter()

        def trainer(count):
            timer, count = Timer(), max(count, 20)
            lightning.Trainer(
                max_steps=20 + count,
                callbacks=[timer],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                accelerator="gpu" if CUDA else "cpu",
                devices=1,
            ).fit(Module(), loader)
            return (timer.ended - timer.started) / count

        found["Lightning"] = trainer
    except ImportError as error:
        say("loop", what="Lightning", failed=str(error))
    return found


def of(what, size, *typed):
    from batchlab.training.build import build

    built, other = (build(config(*typed, f"batch_size={size}", "measure=none"), 0) for _ in range(2))
    blocks, runs = (5, 0.25) if CUDA else (2, 0.002), loops(built, len(built.dataset.train), other)
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
    """Fifty steps replayed against fifty steps eager: the same losses?"""
    from graphed import graphed

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
            train_step = graphed(built.train_step, built.stream, 64) if is_graph else built.train_step
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

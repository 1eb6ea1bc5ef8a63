"""Seconds per optimizer step of our loop against the compute floor, a DataLoader loop and Lightning.

    python scripts/bench/loop.py [data_root=DIR] [models=mlp6x64,convnet] [batch_sizes=32,128]

In one process, interleaved: each block times every loop once, in a shuffled order; figures are medians over
blocks, ratios are taken within a block, with a 95 % bootstrap interval of their median.

  a  compute floor: forward, backward, step on one float32 batch that stays in memory
  e  one index_select of a float32 batch
  b  ours: exact batches across epochs, normalised data, lr schedule, loss sum, clock
  c  a plain loop over DataLoader(TensorDataset, shuffle=True)
  d  Lightning's Trainer, logging, checkpoints and progress bar off, over the same DataLoader
"""

import logging
import os
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from batchlab.config.registration import register_schema
from batchlab.config.resolve import resolved
from batchlab.config.schema import REPOSITORY
from batchlab.report.result_files import write_results
from batchlab.system.progress import make_console
from batchlab.training.build import Built, build
from batchlab.training.loop import fit
from batchlab.training.plan import Plan

LOOP_SECONDS = 0.15
"""A loop runs about so long in each block, at least one step: short, so that a neighbour's load hits all alike."""
SIZE_SECONDS, BLOCKS = 20.0, (5, 40)
"""Time for the blocks of one model and batch size, and their least and largest number."""


def built_for(model: str, batch_size: int, data_root: str) -> Built:
    """Our own run of a model on Fashion-MNIST at a batch size."""
    overrides = ["data=fashion_mnist", f"data_root={data_root}", f"model={model}", f"batch_size={batch_size}"]
    fixed = ["study=bench", "eval.every_examples=1000000000"]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config: DictConfig = compose("train", overrides + fixed)
    return build(resolved(config), seed=0)


class Module(lightning.LightningModule):
    """The same step as a LightningModule."""

    def __init__(self, built: Built) -> None:
        super().__init__()
        self.model, self.built = built.train_step.model, built

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        return self.built.loss_function(self.model(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.built.train_step.optimizer


class Timer(lightning.Callback):
    """Reads the clock after the first step and at the end, so that the Trainer's start does not count."""

    def __init__(self) -> None:
        self.started = self.ended = 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        self.ended = time.perf_counter()
        if trainer.global_step == 1:
            self.started = self.ended


def loops(built: Built, inputs: Tensor, targets: Tensor) -> dict[str, Callable[[int], float]]:
    """Each loop as a function: number of steps -> seconds per step."""
    train_step, batch_size = built.train_step, built.plan.batch_size
    loader = DataLoader(TensorDataset(inputs, targets), batch_size, shuffle=True, drop_last=True)
    endless = chain.from_iterable(repeat(loader))
    resident = inputs[:batch_size].clone(), targets[:batch_size].clone()
    order = torch.randperm(len(inputs))

    def step(batch: tuple[Tensor, Tensor]) -> None:
        train_step.optimizer.zero_grad()
        built.loss_function(train_step.model(batch[0]), batch[1]).backward()
        train_step.optimizer.step()

    def timed(run: Callable[[int], object], num_steps: int) -> float:
        train_step.model.train()
        started = time.perf_counter()
        run(num_steps)
        return (time.perf_counter() - started) / num_steps

    def floor(num_steps: int) -> None:
        for _ in range(num_steps):
            step(resident)

    def select(num_steps: int) -> None:
        for index in range(num_steps):
            start = index * batch_size % (len(order) - batch_size + 1)
            inputs.index_select(0, order[start : start + batch_size])

    def ours(num_steps: int) -> None:
        plan = Plan(batch_size, None, len(inputs), "steps", num_steps, 10**12)
        for _ in fit(train_step, built.stream, plan, built.schedule, built.clock):
            pass

    def plain(num_steps: int) -> None:
        batches: Iterator[tuple[Tensor, Tensor]] = iter(endless)
        for _ in range(num_steps):
            step(next(batches))

    def trainer(num_steps: int) -> float:
        timer = Timer()
        quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        quiet |= {"enable_model_summary": False, "accelerator": built.device.type}
        lightning.Trainer(max_steps=num_steps + 1, callbacks=[timer], **quiet).fit(Module(built), loader)
        return (timer.ended - timer.started) / num_steps

    named = {"a": floor, "e": select, "b": ours, "c": plain}
    return {name: lambda n, run=run: timed(run, n) for name, run in named.items()} | {"d": trainer}


def blocks_of(built: Built, inputs: Tensor, targets: Tensor) -> dict[str, list[float]]:
    """Seconds per step of each loop in each block, after one block that is thrown away."""
    timers, shuffle = loops(built, inputs, targets), random.Random(0)
    timers["a"](1)
    num_steps = max(1, round(LOOP_SECONDS / timers["a"](2)))
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    num_blocks, started = BLOCKS[0], time.perf_counter()
    for block in range(BLOCKS[1] + 1):
        if block == 1:
            num_blocks = max(BLOCKS[0], min(BLOCKS[1], round(SIZE_SECONDS / (time.perf_counter() - started))))
        if block > num_blocks:
            break
        for name in shuffle.sample(sorted(timers), len(timers)):
            measured = timers[name](num_steps)
            if block > 0:
                seconds[name].append(measured)
    return seconds


def ratio(above: list[float], below: list[float]) -> tuple[float, float, float]:
    """Median of the blocks' ratios and its 95 % bootstrap interval."""
    ratios = np.array(above) / np.array(below)
    draws = np.random.default_rng(0).integers(0, len(ratios), (2000, len(ratios)))
    low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
    return float(np.median(ratios)), float(low), float(high)


def find_data(asked: str | None) -> str:
    """The folder with Fashion-MNIST: as asked, else the default root, else the folder beside the project."""
    places = [asked] if asked else [os.environ.get("BATCHLAB_DATA"), REPOSITORY / "data", REPOSITORY / "../shared/data"]
    found = [place for place in places if place and (Path(place) / "FashionMNIST" / "raw").exists()]
    if not found:
        sys.exit(
            "Fashion-MNIST is not there. Type data_root=DIR, or python train.py data=fashion_mnist data.download=true"
        )
    return str(found[0])


def main() -> None:
    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    register_schema()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    data_root = find_data(typed.get("data_root"))
    console, records = make_console(), []
    columns = ("model", "B", "n", "a ms", "e ms", "b ms", "b/(a+e)", "95 %", "(a+e)/a", "b/a", "c/a", "d/a")
    table = Table(
        *columns, title="seconds per step: b ours, a compute floor, e index_select, c DataLoader, d Lightning"
    )
    for model in typed.get("models", "mlp6x64,convnet").split(","):
        for batch_size in map(int, typed.get("batch_sizes", "32,128,512,2048,8192").split(",")):
            built = built_for(model, batch_size, data_root)
            raw = built.dataset.train
            assert isinstance(raw.inputs, Tensor)
            inputs = raw.inputs.float().sub(built.dataset.mean).div_(built.dataset.std)
            seconds = blocks_of(built, inputs, raw.targets)
            both = [a + e for a, e in zip(seconds["a"], seconds["e"], strict=True)]
            ours = ratio(seconds["b"], both)
            over = {name: ratio(values, seconds["a"]) for name, values in (seconds | {"both": both}).items()}
            ms = [f"{statistics.median(seconds[name]) * 1e3:.3g}" for name in "aeb"]
            ratios = [f"{over[name][0]:.2f}" for name in ("both", "b", "c", "d")]
            table.add_row(
                model, str(batch_size), str(len(both)), *ms, f"{ours[0]:.3f}", f"{ours[1]:.2f}-{ours[2]:.2f}", *ratios
            )
            console.print(f"{model} B={batch_size}: b/(a+e) {ours[0]:.3f}, load {os.getloadavg()[0]:.2f}")
            named = {"b/(a+e)": ours} | {f"{name}/a": over[name] for name in "bcd"}
            records += [
                {
                    "what": f"{what} {model} B={batch_size}",
                    "unit": "ratio",
                    "median": round(value[0], 4),
                    "low": round(value[1], 4),
                    "high": round(value[2], 4),
                    "n": len(both),
                }
                for what, value in named.items()
            ]
    console.print(table)
    if typed.get("write", "true") == "true":
        write_results("loop", __doc__ or "", table, records)


if __name__ == "__main__":
    main()

"""Examples per second of images that are read from their files, and the wait before a folder's first batch.

    python scripts/bench/stream.py [folder=DIR] [num_workers=2] [batch_size=128]

A folder of 20,000 JPEGs of 256 x 192 pixels, cut to 192 x 192: decoded they are 2.2 GB, and not kept. Interleaved:
each block reads 2,560 examples with every reader, in a shuffled order, each begun anew and timed from its second batch.
Figures are medians over blocks, ratios are taken within a block, with a 95 % bootstrap interval of their median.

  ours      batchlab's stream, data.resident=auto: exact batches across passes, normalised
  plain     a DataLoader over torchvision's ImageFolder with the same transforms and workers, shuffled, normalised
  resident  batchlab's stream with every image in memory

A folder of 60,000 PNGs of 28 x 28 pixels, which are: seconds of loading it, each time in a new process, without the
imports; the first time, then again. The images are made by this script, in `folder`, and stay there where one is given.
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from batchlab.data.stream import BatchStream
from batchlab.laws.estimate import Estimate, median_of
from batchlab.report.result_files import write_results
from batchlab.system.progress import make_console
from batchlab.training.data_loading import load_dataset, load_placed

NUM_CLASSES, BLOCKS, BLOCK_EXAMPLES = 10, 12, 2560
CPU = torch.device("cpu")
LOAD = """
import json, sys, time
import torch
import torchvision.datasets
from batchlab.training.data_loading import load_placed
started = time.perf_counter()
dataset, resident = load_placed(json.loads(sys.argv[1]), torch.device("cpu"))
assert resident and len(dataset.train)
print(time.perf_counter() - started)
"""
"""What a process does whose loading is timed."""


def make_images(root: Path, suffix: str, shape: tuple[int, int], numbers: range) -> None:
    """Write images of coarse random patterns under noise, in one folder a class."""
    for number in numbers:
        draws = np.random.default_rng(number)
        coarse = draws.integers(0, 200, (6, 8, 3), dtype=np.uint8)
        pattern = np.asarray(Image.fromarray(coarse).resize(shape, Image.Resampling.BICUBIC))
        image = pattern + draws.integers(0, 55, pattern.shape, dtype=np.uint8)
        Image.fromarray(image).save(root / str(number % NUM_CLASSES) / f"{number:05}.{suffix}", quality=90)


def image_folder(parent: Path, suffix: str, shape: tuple[int, int], count: int) -> Path:
    """Make a folder of images, unless it is there."""
    root = parent / f"{count}_{suffix}"
    if not root.exists():
        making = parent / f"making_{root.name}"
        for number in range(NUM_CLASSES):
            (making / str(number)).mkdir(parents=True)
        parts = [range(start, min(start + 500, count)) for start in range(0, count, 500)]
        with ProcessPoolExecutor() as pool:
            list(pool.map(make_images, repeat(making), repeat(suffix), repeat(shape), parts))
        making.rename(root)
    return root


def node_of(root: Path, image_size: int, cache: Path | None = None) -> dict[str, Any]:
    """Return the `data` node of a folder."""
    split = {"val_fraction": 0.1, "test_fraction": 0.1, "split_seed": 0, "augment_flip": False, "augment_crop": 0}
    return (
        {"_target_": "batchlab.data.folder.load_folder", "path": str(root), "image_size": image_size}
        | split
        | ({"cache": str(cache)} if cache else {})
    )


Batches = Iterator[tuple[Tensor, Tensor]]


def readers(node: dict[str, Any], num_workers: int, batch_size: int) -> dict[str, Callable[[], Batches]]:
    """Each reader as a function that begins it anew."""
    dataset = load_dataset(node)
    assert not isinstance(dataset.train.inputs, Tensor)
    in_memory, _ = load_placed(node | {"resident": True}, CPU)
    size = node["image_size"]
    kept = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size), transforms.PILToTensor()])
    images = ImageFolder(node["path"], kept)

    def taken(stream: BatchStream) -> Batches:
        for start in range(0, sys.maxsize, batch_size):
            yield stream.take(start, batch_size)

    def plain() -> Batches:
        loader = DataLoader(images, batch_size, shuffle=True, num_workers=num_workers, drop_last=True)
        for inputs, targets in chain.from_iterable(repeat(loader)):
            yield inputs.float().sub_(dataset.mean).div_(dataset.std), targets

    return {
        "ours": lambda: taken(BatchStream(dataset, 0, CPU, resident=False, num_workers=num_workers)),
        "plain": plain,
        "resident": lambda: taken(BatchStream(in_memory, 0, CPU, resident=True)),
    }


def examples_per_second(begin: Callable[[], Batches], batch_size: int) -> float:
    """Read one block's examples from a reader begun anew, timed from its second batch."""
    batches = begin()
    next(batches)
    started = time.perf_counter()
    for _ in range(BLOCK_EXAMPLES // batch_size):
        next(batches)
    return BLOCK_EXAMPLES // batch_size * batch_size / (time.perf_counter() - started)


def load_seconds(node: dict[str, Any]) -> float:
    """Load a folder for a run in a process of its own, and return the seconds that it took."""
    typed = [sys.executable, "-c", LOAD, json.dumps(node)]
    done = subprocess.run(typed, stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def record(what: str, unit: str, value: Estimate, n: int) -> dict[str, Any]:
    """Make a flat record of a median and its interval."""
    return {"what": what, "unit": unit, "median": value.value, "low": value.low, "high": value.high, "n": n}


def measure(folder: Path, num_workers: int, batch_size: int) -> None:
    """Time both folders and write the results."""
    console, records, shuffle = make_console(), list[dict[str, Any]](), random.Random(0)
    console.print("Making 20,000 JPEGs and 60,000 PNGs ...")
    large, small = (image_folder(folder, *each) for each in (("jpg", (256, 192), 20_000), ("png", (28, 28), 60_000)))
    begun = readers(node_of(large, 192), num_workers, batch_size)
    rates: dict[str, list[float]] = {name: [] for name in begun}
    for block in range(BLOCKS + 1):
        for name in shuffle.sample(sorted(begun), len(begun)):
            rate = examples_per_second(begun[name], batch_size)
            if block > 0:  # the first one warms the files' cache up
                rates[name].append(rate)
    table = Table("reader", "examples/s", "over plain", "95 %", title=f"B = {batch_size}, {num_workers} workers")
    for name, values in rates.items():
        over = median_of(np.array(values) / np.array(rates["plain"]))
        table.add_row(name, f"{np.median(values):,.0f}", f"{over.value:.2f}", f"{over.low:.2f}-{over.high:.2f}")
        records.append(record(f"stream {name}/plain", "ratio", over, BLOCKS))
    console.print(table)
    with tempfile.TemporaryDirectory() as results:
        seconds = [load_seconds(node_of(small, 28, Path(results))) for _ in range(4)]
    table.add_section()
    for what, values in (("60,000 PNGs, first", seconds[:1]), ("60,000 PNGs, again", seconds[1:])):
        table.add_row(what, f"{np.median(values):.1f} s")
        ends = Estimate(float(np.median(values)), min(values), max(values))
        records.append(record(what, "seconds", ends, len(values)))
    console.print(table)
    write_results("stream", __doc__ or "", table, records)


def main() -> None:
    """Read the arguments, measure, and remove the images unless a folder was named."""
    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    folder = Path(typed.get("folder") or tempfile.mkdtemp())
    try:
        measure(folder, int(typed.get("num_workers", "2")), int(typed.get("batch_size", "128")))
    finally:
        if "folder" not in typed:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()

"""Examples that do not stay on the device: read ahead by a DataLoader, copied while others are trained on."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_convert

from batchlab.data.dataset import Split
from batchlab.data.order import Order
from batchlab.errors import ConfigErrors

MOST_EXAMPLES = 512
LOADED_BYTES = 1 << 23
"""A worker's chunk: enough to be worth handing over, and several for each worker fit into a small /dev/shm."""


@dataclass(frozen=True)
class PositionRows:
    """A data set whose keys are positions of the stream; what a DataLoader's workers hold."""

    split: Split
    order: Order

    def __getitems__(self, positions: list[int]) -> tuple[Tensor, Tensor] | ConfigErrors:
        index = self.order.indices(positions[0], len(positions))
        try:
            return self.split.inputs[index], self.split.targets[index]
        except ConfigErrors as errors:
            return errors  # a DataLoader would raise their text alone


def shares(start: int, count: int, stride: int, chunk_size: int) -> Iterator[list[int]]:
    """Yield without end: positions start to start + count, `chunk_size` at a time, then the same `stride` further."""
    while True:
        for begin in range(start, start + count, chunk_size):
            yield list(range(begin, min(begin + chunk_size, start + count)))
        start += stride


def without_errors(chunks: Iterable[tuple[Tensor, Tensor] | ConfigErrors]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what was read; raise what a worker found wrong with it."""
    for chunk in chunks:
        if isinstance(chunk, ConfigErrors):
            raise chunk
        yield chunk


def copied_ahead(chunks: Iterator[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield chunks on a device; a GPU copies each, on a stream of its own, while the one before it is trained on."""
    if device.type != "cuda":
        yield from ((inputs.to(device), targets.to(device)) for inputs, targets in chunks)
        return
    side = torch.cuda.Stream(device)

    def copied(chunk: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.cuda.stream(side):
            return chunk[0].to(device, non_blocking=True), chunk[1].to(device, non_blocking=True)

    ahead = copied(next(chunks))
    for chunk in chunks:
        here, training = ahead, torch.cuda.current_stream(device)
        training.wait_stream(side)
        ahead = copied(chunk)
        for each in here:
            each.record_stream(training)  # so that the side's next copy does not take its memory
        yield here


class LoadedChunks:
    """The training split's stream, read ahead by a DataLoader in chunks of examples, copied to a device, cut as asked.

    Args:
        split: the training split.
        order: which example stands where.
        device: where chunks are wanted.
        num_workers: processes that read; 0 = this one, when it is asked.
    """

    def __init__(self, split: Split, order: Order, device: torch.device, num_workers: int) -> None:
        example_bytes = split.inputs.dtype.itemsize * math.prod(split.inputs.shape[1:])
        self._chunk_size = size = min(MOST_EXAMPLES, max(1, LOADED_BYTES // example_bytes))
        self._rows, self._device, self._num_workers = PositionRows(split, order), device, num_workers
        self._expected: tuple[int, int, int] | None = None
        self._restart(0, shares(0, size, size, size))

    def expect(self, start: int, count: int, stride: int) -> None:
        """Read ahead as asked for next: within start to start + count, then as far on from start + stride."""
        if self._expected != (start, count, stride):
            self._restart(start, shares(start, count, stride, self._chunk_size))
        self._hold_nothing(start)
        self._expected = (start + stride, count, stride)

    def __call__(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Return raw inputs and targets [count, ...] at positions start to start + count."""
        size = self._chunk_size
        if not self._begin <= start <= self._begin + len(self._targets):
            self._restart(start, shares(start, size, size, size))
        inputs, targets = [self._inputs[start - self._begin :]], [self._targets[start - self._begin :]]
        while sum(map(len, targets)) < count:
            more_inputs, more_targets = next(self._chunks)
            inputs.append(more_inputs)
            targets.append(more_targets)
        if len(targets) > 1:
            inputs, targets = [torch.cat(inputs)], [torch.cat(targets)]
        self._begin, self._inputs, self._targets = start, inputs[0], targets[0]
        return self._inputs[:count], self._targets[:count]

    def _restart(self, start: int, positions: Iterator[list[int]]) -> None:
        loader = DataLoader(
            self._rows,  # pyright: ignore[reportArgumentType]
            batch_sampler=positions,  # pyright: ignore[reportArgumentType]
            collate_fn=default_convert,  # a chunk is a batch already
            num_workers=self._num_workers,
            pin_memory=self._device.type == "cuda",
        )
        self._chunks = copied_ahead(without_errors(loader), self._device)
        self._hold_nothing(start)

    def _hold_nothing(self, start: int) -> None:
        split, nothing = self._rows.split, torch.arange(0)
        self._begin, self._targets = start, split.targets[nothing].to(self._device)
        self._inputs = split.inputs[nothing].to(self._device)

"""The stream of training examples: shuffled passes, one after the other, cut anywhere.

Position p of the stream lies in pass p // N; the order of a pass, and what augmentation does to each of its
places, follow from (seed, pass) alone. So a batch is a slice of the stream, exact across the border of two
passes, the same whatever came before it, and the same from memory or through a DataLoader.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_convert

from batchlab.data.dataset import Dataset, Split
from batchlab.data.transforms import Prepare
from batchlab.errors import ConfigErrors

CHUNK_BYTES = {"cpu": 1 << 20, "cuda": 1 << 26, "mps": 1 << 26}
"""Several small batches are gathered at once: on a CPU as many as its cache holds, else to save launches."""
LOADED_BYTES = 1 << 23
"""A worker's chunk: enough to be worth handing over, and several for each worker fit into a small /dev/shm."""


@lru_cache(maxsize=4)
def pass_permutation(num_examples: int, seed: int, epoch: int) -> Tensor:
    """Return the order of pass `epoch`: [N] indices, each once."""
    return torch.randperm(num_examples, generator=_generator(seed, epoch, 0))


@lru_cache(maxsize=4)
def pass_draws(num_examples: int, seed: int, epoch: int) -> Tensor:
    """Draw uniform numbers in [0, 1) of pass `epoch`: [N, 3], for flip, vertical and horizontal shift."""
    return torch.rand(num_examples, 3, generator=_generator(seed, epoch, 1))


def _generator(seed: int, epoch: int, purpose: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, epoch, purpose]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


@dataclass(frozen=True)
class Order:
    """Which example stands at each position of the stream, and what its augmentation draws."""

    num_examples: int
    seed: int

    def indices(self, start: int, count: int) -> Tensor:
        """Return the examples at positions start to start + count: [count] int64."""
        return self._rows(pass_permutation, start, count)

    def draws(self, start: int, count: int) -> Tensor:
        """Return the uniform numbers of positions start to start + count: [count, 3]."""
        return self._rows(pass_draws, start, count)

    def _rows(self, rows_of: Callable[[int, int, int], Tensor], start: int, count: int) -> Tensor:
        parts = list[Tensor]()
        while count > 0:
            epoch, offset = divmod(start, self.num_examples)
            parts.append(rows_of(self.num_examples, self.seed, epoch)[offset : offset + count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class BatchStream:
    """Batches of normalised, augmented training examples on the device, by position.

    Args:
        dataset: examples, their normalisation and augmentation; `placed` where resident.
        seed: of order and augmentation.
        device: where batches are wanted.
        resident: the training split is one tensor on the device; else a DataLoader reads it.
        num_workers: processes of that DataLoader; 0 = it reads when it is asked.
    """

    def __init__(self, dataset: Dataset, seed: int, device: torch.device, resident: bool, num_workers: int = 0) -> None:
        self._order = Order(len(dataset.train), seed)
        self._device = device
        self._prepare = Prepare(dataset, device, dataset.augment)
        split, order = dataset.train, self._order
        self._read = gather(split, order) if resident else LoadedChunks(split, order, device, num_workers)
        example_bytes = 4 * int(np.prod(dataset.input_shape))
        self._chunk_examples = max(1, CHUNK_BYTES[device.type] // example_bytes)
        self._start, self._inputs, self._targets = 0, torch.empty(0), torch.empty(0)
        self._end: int | None = None

    def expect(self, start: int, count: int, stride: int) -> None:
        """Read nothing of what other processes take: what is taken next lies in this share, then in the next one.

        Args:
            start: position of this process's first example of a batch.
            count: examples of its share.
            stride: positions from one share to the next: the size of the whole batch.
        """
        self._end = start + count
        is_here = self._start <= start and self._end <= self._start + len(self._targets)
        if isinstance(self._read, LoadedChunks) and not is_here:
            self._read.expect(start, count, stride)

    def take(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Return inputs [count, *input_shape] float32 and targets [count] from `start`; valid until the next call."""
        offset = start - self._start
        if offset < 0 or offset + count > len(self._targets):
            ahead = count * max(1, self._chunk_examples // count)
            self._gather(start, ahead if self._end is None else min(ahead, self._end - start))
            offset = 0
        return self._inputs[offset : offset + count], self._targets[offset : offset + count]

    def state_dict(self) -> dict[str, int]:
        """Return which examples are gathered now; nothing else of a stream moves."""
        return {"start": self._start, "count": len(self._targets)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Gather the same examples together: a product may differ in its last bit where its batch lies elsewhere."""
        if state["count"]:
            self._gather(state["start"], state["count"])

    def _gather(self, start: int, count: int) -> None:
        raw, targets = self._read(start, count)
        draws = self._order.draws(start, count) if self._prepare.augment else None
        self._inputs, self._targets, self._start = self._prepare(raw, draws), targets, start


Reader = Callable[[int, int], tuple[Tensor, Tensor]]
"""(start, count) -> raw inputs and targets at these positions of the stream."""


def gather(split: Split, order: Order) -> Reader:
    """Return a reader of a split whose tensors lie on one device, there."""
    inputs, targets = split.inputs, split.targets
    assert isinstance(inputs, Tensor)

    buffer = torch.empty(0, dtype=inputs.dtype, device=inputs.device)

    def read(start: int, count: int) -> tuple[Tensor, Tensor]:
        """Return raw inputs, in the buffer, and targets at these positions."""
        nonlocal buffer
        index = order.indices(start, count).to(inputs.device)
        if len(buffer) != count:
            # new pages cost as much as the copy into them: keep one buffer
            buffer = torch.empty(count, *inputs.shape[1:], dtype=inputs.dtype, device=inputs.device)
        torch.index_select(inputs, 0, index, out=buffer)
        return buffer, targets.index_select(0, index)

    return read


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
        chunk_size: examples of a chunk; None = as many as `LOADED_BYTES` hold, at most 512.
    """

    def __init__(
        self, split: Split, order: Order, device: torch.device, num_workers: int = 0, chunk_size: int | None = None
    ) -> None:
        example_bytes = split.inputs.dtype.itemsize * math.prod(split.inputs.shape[1:])
        self._chunk_size = chunk_size or min(512, max(1, LOADED_BYTES // example_bytes))
        self._rows, self._device, self._num_workers = PositionRows(split, order), device, num_workers
        chunk_size = self._chunk_size
        self._expected: tuple[int, int, int] | None = None
        self._restart(0, shares(0, chunk_size, chunk_size, chunk_size))

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

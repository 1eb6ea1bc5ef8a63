"""The stream of training examples: shuffled passes, one after the other, cut anywhere.

Position p of the stream lies in pass p // N; the order of a pass, and what augmentation does to each of its
places, follow from (seed, pass) alone. So a batch is a slice of the stream, exact across the border of two
passes, the same whatever came before it, and the same from memory or through a DataLoader.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from batchlab.data.dataset import Dataset, Split
from batchlab.data.loaded_chunks import LoadedChunks
from batchlab.data.order import Order
from batchlab.data.transforms import Prepare

CHUNK_BYTES = {"cpu": 1 << 20, "cuda": 1 << 26, "mps": 1 << 26}
"""Several small batches are gathered at once: on a CPU as many as its cache holds, else to save launches."""


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

"""Which example stands where in the stream of training examples: a function of (seed, pass) alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


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

"""Estimate the noise scale from accumulated steps: gradient norms of the first part and of the whole batch."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from batchlab.laws.gradient_noise import NoiseScale, noise_scale, two_batch

MAX_STEPS = 1024
"""So many steps are remembered: older ones are of other weights."""
MIN_STEPS = 16
"""An estimate goes back at least so far, where there were so many steps: fewer give no interval worth having."""


class GradNormAccumulator:
    """Squared norms of the parameters' gradients in accumulated steps, kept on the device until someone reads them."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._norms: deque[Tensor] = deque(maxlen=2 * MAX_STEPS)
        self._sizes: deque[tuple[float, int]] = deque(maxlen=MAX_STEPS)
        self._num_new = 0

    def add(self, num_examples: int, batch_size: int) -> None:
        """Append the norm of the accumulated gradient: of the first part, then of the whole batch.

        Its `num_examples` so far are weighted by their share of the batch.
        """
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        self._norms.append(torch.stack(_norms(gradients)))
        if num_examples < batch_size:
            self._sizes.append((num_examples, batch_size))
            self._num_new += 1

    def add_shares(self, mean_square: Tensor, num_examples: float, batch_size: int) -> None:
        """Append the norms of a batch that processes share, once its gradient is the whole batch's.

        Args:
            mean_square: mean over the shares of the squared norm of a share's own mean gradient, a scalar.
            num_examples: harmonic mean of the shares' sizes: 1/n is what the noise goes with.
            batch_size: examples of the whole batch.
        """
        self._norms.append(mean_square.sqrt().reshape(1) * (num_examples / batch_size))
        self._sizes.append((num_examples, batch_size))
        self._num_new += 1
        self.add(batch_size, batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Return the norms over all parameters, and the sizes they belong to."""
        norms = torch.stack(_norms(list(self._norms))) if self._norms else None
        return {"norms": norms, "sizes": list(self._sizes), "num_new": self._num_new}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the norms and sizes of steps that another process made."""
        norms = state["norms"]
        parts = () if norms is None else norms.to(self._parameters[0].device).split(1)
        self._norms = deque(parts, self._norms.maxlen)
        self._sizes, self._num_new = deque(state["sizes"], self._sizes.maxlen), state["num_new"]

    def read(self, population: float) -> NoiseScale | None:
        """Return the noise scale over the steps since the last reading, and at least the last 16; None without a step.

        `population` is the number of examples in the training split.
        """
        num_steps = min(len(self._sizes), max(self._num_new, MIN_STEPS))
        if not self._num_new:
            return None
        self._num_new = 0
        recent = list(self._norms)[-2 * num_steps :]
        norms = torch.stack(_norms(recent)).square()
        sizes = np.array(list(self._sizes)[-num_steps:])
        small, big = norms.cpu().double().numpy().reshape(-1, 2).T
        small = small * (sizes[:, 1] / sizes[:, 0]) ** 2  # the part's share of the batch is in its gradient
        return noise_scale(*two_batch(small, big, sizes[:, 0], sizes[:, 1], population))


def _norms(tensors: list[Tensor]) -> tuple[Tensor, ...]:
    # two kernels and no wait for the device; torch.nn.utils.get_total_norm takes three times as long
    return torch._foreach_norm(tensors)  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]

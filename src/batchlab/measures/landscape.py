"""The training loss around a model: a function of how far its trainable parameters are moved."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call

from batchlab.measures.gradients import undisturbed
from batchlab.models.norm import norms_of


@dataclass(frozen=True)
class Landscape:
    """The mean loss L(w + d) over a fixed sample of examples, w the trainable parameters as one vector [p].

    Nothing here writes to the model: displaced parameters are copies. Parameters that do not require a gradient are
    no coordinates; those that the loss does not depend on have gradient 0.
    """

    model: nn.Module  # inputs -> logits; in the mode that `held` gives it
    loss_function: Callable[[Tensor, Tensor], Tensor]  # (logits, targets) -> scalar mean
    batches: Iterable[tuple[Tensor, Tensor]]  # the sample in parts (inputs, targets), the same each time it is iterated
    lr: float = 1.0  # of the run, after lr scaling, before its schedule
    seed: int = 0  # of everything that a measure draws

    @cached_property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Return the p coordinates, by name."""
        return {name: each for name, each in self.model.named_parameters() if each.requires_grad}

    @cached_property
    def point(self) -> Tensor:
        """Return the weights w: [p], a copy."""
        return flat([parameter.detach() for parameter in self.parameters.values()]).clone()

    def loss(self, displacement: Tensor | None = None) -> float:
        """Return L(w + d); d [p] is 0 where left out."""
        with torch.no_grad():
            moved = self._moved(displacement)
            return sum(loss.item() * count for loss, count in self._losses(moved)) / self.num_examples

    def gradient(self, displacement: Tensor | None = None) -> tuple[float, Tensor]:
        """Return L(w + d) and its gradient [p]."""
        moved = {name: each.requires_grad_() for name, each in self._moved(displacement).items()}
        total, gradient = 0.0, torch.zeros_like(self.point)
        for loss, count in self._losses(moved):
            parts = torch.autograd.grad(loss, list(moved.values()), allow_unused=True, materialize_grads=True)
            gradient += flat(parts) * (count / self.num_examples)
            total += loss.item() * count / self.num_examples
        return total, gradient

    @cached_property
    def num_examples(self) -> int:
        """Count the examples in the sample."""
        return sum(len(targets) for _, targets in self.batches)

    def normal(self, *shape: int, stream: int = 0) -> Tensor:
        """Draw standard normal numbers that follow from (seed, stream) alone, as the parameters' type and device."""
        return self._drawn(torch.randn, shape, stream)

    def uniform(self, *shape: int, stream: int = 0) -> Tensor:
        """Draw uniform numbers in [-1, 1), likewise."""
        return 2 * self._drawn(torch.rand, shape, stream) - 1

    def _drawn(self, draw: Callable[..., Tensor], shape: tuple[int, ...], stream: int) -> Tensor:
        # on the host, so that every device gets the same numbers
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + stream)
        return draw(shape, generator=generator, dtype=self.point.dtype).to(self.point.device)

    def _moved(self, displacement: Tensor | None) -> dict[str, Tensor]:
        vector = self.point if displacement is None else self.point + displacement
        sizes = [each.numel() for each in self.parameters.values()]
        parts = zip(self.parameters.items(), vector.split(sizes), strict=True)
        return {name: part.view(each.shape).detach() for (name, each), part in parts}

    def _losses(self, moved: dict[str, Tensor]) -> Iterator[tuple[Tensor, int]]:
        for inputs, targets in self.batches:
            logits = functional_call(self.model, moved, (inputs,))
            yield self.loss_function(logits, targets), len(targets)


def flat(parts: Sequence[Tensor]) -> Tensor:
    """Flatten tensors to one vector, in order."""
    return torch.cat([part.reshape(-1) for part in parts])


def precise_loss(loss_function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss in float64, from logits of any type.

    Float32 rounds the cross entropy of a well-fitted example to 0, and with it every difference of losses.
    """
    exact = deepcopy(loss_function).double() if isinstance(loss_function, nn.Module) else loss_function

    def compute(logits: Tensor, targets: Tensor) -> Tensor:
        if logits.device.type == "mps":  # has no float64
            return loss_function(logits.float(), targets)
        return exact(logits.double(), targets.double() if targets.is_floating_point() else targets)

    return compute


@contextmanager
def held(model: nn.Module, batch_norm: str) -> Iterator[None]:
    """Hold the model as it is measured; its modes, buffers and every random stream are put back afterwards.

    Everything is in evaluation mode, dropout too. Batch norm either uses its running statistics (``eval``), or those
    of each part of the sample (``train``), leaving the running ones alone. Convolutions count in full float32.
    """
    norms = norms_of(model)
    tracked = [module.track_running_stats for module in norms]
    cudnn = torch.backends.cudnn
    full = cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False)
    with undisturbed(model), full:
        try:
            for module in norms if batch_norm == "train" else []:
                module.train()
                module.track_running_stats = False
            yield
        finally:
            for module, tracks in zip(norms, tracked, strict=True):
                module.track_running_stats = tracks


def named(name: str, values: float | dict[str, float]) -> dict[str, float]:
    """Return a number, or numbers by pattern as ``{"*": 3.2, "*_converged": 1.0}``, by metric: ``sharpness/<name>``."""
    numbers = values if isinstance(values, dict) else {"*": values}
    return {f"sharpness/{pattern.replace('*', name)}": float(value) for pattern, value in numbers.items()}

"""Batch norm with the statistics of the whole batch, though several processes hold a share of it each.

torch.nn.SyncBatchNorm is for GPUs only; this one works on any device that the process group does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SyncBatchNorm(nn.Module):
    """Batch norm that takes the place of another, `norm`, with its parameters, buffers and their names.

    ``y = weight * (x - mean) / sqrt(var + eps) + bias`` with mean and (biased) variance over the examples and positions
    of all processes, which may hold unequal shares. Outside of `shared_norms`, e.g. where the first process measures
    something on its own, and in evaluation mode it is the batch norm that it replaced.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, norm: _BatchNorm, group: dist.ProcessGroup | None) -> None:
        super().__init__()
        self.eps, self.momentum, self.is_shared, self._group = norm.eps, norm.momentum, False, group
        for name in ("weight", "bias"):
            self.register_parameter(name, getattr(norm, name))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.train(norm.training)

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise activations [n, C, *positions]; same shape and type."""
        if not (self.training and self.is_shared):
            use_batch = self.training or self.running_mean is None
            moment = self._count_batch() if self.training else 0.0
            arguments = (self.running_mean, self.running_var, self.weight, self.bias, use_batch, moment, self.eps)
            return nn.functional.batch_norm(inputs, *arguments)
        exact = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        normal, mean, var, count = Normalised.apply(exact, self.eps, self._group)  # pyright: ignore
        self._track(mean, var * (count / (count - 1)))
        if self.weight is not None and self.bias is not None:
            per_channel = (1, -1, *[1] * (inputs.ndim - 2))
            normal = normal * self.weight.view(per_channel) + self.bias.view(per_channel)
        return normal.to(inputs.dtype)

    def _count_batch(self) -> float:
        if self.num_batches_tracked is None:
            return 0.0
        self.num_batches_tracked.add_(1)
        return 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum

    def _track(self, mean: Tensor, unbiased: Tensor) -> None:
        weight = self._count_batch()
        if self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean), weight)
                self.running_var.lerp_(unbiased.to(self.running_var), weight)


class Normalised(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) over all processes, and mean, var [C] and count; backward over all of them too.

    Source: Ioffe & Szegedy 2015, section 3, the gradients after algorithm 1; moments of shares as in Chan et al. 1979.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, eps: float, group: dist.ProcessGroup | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalise inputs [n, C, *positions]."""
        over = [0, *range(2, inputs.ndim)]
        var, mean = torch.var_mean(inputs, dim=over, correction=0)
        moments = torch.zeros(dist.get_world_size(), 2 * len(mean) + 1, device=inputs.device, dtype=inputs.dtype)
        mine = inputs.numel() // len(mean)
        moments[dist.get_rank()] = torch.cat([mean, var, mean.new_full((1,), mine)])
        dist.all_reduce(moments, group=group)
        means, variances, counts = moments.split([len(mean), len(mean), 1], dim=1)
        count = counts.sum()
        mean = (means * counts).sum(0) / count
        var = ((variances + (means - mean).square()) * counts).sum(0) / count
        shape = (1, -1, *[1] * (inputs.ndim - 2))
        inverse = torch.rsqrt(var + eps)
        normal = (inputs - mean.view(shape)) * inverse.view(shape)
        ctx.save_for_backward(normal, inverse, count)
        ctx.group = group
        ctx.mark_non_differentiable(mean, var, count)
        return normal, mean, var, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Compute dx = (dy - mean(dy) - y * mean(dy * y)) / sqrt(var + eps), the means over all processes."""
        (normal, inverse, count), gradient = ctx.saved_tensors, gradients[0]
        over, shape = [0, *range(2, gradient.ndim)], (1, -1, *[1] * (gradient.ndim - 2))
        sums = torch.stack([gradient.sum(over), (gradient * normal).sum(over)])
        dist.all_reduce(sums, group=ctx.group)
        mean, along = (sums / count).unbind()
        return (gradient - mean.view(shape) - normal * along.view(shape)) * inverse.view(shape), None, None


def synchronise(model: nn.Module, group: dist.ProcessGroup | None) -> None:
    """Replace every batch norm below a model, in place, by one whose statistics are those of a group of processes.

    Parameters and the names in its state stay the same.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, SyncBatchNorm(child, group))


@contextmanager
def shared_norms(norms: Sequence[SyncBatchNorm]) -> Iterator[None]:
    """Share batch statistics in the block: every process sends its part of one batch through at the same time."""
    for norm in norms:
        norm.is_shared = True
    try:
        yield
    finally:
        for norm in norms:
            norm.is_shared = False

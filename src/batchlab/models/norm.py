"""Normalisation of hidden activations, and how it depends on the batch."""

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchlab.data.argument_checks import refuse, whole_number
from batchlab.errors import config_error, nearest

NORMS = ("batch", "ghost_batch", "layer", "none")


class GhostBatchNorm(nn.Module):
    """Batch norm whose statistics come from groups of `ghost_size` consecutive examples.

    In training each group is normalised by its own mean and (biased) variance over its examples and positions,
    ``y = weight * (x - mean_g) / sqrt(var_g + eps) + bias``. The running statistics make one momentum step per
    batch, towards the mean over the groups of mean_g and of the unbiased var_g; evaluation uses them. With
    ghost_size = batch size it is `torch.nn.BatchNorm1d` or `torch.nn.BatchNorm2d`.

    Attributes:
        track_running_stats: whether training moves the running statistics.

    Args:
        num_features: channels C of inputs [B, C] or [B, C, height, width].
        ghost_size: examples per group, at least 2; divides every training batch.
        eps: added to the variance.
        momentum: weight of a batch in the running statistics, in [0, 1].

    Source: Hoffer et al. 2017, section 4, algorithm 1.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, ghost_size: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        refuse(whole_number("model.ghost_size", ghost_size, 2, 2))
        self.num_features, self.ghost_size, self.eps, self.momentum = num_features, ghost_size, eps, momentum
        self.track_running_stats = True
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise activations [B, C] or [B, C, *positions]; same shape and type.

        Raises:
            ConfigErrors: in training, where ghost_size does not divide B.
        """
        per_channel = (1, -1, *[1] * (inputs.ndim - 2))
        # Half precision has too few digits for sums over a group.
        exact = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        if self.training:
            normal = self._normalise_groups(exact)
        else:
            scale = torch.rsqrt(self.running_var + self.eps).view(per_channel)
            normal = (exact - self.running_mean.view(per_channel)) * scale
        return (normal * self.weight.view(per_channel) + self.bias.view(per_channel)).to(inputs.dtype)

    def _normalise_groups(self, inputs: Tensor) -> Tensor:
        size = self.ghost_size
        if len(inputs) % size:
            allowed = f"it must divide the (micro-)batch, which has {len(inputs)} examples"
            divisors = [n for n in range(2, len(inputs) + 1) if len(inputs) % n == 0]
            fix = f"model.ghost_size={min(divisors, key=lambda n: abs(n - size))}" if divisors else "model.norm=layer"
            raise config_error("model.ghost_size", size, allowed, fix)
        groups = inputs.unflatten(0, (-1, size))
        over = [1, *range(3, groups.ndim)]
        var, mean = torch.var_mean(groups, dim=over, correction=0, keepdim=True)
        if self.track_running_stats:
            self._track(groups, mean, var)
        return ((groups - mean) * torch.rsqrt(var + self.eps)).flatten(0, 1)

    def _track(self, groups: Tensor, mean: Tensor, var: Tensor) -> None:
        with torch.no_grad():
            count = groups[0].numel() // self.num_features
            self.running_mean.lerp_(mean.flatten(1).mean(0).to(self.running_mean), self.momentum)
            unbiased = var.flatten(1).mean(0) * (count / (count - 1))
            self.running_var.lerp_(unbiased.to(self.running_var), self.momentum)

    def extra_repr(self) -> str:
        """Return what `print` shows between the brackets."""
        return f"{self.num_features}, ghost_size={self.ghost_size}, eps={self.eps}, momentum={self.momentum}"


def norms_of(model: nn.Module) -> list[_BatchNorm | GhostBatchNorm]:
    """Return the layers of a model that normalise over examples."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm | GhostBatchNorm)]


def pass_sizes(model: nn.Module) -> tuple[int, int]:
    """Return the fewest examples of a training pass that batch norm takes, and what their number is a multiple of."""
    norms = norms_of(model)
    unit = math.lcm(*(norm.ghost_size for norm in norms if isinstance(norm, GhostBatchNorm)))
    return max(unit, 2 if norms else 1), unit


def check_norm(norm: str, ghost_size: int | None) -> None:
    """Refuse an unknown norm, and a ghost size that is missing or without effect; arguments as in `make_norm`."""
    if norm not in NORMS:
        fix = f"model.norm={nearest(str(norm), NORMS) or 'none'}"
        raise config_error("model.norm", norm, f"one of {', '.join(NORMS)}", fix)
    if norm == "ghost_batch":
        if ghost_size is None:
            allowed = "ghost_batch needs the number of examples whose statistics are shared"
            raise config_error("model.ghost_size", "null", allowed, "model.ghost_size=32")
        refuse(whole_number("model.ghost_size", ghost_size, 2, 2))
    elif ghost_size is not None:
        allowed = f"it has no effect with model.norm={norm}"
        raise config_error("model.ghost_size", ghost_size, allowed, "model.ghost_size=null, or model.norm=ghost_batch")


def make_norm(norm: str, num_features: int, num_dims: int, ghost_size: int | None) -> nn.Module:
    """Return a normalisation layer; an Identity for ``none``.

    Args:
        norm: ``batch``, ``ghost_batch``, ``layer`` (LayerNorm for vectors, GroupNorm with one group for feature
            maps, which is the same over channels and positions) or ``none``.
        num_features: channels C.
        num_dims: 1 for vectors [B, C], 2 for feature maps [B, C, height, width].
        ghost_size: examples per group of ``ghost_batch``; None with every other norm.

    Raises:
        ConfigErrors: where norm and ghost_size do not fit, see `check_norm`.
    """
    check_norm(norm, ghost_size)
    if norm == "batch":
        return nn.BatchNorm1d(num_features) if num_dims == 1 else nn.BatchNorm2d(num_features)
    if norm == "layer":
        return nn.LayerNorm(num_features) if num_dims == 1 else nn.GroupNorm(1, num_features)
    if norm == "ghost_batch":
        assert ghost_size is not None
        return GhostBatchNorm(num_features, ghost_size)
    return nn.Identity()

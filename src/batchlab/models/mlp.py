"""Networks of fully connected layers: of any width and depth, and the one of a 2017 post that timed batch sizes."""

import math
from collections.abc import Sequence

from torch import nn

from batchlab.data.argument_checks import refuse, whole_number
from batchlab.errors import config_error
from batchlab.models.norm import check_norm, make_norm


def mlp(
    input_shape: Sequence[int],
    num_classes: int,
    width: int = 128,
    depth: int = 2,
    norm: str = "none",
    ghost_size: int | None = None,
) -> nn.Sequential:
    """Build a fully connected network: flatten, `depth` times (linear, norm, ReLU), linear.

    Args:
        input_shape: shape of one example, without batch; flattened.
        num_classes: outputs; 1 for regression.
        width: units of each hidden layer.
        depth: hidden layers; 0 is a linear model.
        norm: ``batch``, ``ghost_batch``, ``layer`` or ``none``, before the ReLU of each hidden layer.
        ghost_size: examples per group of ``ghost_batch``; None with every other norm.

    Returns:
        A network from [B, *input_shape] to logits [B, num_classes].

    Raises:
        ConfigErrors: where a size is not allowed, or a norm has no effect.
    """
    refuse(whole_number("model.width", width, 1, 1))
    refuse(whole_number("model.depth", depth, 0, 0))
    check_norm(norm, ghost_size)
    if depth == 0 and norm != "none":
        allowed = "with model.depth=0 there is no hidden layer to normalise"
        raise config_error("model.norm", norm, allowed, "model.norm=none")
    return _stack(input_shape, num_classes, width, [norm] * depth, ghost_size)


def mlp6x64(
    input_shape: Sequence[int], num_classes: int, norm: str = "batch", ghost_size: int | None = None
) -> nn.Sequential:
    """Build six hidden layers of 64 units with ReLU, norm in the last hidden layer only; arguments as in `mlp`.

    Source: the 2017 post that timed this network for batch sizes 100 to 135,844 on CPU and GPU.
    """
    return _stack(input_shape, num_classes, 64, [*["none"] * 5, norm], ghost_size)


def _stack(
    input_shape: Sequence[int], num_classes: int, width: int, norms: Sequence[str], ghost_size: int | None
) -> nn.Sequential:
    """Return flatten, for each norm linear, norm (left out for ``none``) and ReLU, then linear."""
    layers, num_inputs = list[nn.Module]([nn.Flatten()]), math.prod(input_shape)
    for norm in norms:
        normalise = [] if norm == "none" else [make_norm(norm, width, 1, ghost_size)]
        layers += [nn.Linear(num_inputs, width), *normalise, nn.ReLU()]
        num_inputs = width
    return nn.Sequential(*layers, nn.Linear(num_inputs, num_classes))

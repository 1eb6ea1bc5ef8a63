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
        raise config_error(
            "model.norm", norm, "with model.depth=0 there is no hidden layer to normalise", "model.norm=none"
        )
    layers: list[nn.Module] = [nn.Flatten()]
    num_inputs = math.prod(input_shape)
    for _ in range(depth):
        layers += _hidden_layer(num_inputs, width, norm, ghost_size)
        num_inputs = width
    return nn.Sequential(*layers, nn.Linear(num_inputs, num_classes))


def _hidden_layer(num_inputs: int, width: int, norm: str, ghost_size: int | None) -> list[nn.Module]:
    """Return linear, norm (left out for ``none``), ReLU."""
    normalise = [] if norm == "none" else [make_norm(norm, width, 1, ghost_size)]
    return [nn.Linear(num_inputs, width), *normalise, nn.ReLU()]


def mlp6x64(
    input_shape: Sequence[int], num_classes: int, norm: str = "batch", ghost_size: int | None = None
) -> nn.Sequential:
    """Build six hidden layers of 64 units with ReLU, norm in the last hidden layer only; arguments as in `mlp`.

    Source: the 2017 post that timed this network for batch sizes 100 to 135,844 on CPU and GPU.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    num_inputs = math.prod(input_shape)
    for place in range(6):
        layers += _hidden_layer(num_inputs, 64, *((norm, ghost_size) if place == 5 else ("none", None)))
        num_inputs = 64
    return nn.Sequential(*layers, nn.Linear(64, num_classes))

"""Networks of fully connected layers: of any width and depth, and the one of a 2017 post that timed batch sizes."""

import math
from collections.abc import Sequence

from torch import nn

from batchlab.errors import config_error
from batchlab.models.arguments import require_at_least
from batchlab.models.norm import check_norm, make_norm


def mlp(
    input_shape: Sequence[int],
    num_classes: int,
    width: int = 128,
    depth: int = 2,
    norm: str = "none",
    ghost_size: int | None = None,
) -> nn.Sequential:
    """A fully connected network: flatten, `depth` times (linear, norm, ReLU), linear.

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
    require_at_least("model.width", width, 1)
    require_at_least("model.depth", depth, 0)
    check_norm(norm, ghost_size)
    if depth == 0 and norm != "none":
        raise config_error(
            "model.norm", norm, "with model.depth=0 there is no hidden layer to normalise", "model.norm=none"
        )
    layers: list[nn.Module] = [nn.Flatten()]
    num_inputs = math.prod(input_shape)
    for _ in range(depth):
        layers += hidden_layer(num_inputs, width, norm, ghost_size)
        num_inputs = width
    return nn.Sequential(*layers, nn.Linear(num_inputs, num_classes))


def hidden_layer(num_inputs: int, width: int, norm: str, ghost_size: int | None) -> list[nn.Module]:
    """Linear, norm (left out for ``none``), ReLU.

    Args:
        num_inputs: units that come in.
        width: units that go out.
        norm: see `batchlab.models.norm.make_norm`.
        ghost_size: see `batchlab.models.norm.make_norm`.

    Returns:
        The layers from [B, num_inputs] to [B, width], in order.
    """
    normalise = [] if norm == "none" else [make_norm(norm, width, 1, ghost_size)]
    return [nn.Linear(num_inputs, width), *normalise, nn.ReLU()]


def mlp6x64(
    input_shape: Sequence[int], num_classes: int, norm: str = "batch", ghost_size: int | None = None
) -> nn.Sequential:
    """Six hidden layers of 64 units with ReLU, norm in the last hidden layer only.

    Args:
        input_shape: shape of one example, without batch; flattened.
        num_classes: outputs; 1 for regression.
        norm: ``batch``, ``ghost_batch``, ``layer`` or ``none``, before the ReLU of the sixth hidden layer.
        ghost_size: examples per group of ``ghost_batch``; None with every other norm.

    Returns:
        A network from [B, *input_shape] to logits [B, num_classes].

    Raises:
        ConfigErrors: where norm and ghost_size do not fit.

    Source: the 2017 post that timed this network for batch sizes 100 to 135,844 on CPU and GPU.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    num_inputs = math.prod(input_shape)
    for place in range(6):
        layers += hidden_layer(num_inputs, 64, *((norm, ghost_size) if place == 5 else ("none", None)))
        num_inputs = 64
    return nn.Sequential(*layers, nn.Linear(64, num_classes))

"""The network of a 2017 post that timed batch sizes."""

import math
from collections.abc import Sequence

from torch import nn

from batchlab.models.mlp import hidden_layer

NUM_HIDDEN = 6
WIDTH = 64


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
    for _ in range(NUM_HIDDEN - 1):
        layers += hidden_layer(num_inputs, WIDTH, "none", None)
        num_inputs = WIDTH
    layers += hidden_layer(num_inputs, WIDTH, norm, ghost_size)
    return nn.Sequential(*layers, nn.Linear(WIDTH, num_classes))

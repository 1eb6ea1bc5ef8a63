"""A small convolutional network."""

from collections.abc import Sequence

from torch import nn

from batchlab.data.argument_checks import image_shape, refuse, whole_number
from batchlab.models.norm import check_norm, make_norm


def convnet(
    input_shape: Sequence[int], num_classes: int, width: int = 32, norm: str = "batch", ghost_size: int | None = None
) -> nn.Sequential:
    """Build three blocks (3x3 convolution, norm, ReLU, 2x2 max pool), global average pool, linear.

    Args:
        input_shape: (channels, height, width) of one image, at least 8x8 pixels.
        num_classes: outputs; 1 for regression.
        width: channels of the first block; the next have two and four times as many.
        norm: ``batch``, ``ghost_batch``, ``layer`` or ``none``.
        ghost_size: examples per group of ``ghost_batch``; None with every other norm.

    Returns:
        A network from [B, *input_shape] to logits [B, num_classes].

    Raises:
        ConfigErrors: where the input is no image of 8x8 and up, or an argument does not fit.
    """
    channels, _, _ = image_shape("convnet", input_shape, 8)
    refuse(whole_number("model.width", width, 1, 1))
    check_norm(norm, ghost_size)
    layers: list[nn.Module] = []
    for features in (width, 2 * width, 4 * width):
        # A norm has its own bias.
        layers.append(nn.Conv2d(channels, features, 3, padding=1, bias=norm == "none"))
        if norm != "none":
            layers.append(make_norm(norm, features, 2, ghost_size))
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        channels = features
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))

"""The residual network of 20 layers for CIFAR."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from batchlab.data.argument_checks import image_shape
from batchlab.models.norm import make_norm

BLOCKS_PER_STAGE = 3
STAGES = (16, 32, 64)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters: ``relu(x + F(x))``.

    Where the block halves height and width, the shortcut takes every second pixel and pads new channels with zeros.

    Source: He et al. 2016, section 3.3 option (A) and section 4.2.
    """

    def __init__(self, num_inputs: int, num_outputs: int, stride: int, norm: str, ghost_size: int | None) -> None:
        super().__init__()
        self.stride, self.num_new = stride, num_outputs - num_inputs
        self.conv1 = convolution(num_inputs, num_outputs, stride, norm)
        self.norm1 = make_norm(norm, num_outputs, 2, ghost_size)
        self.conv2 = convolution(num_outputs, num_outputs, 1, norm)
        self.norm2 = make_norm(norm, num_outputs, 2, ghost_size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, num_inputs, height, width] to [B, num_outputs, height / stride, width / stride]."""
        hidden = F.relu(self.norm1(self.conv1(inputs)))
        hidden = self.norm2(self.conv2(hidden))
        shortcut = inputs[:, :, :: self.stride, :: self.stride]
        before = self.num_new // 2
        shortcut = F.pad(shortcut, (0, 0, 0, 0, before, self.num_new - before))
        return F.relu(hidden + shortcut)


def convolution(num_inputs: int, num_outputs: int, stride: int, norm: str) -> nn.Conv2d:
    """Return a 3x3 convolution with He's initialisation; without bias where a norm brings its own.

    Source: He et al. 2015, equation 10.
    """
    layer = nn.Conv2d(num_inputs, num_outputs, 3, stride, padding=1, bias=norm == "none")
    nn.init.kaiming_normal_(layer.weight)
    return layer


def resnet20(
    input_shape: Sequence[int], num_classes: int, norm: str = "batch", ghost_size: int | None = None
) -> nn.Sequential:
    """Build ResNet-20: a convolution, 3 stages of 3 blocks with 16, 32 and 64 channels, average pool, linear.

    Args:
        input_shape: (channels, height, width) of one image, at least 8x8 pixels.
        num_classes: outputs; 1 for regression.
        norm: ``batch``, ``ghost_batch``, ``layer`` or ``none``.
        ghost_size: examples per group of ``ghost_batch``; None with every other norm.

    Returns:
        A network from [B, *input_shape] to logits [B, num_classes]; 269,722 parameters for (3, 32, 32) and 10.

    Raises:
        ConfigErrors: where the input is no image of 8x8 and up, or norm and ghost_size do not fit.

    Source: He et al. 2016, section 4.2, n = 3.
    """
    channels, _, _ = image_shape("resnet20", input_shape, 8)
    features = STAGES[0]
    layers: list[nn.Module] = [convolution(channels, features, 1, norm)]
    layers += [make_norm(norm, features, 2, ghost_size), nn.ReLU()]
    for stage in STAGES:
        for block in range(BLOCKS_PER_STAGE):
            stride = 2 if block == 0 and stage != STAGES[0] else 1
            layers.append(Block(features, stage, stride, norm, ghost_size))
            features = stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, num_classes))

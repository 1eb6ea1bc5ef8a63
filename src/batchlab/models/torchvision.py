"""Any image classifier of torchvision, from its first random weights."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab.data.argument_checks import image_shape
from batchlab.errors import config_error, nearest

SIZES = (8, 16, 28, 32, 48, 64, 96, 128, 224, 299)


class Torchvision(nn.Module):
    """A torchvision classifier; images of one channel are shown to it as three equal channels.

    Args:
        input_shape: (channels, height, width) of one image, with 1 or 3 channels.
        num_classes: outputs; 1 for regression.
        name: name of the model in `torchvision.models.list_models`, e.g. ``mobilenet_v3_large``.

    Raises:
        ConfigErrors: where the name is unknown, the input has 2 or more than 3 channels, or the network cannot take
            images of this size.
    """

    def __init__(self, input_shape: Sequence[int], num_classes: int, name: str = "mobilenet_v3_large") -> None:
        super().__init__()
        channels, height, width = image_shape("torchvision", input_shape, 1)
        if channels not in (1, 3):
            allowed = f"its networks take images of 1 or 3 channels, the data has {channels}"
            raise config_error("model", "torchvision", allowed, "model=resnet20")
        self.net = _classifier(name, num_classes)
        if not _takes(self.net, height, width):
            fitting = next((size for size in SIZES if _takes(self.net, size, size)), None)
            size = f"images of {fitting}x{fitting}" if fitting else "other images"
            allowed = f"it needs {size} pixels, the data is {height}x{width} (too small, or not its fixed size)"
            raise config_error("model.name", name, allowed, "model.name=mobilenet_v3_large, or model=resnet20")

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, *input_shape] to logits [B, num_classes]."""
        return self.net(inputs.expand(-1, 3, -1, -1))


class Hardsigmoid(nn.Module):
    """``min(max(x + 3, 0), 6) / 6``, as `torch.nn.Hardsigmoid`, whose second derivative torch lacks."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Map any shape to the same."""
        return F.relu6(inputs + 3) / 6


def _classifier(name: str, num_classes: int) -> nn.Module:
    import torchvision.models

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        fix = f"model.name={nearest(str(name), known) or 'mobilenet_v3_large'}"
        raise config_error("model.name", name, "a classifier of torchvision.models.list_models()", fix)
    # These two would return a tuple in training: logits and those of side classifiers.
    sides = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    net = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **sides)
    for path, module in list(net.named_modules()):
        if isinstance(module, nn.Hardsigmoid):
            net.set_submodule(path, Hardsigmoid())
    return net


def _takes(net: nn.Module, height: int, width: int) -> bool:
    """Tell whether one image goes through (the exceptions are those of layers and of torchvision's own checks)."""
    weight = next(net.parameters())
    net.eval()
    try:
        with torch.no_grad():
            net(torch.zeros(1, 3, height, width, device=weight.device, dtype=weight.dtype))
    except (RuntimeError, ValueError, AssertionError):
        return False
    finally:
        net.train()
    return True

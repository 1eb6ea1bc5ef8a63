"""Random views of images: each image moved, turned, zoomed and blurred with noise by numbers of its own."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor

from batchlab.data.argument_checks import number, refuse

NUMBERS = {
    "shift": Interval(ge=0, le=1),
    "zoom": Interval(ge=0, lt=1),
    "rotation_degrees": Interval(ge=0, le=180),
    "contrast": Interval(ge=0, lt=1),
    "noise": Interval(ge=0),
}
"""Allowed settings of `Distortion`."""


@dataclass(frozen=True)
class Distortion:
    """How far a view may lie from its image; 0 leaves a property as it is.

    No mirror images and no quarter turns: they make other digits, letters and signs of these.

    Raises:
        ConfigErrors: where a value lies outside.
    """

    shift: float  # largest shift in each direction, as a share of height and width, in [0, 1]
    zoom: float  # sizes lie between 1 - zoom and 1 / (1 - zoom), uniform in their logarithm; in [0, 1)
    rotation_degrees: float  # largest angle in each direction, in [0, 180]
    contrast: float  # factor on the normalised pixels, uniform between 1 - contrast and 1 + contrast; in [0, 1)
    noise: float  # standard deviation of the noise on every pixel, in standard deviations of the data; at least 0

    def __post_init__(self) -> None:
        refuse(*(number(f"model.{name}", value, NUMBERS[name], 0) for name, value in vars(self).items()))


def random_view(images: Tensor, distortion: Distortion) -> Tensor:
    """Draw one view of each normalised image [B, channels, height, width], from torch's random numbers of its device.

    Source: Chen et al. 2020 (2002.05709), section 2.1: random crop and distortion; the distortions are those of
    handwriting, our own choice.
    """
    draws = 2 * torch.rand(5, len(images), device=images.device) - 1
    views = moved(
        images,
        shifts=draws[:2].T * distortion.shift,
        sizes=torch.exp(draws[2] * -math.log1p(-distortion.zoom)),
        angles=draws[3] * math.radians(distortion.rotation_degrees),
    )
    factors = 1 + draws[4] * distortion.contrast
    return views * factors.view(-1, 1, 1, 1).to(images.dtype) + distortion.noise * torch.randn_like(images)


def moved(images: Tensor, shifts: Tensor, sizes: Tensor, angles: Tensor) -> Tensor:
    """Zoom and turn images around their centre, then shift them; bilinear, the border goes on outside.

    Args:
        images: [B, channels, height, width].
        shifts: [B, 2] to the right and down, as shares of width and height.
        sizes: [B] factors; above 1 things look larger.
        angles: [B] counter-clockwise, in radians.
    """
    height, width = images.shape[2:]
    cosine, sine = angles.cos() / sizes, angles.sin() / sizes
    # from a place in the view back to the place in the image, both in units of half a side, y downwards
    back = torch.stack([cosine, -sine * (height / width), sine * (width / height), cosine], dim=1).view(-1, 2, 2)
    origin = -2 * back @ shifts.unsqueeze(2)
    grid = F.affine_grid(torch.cat([back, origin], dim=2).to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

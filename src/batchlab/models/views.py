"""Random views of images: each image moved, turned, zoomed and blurred with noise by numbers of its own."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from batchlab.errors import config_error

BOUNDS = {"shift": 1.0, "zoom": 1.0, "rotation_degrees": 180.0, "contrast": 1.0, "noise": math.inf}
"""Largest value of each setting of `Distortion`; zoom and contrast stay below theirs."""


@dataclass(frozen=True)
class Distortion:
    """How far a view may lie from its image; 0 leaves a property as it is.

    No mirror images and no quarter turns: they make other digits, letters and signs of these.

    Attributes:
        shift: largest shift in each direction, as a share of height and width, in [0, 1].
        zoom: sizes lie between 1 - zoom and 1 / (1 - zoom), uniform in their logarithm; in [0, 1).
        rotation_degrees: largest angle in each direction, in [0, 180].
        contrast: factor on the normalised pixels, uniform between 1 - contrast and 1 + contrast; in [0, 1).
        noise: standard deviation of the noise on every pixel, in standard deviations of the data; at least 0.

    Raises:
        ConfigErrors: where a value lies outside.
    """

    shift: float
    zoom: float
    rotation_degrees: float
    contrast: float
    noise: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            most, is_open = BOUNDS[name], name in ("zoom", "contrast")
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= most or (value == most and is_open) or value == math.inf:
                end = (
                    "a finite number from 0"
                    if most == math.inf
                    else f"a number in [0, {most:g}{')' if is_open else ']'}"
                )
                raise config_error(f"model.{name}", value, end, f"model.{name}=0")


def random_view(images: Tensor, distortion: Distortion) -> Tensor:
    """One view of each image, from torch's random numbers of the images' device.

    Args:
        images: [B, channels, height, width], normalised.
        distortion: how far the view may lie from its image.

    Returns:
        The views, same shape and type.

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
    """Images zoomed and turned around their centre, then shifted; bilinear, the border goes on outside.

    Args:
        images: [B, channels, height, width].
        shifts: [B, 2] to the right and down, as shares of width and height.
        sizes: [B] factors; above 1 things look larger.
        angles: [B] counter-clockwise, in radians.

    Returns:
        Same shape and type.
    """
    height, width = images.shape[2:]
    cosine, sine = angles.cos() / sizes, angles.sin() / sizes
    # from a place in the view back to the place in the image, both in units of half a side, y downwards
    back = torch.stack([cosine, -sine * (height / width), sine * (width / height), cosine], dim=1).view(-1, 2, 2)
    origin = -2 * back @ shifts.unsqueeze(2)
    grid = F.affine_grid(torch.cat([back, origin], dim=2).to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

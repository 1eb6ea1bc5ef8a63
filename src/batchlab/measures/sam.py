"""Sharpness as sharpness-aware minimisation sees it: the largest rise of the loss within a ball or an ellipsoid."""

import torch
from torch import Tensor

from batchlab.measures.landscape import Landscape


def sam(landscape: Landscape, rho: float = 0.05, num_steps: int = 1) -> float:
    """Return ``max L(w + d) - L(w)`` over ``|d|_2 <= rho``.

    With one step the maximum is the source's own first-order one, ``d = rho g / |g|_2``; more steps look farther
    (`largest_rise`). Moves when a layer is scaled up and the next one down, though the network computes
    the same function: compare it between runs of one architecture, at equal training loss.

    Args:
        landscape: loss around the weights.
        rho: radius of the ball.
        num_steps: gradients to compute.

    Returns:
        The rise in units of the loss.

    Source: Foret et al. 2021, equation 2.
    """
    return largest_rise(landscape, rho, None, num_steps)


def adaptive_sam(landscape: Landscape, rho: float = 0.5, num_steps: int = 1) -> float:
    """Return ``max L(w + d) - L(w)`` over ``|d / w|_2 <= rho``, elementwise; weights that are 0 stay.

    With one step the maximum is the source's own first-order one, ``d = rho w^2 g / |w g|_2``. Elementwise on all
    parameters, biases and norms too, and without the source's constant that is added to abs(w), so that it does not
    move at all when a layer is scaled up and the next one down.

    Args:
        landscape: loss around the weights w.
        rho: radius in units of the weights.
        num_steps: gradients to compute.

    Returns:
        The rise in units of the loss.

    Source: Kwon et al. 2021, equations 3 and 6.
    """
    return largest_rise(landscape, rho, landscape.point.abs(), num_steps)


def largest_rise(landscape: Landscape, rho: float, scale: Tensor | None, num_steps: int) -> float:
    """Return ``max L(w + T u) - L(w)`` over ``|u|_2 <= rho``, T = diag(scale).

    Each step goes to the point of the ellipsoid that is best to first order in the gradient g where the last step
    ended, ``d = rho T^2 g / |T g|_2``, from d = 0; the highest point of the way counts. On a convex loss no step
    goes down. Where the gradient is exactly 0 the first step is random. A scale [p] of None is all 1; the rise is in
    units of the loss, at least 0.
    """
    axes = torch.ones_like(landscape.point) if scale is None else scale
    start = highest = landscape.loss()
    displacement = torch.zeros_like(landscape.point)
    for _ in range(num_steps):
        loss, gradient = landscape.gradient(displacement)
        highest = max(highest, loss)
        direction = axes * gradient
        length = direction.double().norm()
        if length == 0:
            direction = axes * landscape.normal(len(gradient), stream=1)
            length = direction.double().norm()
        if length == 0:
            return 0.0  # every axis has length 0
        displacement = (rho * axes * (direction.double() / length)).to(landscape.point.dtype)
    return max(highest, landscape.loss(displacement)) - start

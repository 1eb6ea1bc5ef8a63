"""The largest rise of the loss within an ellipsoid around the weights, by gradients."""

import torch
from torch import Tensor

from batchlab.measures.landscape import Landscape


def largest_rise(landscape: Landscape, rho: float, scale: Tensor | None, num_steps: int) -> float:
    """``max L(w + T u) - L(w)`` over ``|u|_2 <= rho``, T = diag(scale).

    Each step goes to the point of the ellipsoid that is best to first order in the gradient g where the last step
    ended, ``d = rho T^2 g / |T g|_2``, from d = 0; the highest point of the way counts. On a convex loss no step
    goes down. Where the gradient is exactly 0 the first step is random.

    Args:
        landscape: loss around w.
        rho: radius.
        scale: [p] lengths of the axes; None = all 1.
        num_steps: gradients to compute; 1 is the first-order solution.

    Returns:
        The rise in units of the loss, at least 0.
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

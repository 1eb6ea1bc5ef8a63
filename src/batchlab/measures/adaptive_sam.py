"""Sharpness within a neighbourhood that is as wide in each direction as the weight is large."""

from batchlab.measures.ascent import largest_rise
from batchlab.measures.landscape import Landscape


def adaptive_sam(landscape: Landscape, rho: float = 0.5, num_steps: int = 1) -> float:
    """``max L(w + d) - L(w)`` over ``|d / w|_2 <= rho``, elementwise; weights that are 0 stay.

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

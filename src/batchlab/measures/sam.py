"""Sharpness as sharpness-aware minimisation sees it: the rise of the loss within a ball."""

from batchlab.measures.ascent import largest_rise
from batchlab.measures.landscape import Landscape


def sam(landscape: Landscape, rho: float = 0.05, num_steps: int = 1) -> float:
    """``max L(w + d) - L(w)`` over ``|d|_2 <= rho``.

    With one step the maximum is the source's own first-order one, ``d = rho g / |g|_2``; more steps look farther
    (`batchlab.measures.ascent`). Moves when a layer is scaled up and the next one down, though the network computes
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

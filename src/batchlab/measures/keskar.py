"""Sharpness as the highest loss within a small box around the weights."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from batchlab.measures.landscape import Landscape


def keskar(
    landscape: Landscape,
    epsilon: float = 1e-3,
    num_dimensions: int | None = None,
    num_restarts: int = 3,
    num_iterations: int = 10,
) -> dict[str, float]:
    """Measure Keskar's sharpness of a minimum.

    ``phi = 100 (max L(w + A z) - L(w)) / (1 + L(w))`` over ``abs(z_i) <= epsilon (abs((A+ w)_i) + 1)``.

    A is the identity, or [p, num_dimensions] of independent standard normal numbers (the source leaves their scale
    open), A+ its pseudo-inverse. The maximum is that of bounded L-BFGS with the source's 10 iterations from each of
    several random points inside the box: from z = 0, where the gradient of a well-fitted model vanishes, it would
    stop at once and report 0.

    Args:
        landscape: loss around the weights w.
        epsilon: half width of the box, relative to each abs(w_i) + 1.
        num_dimensions: of a random subspace; None = all p.
        num_restarts: random starts.
        num_iterations: of L-BFGS from each start.

    Returns:
        ``*`` phi in per cent of 1 + L(w), at least 0 as z = 0 lies in the box; ``*_converged`` 1 where the search
        with the highest end ended by itself, 0 where its iterations were used up: then phi is a lower bound.

    Raises:
        ArithmeticError: where the gradient is exactly 0, or the loss not finite, at every start.

    Source: Keskar et al. 2017, equations 3 and 4, metric 2.1.
    """
    start = landscape.loss()
    box = _box(landscape, epsilon, num_dimensions)
    climbs = [_climb(landscape, box, start, stream, num_iterations) for stream in range(10, 10 + num_restarts)]
    known = [climb for climb in climbs if climb is not None]
    if not known:
        raise ArithmeticError("the gradient is 0 or not finite at every start")
    rise, is_converged = max(known, key=lambda climb: climb[0])
    return {"*": 100 * max(0.0, rise) / (1 + start), "*_converged": float(is_converged)}


@dataclass(frozen=True)
class Box:
    """The box in z: half widths [q], and the basis A [p, q], None for the identity."""

    half_widths: Tensor
    basis: Tensor | None

    def displacement(self, place: NDArray[np.float64]) -> Tensor:
        """Return A z for z = half_widths * place."""
        z = self.half_widths * torch.from_numpy(place).to(self.half_widths)
        return z if self.basis is None else self.basis @ z

    def pulled_back(self, gradient: Tensor) -> NDArray[np.float64]:
        """Return the gradient by place from the gradient by weights."""
        inner = gradient if self.basis is None else self.basis.T @ gradient
        return (inner * self.half_widths).double().cpu().numpy()


def _box(landscape: Landscape, epsilon: float, num_dimensions: int | None) -> Box:
    point = landscape.point
    if num_dimensions is None or num_dimensions >= len(point):
        return Box(epsilon * (point.abs() + 1), None)
    basis = landscape.normal(len(point), num_dimensions, stream=2)
    inside = torch.linalg.solve(basis.T @ basis, basis.T @ point)
    return Box(epsilon * (inside.abs() + 1), basis)


def _climb(landscape: Landscape, box: Box, start: float, stream: int, num_iterations: int) -> tuple[float, bool] | None:
    """Return the highest rise L-BFGS-B saw from a random place in the box, and whether it ended; None without one."""
    place = landscape.uniform(len(box.half_widths), stream=stream).double().cpu().numpy()
    _, gradient = landscape.gradient(box.displacement(place))
    scale, highest = float(np.abs(box.pulled_back(gradient)).max()), -np.inf
    if not 0 < scale < np.inf:
        return None

    def descent(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal highest
        loss, slope = landscape.gradient(box.displacement(at))
        highest = max(highest, loss - start)
        return (start - loss) / scale, -box.pulled_back(slope) / scale

    # in these units the slope at the start is 1: the default tolerances then mean the same at every level of loss
    bounds = [(-1.0, 1.0)] * len(place)
    found = minimize(descent, place, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": num_iterations})
    return (highest, bool(found.success)) if np.isfinite(highest) else None

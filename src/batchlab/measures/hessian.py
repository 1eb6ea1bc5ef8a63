"""Curvature of the loss: largest eigenvalue and trace of its Hessian, by curvlinops."""

import math
import statistics
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from batchlab.measures.landscape import Landscape

if TYPE_CHECKING:
    from curvlinops import HessianLinearOperator

NUM_DENSE = 32
"""Up to so many parameters the Hessian is written out: Lanczos needs more dimensions than vectors."""
NUM_AT_ONCE = 5
"""Products that share a gradient; more hold more vectors in memory."""
NUM_VECTORS = 5
"""Lanczos vectors between restarts. The largest eigenvalue of a trained network stands apart: 6 products find it."""


def lambda_max(landscape: Landscape, tolerance: float = 0.01) -> dict[str, float]:
    """Compute the largest (algebraic) eigenvalue of the Hessian of the loss, by Lanczos iteration.

    Moves when a layer is scaled up and the next one down; falls to 0 with the loss.

    Args:
        landscape: loss around the weights.
        tolerance: relative accuracy at which the iteration stops.

    Returns:
        ``*`` the eigenvalue; ``lr_*`` times the run's lr (after lr scaling, before its schedule, which may end at
        0): gradient descent with constant lr is stable below 2.

    Source: Cohen et al. 2021, section 2 (lr times sharpness); Lanczos by ARPACK.
    """
    size, dtype = len(landscape.point), landscape.point.dtype
    with hessian_of(landscape) as hessian:
        if size <= NUM_DENSE:
            dense = hessian @ torch.eye(size, dtype=dtype, device=landscape.point.device)
            value = float(torch.linalg.eigvalsh(dense)[-1])
        else:
            operator = hessian.to_scipy(dtype=np.dtype(str(dtype).removeprefix("torch.")))
            first = landscape.normal(size, stream=3).cpu().numpy()
            settings: dict[str, Any] = {"ncv": NUM_VECTORS, "tol": tolerance, "return_eigenvectors": False}
            value = float(eigsh(operator, k=1, which="LA", v0=first, **settings)[0])
    return {"*": value, "lr_*": landscape.lr * value}


def trace(landscape: Landscape, num_vectors: int = 30) -> dict[str, float]:
    """Estimate the trace of the Hessian by the mean of v^T H v over random vectors v of +1 and -1.

    Moves when a layer is scaled up and the next one down; falls to 0 with the loss.

    Args:
        landscape: loss around the weights.
        num_vectors: random vectors, one product with the Hessian each.

    Returns:
        ``*`` the estimate, unbiased; ``*_standard_error`` of that mean, NaN for one vector.

    Source: Hutchinson 1990.
    """
    size, samples = len(landscape.point), list[float]()
    with hessian_of(landscape) as hessian:
        for start in range(0, num_vectors, NUM_AT_ONCE):
            count = min(NUM_AT_ONCE, num_vectors - start)
            signs = landscape.normal(size, count, stream=1000 + start).sign()
            samples += (signs * cast(Tensor, hessian @ signs)).double().sum(0).tolist()
    error = statistics.stdev(samples) / math.sqrt(num_vectors) if num_vectors > 1 else math.nan
    return {"*": statistics.fmean(samples), "*_standard_error": error}


@contextmanager
def hessian_of(landscape: Landscape) -> Iterator["HessianLinearOperator"]:
    """Return the Hessian of the mean loss by the p parameters, as an operator; products count inside the context.

    Products with a vector differentiate backwards twice. Those of curvlinops 3.0.1 differentiate forwards under vmap:
    the same numbers, on a CPU half as fast, and without an answer for operations that have no forward derivative.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
        from curvlinops import HessianLinearOperator

    class TwiceBackward(HessianLinearOperator):
        def _matmat_batch(self, X: Any, y: Tensor, M: list[Tensor]) -> list[Tensor]:  # noqa: N803
            columns = zip(*(parts.unbind(-1) for parts in M), strict=True)
            products = products_of(landscape, X, y, columns)
            return [torch.stack(parts, dim=-1) for parts in zip(*products, strict=True)]

    # attention in one piece has no second derivative
    with sdpa_kernel(SDPBackend.MATH):
        yield TwiceBackward(
            landscape.model,
            _MeanLoss(landscape),
            list(landscape.parameters.values()),
            landscape.batches,
            check_deterministic=False,
            num_data=landscape.num_examples,
        )


def products_of(
    landscape: Landscape, inputs: Tensor, targets: Tensor, vectors: Iterable[Sequence[Tensor]]
) -> Iterator[Sequence[Tensor]]:
    """Multiply the Hessian of some examples' loss by vectors, each given and returned in parts as the parameters."""
    leaves = {name: each.detach().requires_grad_() for name, each in landscape.parameters.items()}
    points = list(leaves.values())
    loss = landscape.loss_function(functional_call(landscape.model, leaves, (inputs,)), targets)
    slopes = torch.autograd.grad(loss, points, create_graph=True, allow_unused=True, materialize_grads=True)
    for vector in vectors:
        along = sum((slope * part).sum() for slope, part in zip(slopes, vector, strict=True))
        assert isinstance(along, Tensor)
        if along.requires_grad:
            yield torch.autograd.grad(along, points, retain_graph=True, allow_unused=True, materialize_grads=True)
        else:  # the loss is linear
            yield [torch.zeros_like(point) for point in points]


class _MeanLoss(nn.Module):
    """The loss as curvlinops wants it: a module that says how it reduces."""

    reduction = "mean"

    def __init__(self, landscape: Landscape) -> None:
        super().__init__()
        self._compute = [landscape.loss_function]  # in a list, not as a module: it has no parameters of its own

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self._compute[0](logits, targets)

"""Curvature of the loss: largest eigenvalue and trace of its Hessian, by curvlinops."""

import math
import statistics
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from batchlab.sharpness.landscape import Landscape

if TYPE_CHECKING:
    from curvlinops import HessianLinearOperator

NUM_DENSE = 32
"""Up to so many parameters the Hessian is written out: Lanczos needs more dimensions than vectors."""
NUM_VECTORS = 8
"""Lanczos vectors between restarts. The largest eigenvalues of networks stand apart: 9 products find them."""


def lambda_max(landscape: Landscape, tolerance: float = 0.01) -> dict[str, float]:
    """The largest (algebraic) eigenvalue of the Hessian of the loss, by Lanczos iteration.

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
    """The trace of the Hessian, estimated by the mean of v^T H v over random vectors v of +1 and -1.

    Moves when a layer is scaled up and the next one down; falls to 0 with the loss.

    Args:
        landscape: loss around the weights.
        num_vectors: random vectors, one product with the Hessian each.

    Returns:
        ``*`` the estimate, unbiased; ``*_standard_error`` of that mean, NaN for one vector.

    Source: Hutchinson 1990.
    """
    torch.manual_seed(landscape.seed)  # of the forked streams of `held`
    with hessian_of(landscape) as hessian:
        from curvlinops.trace.hutchinson import hutchinson_trace

        # one at a time: a product with several vectors at once takes the memory of as many passes
        samples = [float(hutchinson_trace(hessian, num_matvecs=1)) for _ in range(num_vectors)]
    error = statistics.stdev(samples) / math.sqrt(num_vectors) if num_vectors > 1 else math.nan
    return {"*": statistics.fmean(samples), "*_standard_error": error}


@contextmanager
def hessian_of(landscape: Landscape) -> Iterator["HessianLinearOperator"]:
    """The Hessian of the mean loss by the p parameters, as an operator; products count inside the context.

    Args:
        landscape: loss around the weights.
    """
    with warnings.catch_warnings():
        # curvlinops' imports, and torch itself at the first forward-mode derivative, call what torch deprecates
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
        from curvlinops import HessianLinearOperator

        yield HessianLinearOperator(
            landscape.model,
            _MeanLoss(landscape),
            list(landscape.parameters.values()),
            landscape.batches,
            check_deterministic=False,
            num_data=landscape.num_examples,
        )


class _MeanLoss(nn.Module):
    """The loss as curvlinops wants it: a module that says how it reduces."""

    reduction = "mean"

    def __init__(self, landscape: Landscape) -> None:
        super().__init__()
        self._compute = [landscape.loss_function]  # in a list, not as a module: it has no parameters of its own

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self._compute[0](logits, targets)

"""One layer scaled up and the next one down: the network computes the same; which measures move."""

import pytest

from batchlab.measures.hessian import lambda_max, trace
from batchlab.measures.keskar import keskar
from batchlab.measures.sam import adaptive_sam, sam

MOVES = {
    "lambda_max": lambda landscape: lambda_max(landscape, 1e-6)["*"],
    "lr_lambda_max": lambda landscape: lambda_max(landscape, 1e-6)["lr_*"],
    "trace": lambda landscape: trace(landscape, 100)["*"],
    "sam": sam,
    "sam in 10 steps": lambda landscape: sam(landscape, num_steps=10),
    "keskar": lambda landscape: keskar(landscape, num_iterations=50)["*"],
    "keskar in a subspace": lambda landscape: keskar(landscape, num_dimensions=20, num_iterations=50)["*"],
}


def test_the_function_is_the_same(landscape, rescaled):
    assert rescaled.loss() == pytest.approx(landscape.loss(), rel=1e-12)
    assert (rescaled.point - landscape.point).abs().max() > 1


@pytest.mark.parametrize("num_steps", [1, 10])
def test_adaptive_sam_does_not_move(landscape, rescaled, num_steps):
    assert adaptive_sam(rescaled, num_steps=num_steps) == pytest.approx(adaptive_sam(landscape, num_steps=num_steps))


@pytest.mark.parametrize("name", MOVES)
def test_every_other_measure_moves(landscape, rescaled, name):
    assert abs(MOVES[name](rescaled) / MOVES[name](landscape) - 1) > 0.1

import math
from itertools import combinations

import pytest
import torch

from batchlab.data.surface_noise import load_surface, signs
from batchlab.errors import ConfigErrors


def test_the_pushes_sum_to_nothing_and_are_uncorrelated():
    data = load_surface(64, 10, 0.5)
    pushes = data.train.inputs[:].double()
    assert (pushes.sum(0) == 0).all()
    assert torch.equal(pushes.T @ pushes / 64, 0.25 * torch.eye(10).double())
    for split in (data.val, data.test):
        assert (split.inputs[:].sum(0) == 0).all()


def test_the_signs_are_the_hadamard_matrix_without_its_first_column():
    matrix = torch.ones(1, 1)
    for _ in range(4):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    assert torch.equal(signs(16, 15), matrix[:, 1:])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8])
def test_over_all_batches_the_variance_is_that_of_drawing_without_replacement(batch_size):
    pushes = load_surface(8, 2, 3.0).train.inputs[:].double()
    means = torch.stack([pushes[list(batch)].mean(0) for batch in combinations(range(8), batch_size)])
    variance = 9.0 / batch_size * (8 - batch_size) / 7
    torch.testing.assert_close(means.T @ means / math.comb(8, batch_size), variance * torch.eye(2).double())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((48, 4, 1.0), r"data\.num_examples=48: a power of two.*Type data\.num_examples=32"),
        ((0, 0, -1.0), r"(?s)data\.num_examples=0.*data\.num_features=0.*data\.noise=-1"),
        ((64, 3, 1.0), r"data\.num_features=3: an even number below data\.num_examples=64"),
        ((8, 8, 1.0), r"data\.num_features=8: an even number below data\.num_examples=8"),
    ],
)
def test_sizes_that_make_no_exact_noise_are_refused(settings, message):
    with pytest.raises(ConfigErrors, match=message):
        load_surface(*settings)

"""A quadratic, a small network in float64, and the same network with a layer scaled up and the next one down."""

import copy

import pytest
import torch
from torch import Tensor, nn

from batchlab.measures.landscape import Landscape


class Weights(nn.Module):
    """Parameters [p] and nothing else; a frozen and an unused one that must not count."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values.clone())
        self.frozen = nn.Parameter(torch.ones(3, dtype=values.dtype), requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.values * self.frozen[0] + 0 * inputs.sum()


@pytest.fixture
def quadratic():
    """A function: (matrix, linear term, weights) -> the landscape w^T H w / 2 + b^T w, in two parts of one example."""

    def make(matrix: Tensor, linear: Tensor, weights: Tensor) -> Landscape:
        parts = [(torch.zeros(1, 1), torch.zeros(1)), (torch.zeros(1, 1), torch.zeros(1))]
        return Landscape(Weights(weights), lambda w, _: 0.5 * w @ matrix @ w + linear @ w, parts)

    return make


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)]
    return nn.Sequential(*layers).double()


@pytest.fixture
def landscape() -> Landscape:
    """The cross entropy of a fully connected network with biases on 30 examples, float64, partly fitted."""
    model = network()
    inputs = torch.randn(30, 4, dtype=torch.float64)
    targets = (inputs[:, :3] + 0.5 * inputs[:, 1:]).argmax(1)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    parts = list(zip(inputs.split(12), targets.split(12), strict=True))
    return Landscape(model, nn.CrossEntropyLoss(), parts, lr=0.1)


@pytest.fixture
def rescaled(landscape) -> Landscape:
    """The same function with other weights: the first layer times 5, the second layer's weights over 5."""
    model = copy.deepcopy(landscape.model)
    with torch.no_grad():
        model[0].weight.mul_(5)
        model[0].bias.mul_(5)
        model[2].weight.div_(5)
    return Landscape(model, landscape.loss_function, landscape.batches, landscape.lr)

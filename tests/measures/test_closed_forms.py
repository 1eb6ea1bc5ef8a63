"""Every measure against a closed form on a quadratic, and the Hessian against a dense one in float64."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from batchlab.measures.gradients import undisturbed
from batchlab.measures.hessian import hessian_of, lambda_max, trace
from batchlab.measures.keskar import keskar
from batchlab.measures.landscape import Landscape, precise_loss
from batchlab.measures.sam import adaptive_sam, sam
from batchlab.models.vit import ViT

DIAGONAL = torch.tensor([3.0, 1.0, 0.5, 4.0], dtype=torch.float64)
ZERO = torch.zeros(4, dtype=torch.float64)


def test_phi_on_a_box_is_the_corners(quadratic):
    weights = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
    landscape = quadratic(torch.diag(DIAGONAL), -DIAGONAL * weights, weights)  # the weights are the minimum
    start, epsilon = -0.5 * (DIAGONAL * weights**2).sum().item(), 0.1
    widths = epsilon * (weights.abs() + 1)
    rise = 0.5 * (DIAGONAL * widths**2).sum().item()
    found = keskar(landscape, epsilon=epsilon)
    assert found["*"] == pytest.approx(100 * rise / (1 + start), rel=1e-9)
    assert found["*_converged"] == 1


def test_phi_in_a_random_subspace_is_the_highest_corner_of_its_box(quadratic):
    weights, num_dimensions = torch.linspace(-1, 1, 40, dtype=torch.float64), 3
    matrix = torch.diag(torch.linspace(0.1, 2, 40, dtype=torch.float64))
    landscape = quadratic(matrix, -matrix @ weights, weights)
    basis = landscape.normal(40, num_dimensions, stream=2)
    widths = 0.01 * (torch.linalg.pinv(basis) @ weights).abs().add(1)
    corners = torch.cartesian_prod(*([torch.tensor([-1.0, 1.0], dtype=torch.float64)] * num_dimensions)) * widths
    rise = max(0.5 * (basis @ z @ matrix @ (basis @ z)).item() for z in corners)  # convex: at a corner
    phi = keskar(landscape, 0.01, num_dimensions, num_restarts=8)["*"]
    assert phi == pytest.approx(100 * rise / (1 + landscape.loss()), rel=1e-6)


def test_the_largest_eigenvalue_and_the_trace_of_a_diagonal_are_exact(quadratic):
    values = torch.linspace(-3, 2, 50, dtype=torch.float64)
    values[7] = 9
    landscape = quadratic(torch.diag(values), torch.zeros(50, dtype=torch.float64), torch.ones(50).double())
    assert lambda_max(landscape, tolerance=1e-8)["*"] == pytest.approx(9, rel=1e-8)
    found = trace(landscape, num_vectors=4)  # v^T D v is the trace for every vector of signs
    assert found["*"] == pytest.approx(values.sum().item(), rel=1e-12)
    assert found["*_standard_error"] == pytest.approx(0, abs=1e-10)
    assert math.isnan(trace(landscape, num_vectors=1)["*_standard_error"])


def test_the_largest_eigenvalue_is_the_largest_by_sign_not_by_size(quadratic):
    for size in (6, 60):  # written out, and by Lanczos
        values = -torch.linspace(1, 5, size, dtype=torch.float64)
        landscape = quadratic(torch.diag(values), torch.zeros(size).double(), torch.ones(size).double())
        assert lambda_max(landscape, tolerance=1e-8)["*"] == pytest.approx(-1, rel=1e-5)


def test_lr_times_lambda_max_takes_the_runs_lr(quadratic):
    landscape = quadratic(torch.diag(DIAGONAL), ZERO, ZERO)
    found = lambda_max(Landscape(landscape.model, landscape.loss_function, landscape.batches, lr=0.25))
    assert (found["*"], found["lr_*"]) == (pytest.approx(4), pytest.approx(1))


def test_one_step_of_sam_is_the_first_order_solution(quadratic):
    weights, linear, rho = torch.ones(4, dtype=torch.float64), ZERO + 0.3, 0.2
    gradient = DIAGONAL * weights + linear
    moved = weights + rho * gradient / gradient.norm()
    rise = 0.5 * (DIAGONAL * (moved**2 - weights**2)).sum() + (linear * (moved - weights)).sum()
    assert sam(quadratic(torch.diag(DIAGONAL), linear, weights), rho) == pytest.approx(rise.item(), rel=1e-9)


def test_more_steps_of_sam_find_the_maximum_at_a_minimum(quadratic):
    """Where the gradient is 0 the start is random, and the ascent is power iteration: rho^2 lambda_max / 2."""
    landscape = quadratic(torch.diag(DIAGONAL), ZERO, ZERO)
    assert sam(landscape, rho=0.2, num_steps=60) == pytest.approx(0.5 * 0.2**2 * 4, rel=1e-9)
    assert 0 < sam(landscape, rho=0.2) < 0.5 * 0.2**2 * 4


def test_adaptive_sam_is_sam_in_units_of_the_weights(quadratic):
    weights = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
    landscape = quadratic(torch.diag(DIAGONAL), ZERO, weights)
    inner = quadratic(torch.diag(DIAGONAL * weights**2), ZERO, torch.ones(4, dtype=torch.float64))
    assert adaptive_sam(landscape, 0.3, 5) == pytest.approx(sam(inner, 0.3, 5), rel=1e-9)
    assert adaptive_sam(quadratic(torch.diag(DIAGONAL), ZERO, ZERO)) == 0  # weights of 0 stay


def dense_hessian(landscape: Landscape) -> torch.Tensor:
    inputs = torch.cat([part for part, _ in landscape.batches])
    targets = torch.cat([part for _, part in landscape.batches])
    shapes = {name: each.shape for name, each in landscape.parameters.items()}

    def loss(vector):
        parts = vector.split([shape.numel() for shape in shapes.values()])
        weights = {name: part.view(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
        return landscape.loss_function(functional_call(landscape.model, weights, (inputs,)), targets)

    found = hessian(loss, landscape.point)
    assert isinstance(found, torch.Tensor)
    return found


def test_eigenvalue_trace_and_products_are_those_of_the_dense_hessian(landscape):
    dense = dense_hessian(landscape)
    assert lambda_max(landscape, tolerance=1e-10)["*"] == pytest.approx(torch.linalg.eigvalsh(dense)[-1].item())
    with hessian_of(landscape) as operator:
        eye = torch.eye(len(dense), dtype=torch.float64)
        assert torch.allclose(operator @ eye, dense, atol=1e-12)
    found = trace(landscape, num_vectors=400)
    assert abs(found["*"] - dense.trace().item()) < 3.5 * found["*_standard_error"]  # by chance once in 2,000
    spread = 2 * (dense.square().sum() - dense.diagonal().square().sum()).item()  # variance of v^T H v
    assert found["*_standard_error"] == pytest.approx(np.sqrt(spread / 400), rel=0.2)


def test_the_gradient_over_parts_is_that_of_the_whole(landscape):
    inputs = torch.cat([part for part, _ in landscape.batches])
    targets = torch.cat([part for _, part in landscape.batches])
    loss, gradient = landscape.gradient()
    whole = nn.functional.cross_entropy(landscape.model(inputs), targets)
    expected = torch.autograd.grad(whole, list(landscape.model.parameters()))
    assert loss == pytest.approx(whole.item(), rel=1e-12)
    assert torch.allclose(gradient, torch.cat([part.flatten() for part in expected]), rtol=1e-10)


def fitted(margin: float, loss) -> Landscape:
    """Two classes that a float32 model tells apart by `margin` in the logits."""
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[margin / 2], [-margin / 2]]))
    return Landscape(model, loss, [(torch.ones(4, 1), torch.zeros(4, dtype=torch.int64))])


def test_phi_of_a_fitted_model_is_small_but_not_0(quadratic):
    phi = keskar(fitted(40, precise_loss(nn.CrossEntropyLoss())), epsilon=0.1)
    rise = math.log1p(math.exp(-40 + 2 * 0.1 * 21)) - math.log1p(math.exp(-40))
    assert phi["*"] == pytest.approx(100 * rise, rel=1e-4)  # weights are float32
    assert nn.functional.cross_entropy(torch.tensor([[20.0, -20.0]]), torch.tensor([0])) == 0  # float32 sees nothing


def test_phi_from_a_minimum_is_found_where_the_start_itself_has_no_gradient(quadratic):
    flat = quadratic(torch.eye(4).double(), ZERO, ZERO)
    assert flat.gradient()[1].abs().max() == 0
    assert keskar(flat, epsilon=0.1)["*"] == pytest.approx(100 * 0.5 * 4 * 0.1**2)


def test_a_gradient_that_is_0_everywhere_is_an_error_not_a_phi_of_0():
    with pytest.raises(ArithmeticError, match="at every start"):
        keskar(fitted(1e4, precise_loss(nn.CrossEntropyLoss())))


def test_attention_has_a_second_derivative_where_it_is_measured():
    """The Hessian's product with a direction, against differences of gradients, in float64."""
    torch.manual_seed(0)
    model = ViT((1, 4, 4), 3, width=4, depth=1, num_heads=2).double()
    inputs, targets = torch.randn(5, 1, 4, 4).double(), torch.tensor([0, 1, 2, 0, 1])
    parameters = list(model.parameters())
    directions = [torch.randn_like(each) for each in parameters]
    with undisturbed(model):
        grads = torch.autograd.grad(cross_entropy(model(inputs), targets), parameters, create_graph=True)
        products = torch.autograd.grad(grads, parameters, directions)
    differences, step = [], 1e-5
    for sign in (1, -1):
        with torch.no_grad():
            for each, direction in zip(parameters, directions, strict=True):
                each.add_(direction, alpha=sign * step)
        differences.append(torch.autograd.grad(cross_entropy(model(inputs), targets), parameters))
        with torch.no_grad():
            for each, direction in zip(parameters, directions, strict=True):
                each.sub_(direction, alpha=sign * step)
    for product, above, below in zip(products, *differences, strict=True):
        assert torch.allclose(product, (above - below) / (2 * step), rtol=1e-4, atol=1e-5)

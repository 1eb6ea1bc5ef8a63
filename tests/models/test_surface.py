import math

import pytest
import torch

from batchlab.config.schema import Config
from batchlab.errors import ConfigErrors
from batchlab.models.surface import Surface
from batchlab.training.build import build
from batchlab.training.loop import fit

SETTINGS = {"saddle": -0.3, "scale": 1.7, "curvatures": [5.0, 2.0]}
RUN = ("data=surface", "model=surface", "loss=mean_output", "optimizer=sgd", "lr=0.1", "measure=none", "budget=steps")
POINTS = {"poor": (-1.0, 0.0), "saddle": (-0.3, 0.0), "good": (1.0, 0.0)}


def surface(start=(-1.0, 0.0), copies=1, **settings) -> Surface:
    return Surface((2 * copies,), 1, **(SETTINGS | settings), start=start).double()


def loss(model: Surface, weights: torch.Tensor) -> torch.Tensor:
    nothing = torch.zeros(1, weights.numel()).double()
    return torch.func.functional_call(model, {"weights": weights}, (nothing,)).sum()


def trained(config: Config, seed: int = 0) -> torch.Tensor:
    built = build(config, seed)
    for _ in fit(built.train_step, built.stream, built.plan, built.schedule, built.clock):
        pass
    return next(built.train_step.model.parameters()).detach()


@pytest.mark.parametrize(("name", "point"), POINTS.items())
def test_stationary_points_their_losses_and_curvatures_are_the_closed_forms(name, point):
    s, c, (poor, good) = SETTINGS["saddle"], SETTINGS["scale"], SETTINGS["curvatures"]
    across = good + (poor - good) * ((1 - s) / 2) ** 2
    expected = {
        "poor": (4 * -s * c / 3, 2 * c * (1 + s), poor),
        "saddle": (c * (1 - s) ** 3 * (3 + s) / 12, -c * (1 - s**2), across),
        "good": (0.0, 2 * c * (1 - s), good),
    }[name]
    model, weights = surface(), torch.tensor(point).double().unsqueeze(1).requires_grad_()
    value = loss(model, weights)
    [gradient] = torch.autograd.grad(value, weights)
    hessian = torch.autograd.functional.hessian(lambda w: loss(model, w), weights.detach()).reshape(2, 2)
    assert value.item() == pytest.approx(expected[0], abs=1e-7)  # the point itself is float32
    assert gradient.abs().max() < 1e-6
    torch.testing.assert_close(hessian, torch.tensor([expected[1:]]).double().squeeze().diag(), atol=1e-6, rtol=1e-6)


def test_the_gradient_along_is_the_cubic_and_the_least_loss_is_0():
    u = torch.linspace(-4, 4, 801).double()
    weights = torch.stack([u, torch.zeros_like(u)]).requires_grad_()
    model = surface(copies=801)
    [gradient] = torch.autograd.grad(loss(model, weights), weights)
    torch.testing.assert_close(gradient[0], 1.7 * (u**2 - 1) * (u + 0.3))
    height = torch.cumulative_trapezoid(gradient[0], u)  # from u = -4; at 1 it must be lowest
    assert u[1:][height.argmin()] == pytest.approx(1.0)


def test_the_barrier_is_the_saddle_above_the_poor_minimum():
    for s in (0.0, -0.5, -0.9):
        low, high = (loss(surface(saddle=s), torch.tensor([[u], [0.0]]).double()) for u in (-1.0, s))
        assert (high - low).item() == pytest.approx(1.7 * (1 + s) ** 3 * (3 - s) / 12)


def test_copies_add_up_and_an_example_adds_its_push():
    torch.manual_seed(0)
    weights, pushes = torch.randn(2, 3).double(), torch.randn(5, 6).double()
    model = surface(copies=3)
    found = torch.func.functional_call(model, {"weights": weights}, (pushes,))
    alone = sum(loss(surface(), weights[:, [copy]]) for copy in range(3))
    assert found.shape == (5, 1)
    torch.testing.assert_close(found.squeeze(1), alone + pushes @ weights.flatten())


@pytest.mark.parametrize("start", ["[-1,0]", "[-0.5,0]"])
def test_the_full_batch_never_leaves_a_poor_minimum_or_a_saddle(config_of, start):
    config = config_of(*RUN, f"model.start={start}", "batch_size=full", "budget.num_steps=100", "data.num_examples=256")
    weights = trained(config)
    assert torch.equal(weights, torch.tensor(config.model["start"]).float().unsqueeze(1).expand(2, 32))


@pytest.mark.parametrize("batch_size", [1, 16, 64])
def test_near_the_saddle_the_weights_spread_as_the_linear_theory_says(config_of, batch_size):
    # u' = (1 + a) u - lr * noise, a = lr c: in B steps of one pass of N = 256 drawn without replacement,
    # Cov(push_s, push_t) = -noise^2 / (N - 1) for two steps, noise^2 / B (N - B) / (N - 1) for one
    steps, growth, noise, lr = 3, 1 + 0.1 * 0.75, 2.0**-6, 0.1
    gains = lr * growth ** torch.arange(steps - 1, -1, -1).double()
    covariance = noise**2 / 255 * (256 / batch_size * torch.eye(steps) - torch.ones(steps, steps)).double()
    expected = (gains @ covariance @ gains).item()
    config = config_of(*RUN, f"batch_size={batch_size}", f"budget.num_steps={steps}", f"data.noise={noise}",
                       "data.num_examples=256", "data.num_features=254", "model.saddle=0.0",
                       "model.start=[0,0]")  # fmt: skip
    found = torch.stack([trained(config, seed)[0] for seed in range(10)]).square().mean().item()
    # 10 runs of 127 copies: the standard error of a variance is sqrt(2 / 1270) = 4 %
    assert found == pytest.approx(expected, rel=0.16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"saddle": -1.0}, r"model\.saddle=-1\.0: a number above -1 and at most 0"),
        ({"saddle": 0.1}, r"model\.saddle=0\.1"),
        ({"scale": 0.0}, r"model\.scale=0\.0: a number above 0\."),
        ({"curvatures": [1.0, 0.0]}, r"model\.curvatures=\[1\.0,0\.0\]: two numbers above 0"),
        ({"curvatures": 3.0}, r"model\.curvatures=3\.0: two numbers"),
        ({"start": [math.inf, 0.0]}, r"model\.start=\[inf,0\.0\]: two numbers"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigErrors, match=message):
        Surface((2,), 1, **settings)


@pytest.mark.parametrize(("shape", "outputs"), [((1, 8, 8), 1), ((3,), 1), ((2,), 10)])
def test_other_data_is_refused(shape, outputs):
    with pytest.raises(ConfigErrors, match=r"Type data=surface loss=mean_output"):
        Surface(shape, outputs)

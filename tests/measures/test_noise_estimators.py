import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from batchlab.data.dataset import Split
from batchlab.data.splits import in_order
from batchlab.data.transforms import Prepare
from batchlab.laws.gradient_noise import cosine_law, fit_slope, variance_law
from batchlab.measures.gradients import Sample, drawn, example_gradients, training_sample, undisturbed
from batchlab.measures.noise_estimators import batch_noise, exact_noise, parts_noise
from batchlab.models.losses import SquaredError
from batchlab.run.training_run import run
from batchlab.training.build import Built, build


class Branching(nn.Module):
    """The same function on both ways; vmap refuses to choose one."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs if inputs.sum() > 0 else 1 * inputs)


class Unused(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.idle = layer, nn.Linear(3, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs)


@pytest.fixture
def linear() -> tuple[nn.Module, Sample, np.ndarray]:
    """A linear model, its examples, and their gradients 2 (w x - y) x by hand."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((90, 6), (90,)))
    model = nn.Linear(6, 1, bias=False).double()
    nn.init.constant_(model.weight, 0.3)
    rows = 2 * ((x * 0.3).sum(dim=1) - y).unsqueeze(1) * x
    return model, Sample(x, y, 90), rows.numpy()


@pytest.fixture
def trained(config_of) -> Built:
    """The default model after two passes over digits."""
    built = build(config_of("epochs=2", "measure=none"), seed=0)
    for _ in run(built):
        pass
    return built


def measured(built: Built, count: int = 10**6) -> tuple[nn.Module, nn.Module, Sample]:
    return built.train_step.model, built.loss_function, training_sample(built, count)


def test_a_linear_model_has_the_gradients_of_its_closed_form(linear):
    model, sample, rows = linear
    found, method = example_gradients(model, SquaredError(), sample.inputs, sample.targets)
    assert method == "torch.func"
    assert np.allclose(found, rows, rtol=1e-12)
    exact = exact_noise(model, SquaredError(), sample, num_groups=7)
    trace, signal = np.trace(np.cov(rows.T)), np.sum(rows.mean(axis=0) ** 2)
    assert (exact.noise.noise, exact.noise.signal) == pytest.approx((trace, signal), rel=1e-10)
    assert exact.noise.scale.value == pytest.approx(trace / signal, rel=1e-10)


def test_a_model_that_vmap_refuses_is_measured_one_by_one_with_the_same_result(linear):
    model, sample, _ = linear
    plain, branching = (exact_noise(each, SquaredError(), sample) for each in (model, Branching(model)))
    assert (plain.method, branching.method) == ("torch.func", "one by one")
    assert branching.noise.scale.value == pytest.approx(plain.noise.scale.value, rel=1e-12)


def test_parameters_without_gradient_count_as_zero(linear):
    model, sample, _ = linear
    plain, unused = (exact_noise(each, SquaredError(), sample) for each in (model, Unused(model).double()))
    assert unused.noise.scale.value == pytest.approx(plain.noise.scale.value, rel=1e-12)
    assert example_gradients(Unused(model).double(), SquaredError(), sample.inputs, sample.targets)[0].shape == (90, 18)


def test_gradients_that_are_nan_give_nan_with_a_reason(linear):
    model, sample, _ = linear
    nn.init.constant_(model.weight, math.nan)
    found = exact_noise(model, SquaredError(), sample).noise
    assert math.isnan(found.scale.value)
    assert found.reason == "a gradient is not finite"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model=convnet", "torch.func"),
        ("model=vit", "torch.func"),
        ("loss=focal", "torch.func"),
        ("loss=squared_error", "one by one"),  # one_hot looks at values
    ],
)
def test_torch_func_gives_the_gradients_of_single_passes(config_of, override, expected):
    model, loss, sample = measured(build(config_of(override), seed=0), 5)
    with undisturbed(model):
        fast, method = example_gradients(model, loss, sample.inputs, sample.targets)
        slow, _ = example_gradients(Branching(model), loss, sample.inputs, sample.targets)
    assert method == expected
    assert torch.allclose(fast, slow, rtol=1e-3, atol=1e-5 * slow.abs().max().item())  # float32, other kernels


def test_batch_norm_is_measured_in_evaluation_mode_and_the_result_says_so(config_of):
    found = exact_noise(*measured(build(config_of("model=mlp", "model.norm=batch"), seed=0), 64))
    assert found.noise.scale.value > 0
    assert any("running statistics" in note for note in found.notes)
    assert any("64 of the 1,257" in note for note in found.notes)


def test_the_model_is_left_as_it_was(config_of):
    built = build(config_of("model=mlp", "model.norm=batch"), seed=0)
    model, loss, sample = measured(built, 64)
    model.train()
    model[2].eval()
    random, buffers = torch.get_rng_state(), [buffer.clone() for buffer in model.buffers()]
    with undisturbed(model):
        torch.rand(3)
        model.train()
        model(sample.inputs)
        exact_noise(model, loss, sample)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(now, before) for now, before in zip(model.buffers(), buffers, strict=True))
    assert [module.training for module in model] == [number != 2 for number in range(len(model))]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_parts_agree_with_the_exact_scale_within_a_quarter(trained):
    model, loss, sample = measured(trained)
    exact = exact_noise(model, loss, sample).noise.scale.value
    prepare, ratios = Prepare(trained.dataset, trained.device), []
    for seed in range(6):
        examples = Split(*drawn(replace(trained, seed=seed), 1024))
        found = parts_noise(model, loss, in_order(examples, prepare, trained.device, 64), len(sample)).scale
        assert found.low / 1.1 < exact < found.high * 1.1
        ratios.append(found.value / exact)
    assert max(abs(math.log(ratio)) for ratio in ratios) < math.log(1.25), ratios


def test_variance_falls_as_one_over_m_and_cosines_lie_on_their_curve(trained):
    model, loss, sample = measured(trained)
    exact = exact_noise(model, loss, sample).noise
    small = batch_noise(model, loss, sample, [1, 2, 4, 8, 16, 32], num_draws=800)
    assert fit_slope([each.size for each in small], [each.distances for each in small]).value == pytest.approx(
        -1, abs=0.03
    )
    large = batch_noise(model, loss, sample, [64, 128, 256, 628, 1131, 1257], num_draws=150)
    for each in [*small, *large]:
        law = float(cosine_law(each.size, exact.scale.value, 1257))
        assert each.cosine_squared.value == pytest.approx(law, abs=0.05)
    for each in [*small, *large[:-1]]:  # 628 and 1131 of 1257: without 1/N it would be twice and ten times as much
        law = float(variance_law(each.size, exact.noise, 1257))
        assert each.distances.mean() == pytest.approx(law, rel=0.15)
    assert large[-1].distances.max() < 1e-8 * exact.noise  # all of them: the same gradient, but for rounding

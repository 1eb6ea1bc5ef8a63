import pytest
import torch
from torch import nn

from batchlab.errors import ConfigErrors
from batchlab.models.norm import GhostBatchNorm, make_norm

SHAPES = [(12, 5), (12, 5, 4, 4)]


def activations(shape: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 + 3 * torch.randn(shape, generator=generator, dtype=torch.float64)


def reference(shape: tuple[int, ...]) -> nn.Module:
    return (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(shape[1]).double()


@pytest.mark.parametrize("shape", SHAPES)
def test_ghost_batch_norm_is_batch_norm_of_each_group(shape):
    inputs = activations(shape)
    ghost = GhostBatchNorm(5, ghost_size=4).double()
    chunks = [reference(shape) for _ in range(3)]
    expected = torch.cat([norm(part) for norm, part in zip(chunks, inputs.split(4), strict=True)])
    torch.testing.assert_close(ghost(inputs), expected, rtol=1e-12, atol=1e-12)
    mean_of_groups = torch.stack([norm.running_mean for norm in chunks]).mean(0)
    var_of_groups = torch.stack([norm.running_var for norm in chunks]).mean(0)
    torch.testing.assert_close(ghost.running_mean, mean_of_groups, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ghost.running_var, var_of_groups, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_group_is_batch_norm_in_output_gradient_running_statistics_and_evaluation(shape):
    ghost, batch = GhostBatchNorm(5, ghost_size=12).double(), reference(shape)
    inputs = [activations(shape).requires_grad_() for _ in range(2)]
    upstream = activations(shape).sin()
    for norm, values in zip((ghost, batch), inputs, strict=True):
        for _ in range(3):
            outputs = norm(values)
        outputs.backward(upstream)
    close = {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, **close)
    torch.testing.assert_close(ghost.running_mean, batch.running_mean, **close)
    torch.testing.assert_close(ghost.running_var, batch.running_var, **close)
    torch.testing.assert_close(ghost.eval()(inputs[0]), batch.eval()(inputs[1]), **close)


def test_evaluation_takes_any_batch_and_keeps_the_running_statistics():
    ghost = GhostBatchNorm(5, ghost_size=4).double().eval()
    assert ghost(activations((7, 5))).shape == (7, 5)
    assert ghost.running_mean.eq(0).all()


def test_half_precision_inputs_are_normalised_in_float32():
    ghost = GhostBatchNorm(5, ghost_size=12)
    outputs = ghost((1000 + activations((12, 5))).bfloat16())
    assert outputs.dtype == torch.bfloat16
    assert outputs.float().mean(0).abs().max() < 0.02


def test_layer_norm_of_maps_is_over_channels_and_positions():
    outputs = make_norm("layer", 5, 2, None).double()(activations((12, 5, 4, 4)))
    torch.testing.assert_close(outputs.mean((1, 2, 3)), torch.zeros(12, dtype=torch.float64))


def test_a_batch_that_the_ghost_size_does_not_divide_is_refused_with_a_size_that_does():
    with pytest.raises(ConfigErrors, match=r"model\.ghost_size=5: .*12 examples.*Type model\.ghost_size=4"):
        GhostBatchNorm(5, ghost_size=5)(torch.zeros(12, 5))


@pytest.mark.parametrize(
    ("norm", "ghost_size", "message"),
    [
        ("bach", None, r"model\.norm=bach: .*Type model\.norm=batch"),
        ("ghost_batch", None, r"model\.ghost_size=null"),
        ("ghost_batch", 1, r"model\.ghost_size=1: an integer from 2"),
        ("ghost_batch", 2.5, r"model\.ghost_size=2\.5: an integer from 2"),
        ("batch", 8, r"model\.ghost_size=8: it has no effect with model\.norm=batch"),
        ("none", 8, r"model\.ghost_size=8: it has no effect with model\.norm=none"),
    ],
)
def test_wrong_norms_are_refused(norm, ghost_size, message):
    with pytest.raises(ConfigErrors, match=message):
        make_norm(norm, 5, 1, ghost_size)

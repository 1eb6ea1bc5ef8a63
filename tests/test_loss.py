import math
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from batchlab.loss import FocalLoss, MeanOutput, SquaredError
from batchlab.mistake import WrongInput

CONF = Path(__file__).parents[1] / "conf/loss"
YAMLS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "mean_output")  # it takes no classes


def example(num_examples: int = 5, num_classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(num_examples, num_classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(num_classes, (num_examples,), generator=generator)


@pytest.mark.parametrize("name", YAMLS)
def test_each_yaml_gives_a_loss_with_a_gradient(name):
    loss = instantiate(OmegaConf.load(CONF / f"{name}.yaml"))
    logits, targets = example()
    value = loss(logits.requires_grad_(), targets)
    value.backward()
    assert value.shape == ()
    assert value.item() > 0
    assert logits.grad.abs().sum() > 0


def test_focal_equals_cross_entropy_at_gamma_0():
    logits, targets = example()
    assert FocalLoss(gamma=0.0)(logits, targets).item() == pytest.approx(
        nn.functional.cross_entropy(logits, targets).item(), rel=1e-14
    )


def test_focal_equals_its_formula():
    logits, targets = example()
    probability = logits.softmax(1)[torch.arange(5), targets]
    expected = -((1 - probability) ** 1.5 * probability.log()).mean()
    assert FocalLoss(gamma=1.5)(logits, targets).item() == pytest.approx(expected.item(), rel=1e-12)


def test_focal_of_two_equal_logits_is_log_2_over_4():
    loss = FocalLoss(gamma=2.0)(torch.zeros(1, 2, dtype=torch.float64), torch.tensor([1]))
    assert loss.item() == pytest.approx(math.log(2) / 4, rel=1e-14)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_finite_gradients_where_the_prediction_is_certain(gamma):
    logits = torch.tensor([[200.0, 0.0], [-200.0, 0.0]], requires_grad=True)
    FocalLoss(gamma)(logits, torch.tensor([0, 0])).backward()
    assert logits.grad.isfinite().all()


def test_focal_gradient_agrees_with_finite_differences():
    logits, targets = example()
    assert torch.autograd.gradcheck(lambda z: FocalLoss(2.0)(z, targets), logits.requires_grad_())


def test_negative_gamma_is_refused():
    with pytest.raises(WrongInput, match=r"loss\.gamma=-1"):
        FocalLoss(gamma=-1)


def test_squared_error_of_classes_sums_over_classes_and_averages_over_examples():
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    # (1-0)^2 + (2-1)^2 + 0 = 2 and 0 + 0 + (0-1)^2 = 1.
    assert SquaredError()(logits, torch.tensor([1, 2])).item() == 1.5


def test_squared_error_of_values_is_the_mean_square():
    outputs = torch.tensor([[1.0], [4.0]], dtype=torch.float64)
    assert SquaredError()(outputs, torch.tensor([3.0, 4.0], dtype=torch.float64)).item() == 2.0


def test_squared_error_refuses_values_for_a_model_with_two_outputs():
    with pytest.raises(WrongInput, match="one output"):
        SquaredError()(torch.zeros(2, 2), torch.zeros(2))


def test_mean_output_is_the_mean_above_the_targets():
    outputs = torch.tensor([[1.0], [4.0]], dtype=torch.float64)
    assert MeanOutput()(outputs, torch.tensor([3.0, 0.0], dtype=torch.float64)).item() == 1.0

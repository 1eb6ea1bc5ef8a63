import math
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from batchlab.config.traits import LossTraits, declared, without_traits
from batchlab.errors import ConfigErrors
from batchlab.models.losses import Contrastive, FocalLoss, MeanOutput, SquaredError, Views, nt_xent

CONF = Path(__file__).parents[2] / "conf/loss"
YAMLS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem not in ("own", "mean_output"))


def example(num_examples: int = 5, num_classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(num_examples, num_classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(num_classes, (num_examples,), generator=generator)


@pytest.mark.parametrize("name", YAMLS)
def test_each_yaml_gives_a_loss_with_a_gradient(name):
    node = OmegaConf.load(CONF / f"{name}.yaml")
    loss, (logits, targets) = instantiate(without_traits(node)), example()
    if declared(LossTraits, node).task == "regression":
        logits, targets = logits[:, 0], targets.double()
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
    with pytest.raises(ConfigErrors, match=r"loss\.gamma=-1"):
        FocalLoss(gamma=-1)


def test_squared_error_of_classes_sums_over_classes_and_averages_over_examples():
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    # (1-0)^2 + (2-1)^2 + 0 = 2 and 0 + 0 + (0-1)^2 = 1.
    assert SquaredError()(logits, torch.tensor([1, 2])).item() == 1.5


def test_squared_error_of_values_is_the_mean_square():
    outputs = torch.tensor([[1.0], [4.0]], dtype=torch.float64)
    assert SquaredError()(outputs, torch.tensor([3.0, 4.0], dtype=torch.float64)).item() == 2.0


def test_squared_error_refuses_values_for_a_model_with_two_outputs():
    with pytest.raises(RuntimeError, match="shape"):
        SquaredError()(torch.zeros(2, 2), torch.zeros(2))


def views_of(num_examples: int, width: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2 * num_examples, width, generator=generator, dtype=torch.float64)


def nt_xent_by_loops(projections: torch.Tensor, temperature: float) -> float:
    """Equation 1 and algorithm 1 of Chen et al. 2020, view by view, in plain Python."""
    rows = projections.tolist()
    count = len(rows) // 2

    def weight(one: list[float], other: list[float]) -> float:
        cosine = sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)
        return math.exp(cosine / temperature)

    losses = []
    for i, view in enumerate(rows):
        partner = weight(view, rows[i + count if i < count else i - count])
        losses.append(-math.log(partner / sum(weight(view, rows[k]) for k in range(2 * count) if k != i)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("num_examples", [1, 2, 5])
@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_equals_its_formula(num_examples, temperature):
    projections = views_of(num_examples)
    expected = nt_xent_by_loops(projections, temperature)
    assert nt_xent(projections, temperature).item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_nt_xent_of_equal_projections_counts_the_other_views():
    # each of 2B - 1 = 7 other views is as likely to be the partner
    assert nt_xent(torch.ones(8, 3, dtype=torch.float64), 0.5).item() == pytest.approx(math.log(7), rel=1e-14)


def test_nt_xent_of_a_whole_batch_is_more_than_the_mean_of_its_parts_which_have_fewer_negatives():
    views = views_of(4)
    assert nt_xent(views[[0, 4]], 0.5).item() == 0  # an example alone has none
    parts = [nt_xent(views[rows], 0.5).item() for rows in ([0, 1, 4, 5], [2, 3, 6, 7])]
    assert nt_xent(views, 0.5).item() > sum(parts) / 2


def test_nt_xent_gradient_agrees_with_finite_differences():
    assert torch.autograd.gradcheck(lambda z: nt_xent(z, 0.5), views_of(3).requires_grad_())


def test_contrastive_takes_views_without_labels_and_logits_with_them():
    logits, targets = example()
    views = Views(views_of(5))
    assert Contrastive(0.5)(views, targets).item() == pytest.approx(nt_xent_by_loops(views.projections, 0.5), rel=1e-12)
    assert torch.equal(Contrastive(0.5)(views, targets), Contrastive(0.5)(views, targets.flip(0)))
    assert torch.equal(Contrastive(0.5)(logits, targets), nn.functional.cross_entropy(logits, targets))


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_a_temperature_that_is_not_above_0_is_refused(temperature):
    with pytest.raises(ConfigErrors, match=r"loss\.temperature"):
        Contrastive(temperature)


def test_mean_output_is_the_mean_above_the_targets():
    outputs = torch.tensor([[1.0], [4.0]], dtype=torch.float64)
    assert MeanOutput()(outputs, torch.tensor([3.0, 0.0], dtype=torch.float64)).item() == 1.0

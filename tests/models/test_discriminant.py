import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from batchlab.models.simclr import linear_discriminant


def groups(num_examples: int, num_features: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(num_examples) % 3
    centres = 2 * torch.randn(3, num_features, generator=generator, dtype=torch.float64)
    return centres[targets] + torch.randn(num_examples, num_features, generator=generator).double(), targets


def test_the_discriminant_gives_the_posteriors_of_scikit_learns():
    features, targets = groups(30_000)
    weight, bias = linear_discriminant(features, targets, 3)
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(features.numpy(), targets.numpy())
    expected = torch.from_numpy(theirs.predict_proba(features.numpy()))
    # a thousandth of shrinkage, and a prior of one more example in each class
    torch.testing.assert_close((features @ weight.T + bias).softmax(1), expected, atol=2e-3, rtol=0)


def test_constant_and_doubled_features_and_a_class_without_examples_do_no_harm():
    features, targets = groups(90)
    awkward = torch.cat([features, features[:, :1], torch.ones(90, 2)], dim=1)
    weight, bias = linear_discriminant(awkward, targets, 4)
    answers = (awkward @ weight.T + bias).argmax(1)
    assert weight.isfinite().all()
    assert bias.isfinite().all()
    assert (answers == targets).double().mean().item() > 0.9
    assert not (answers == 3).any()


@pytest.mark.parametrize("features", [torch.ones(6, 2), torch.zeros(6, 2)])
def test_features_that_say_nothing_give_the_priors(features):
    weight, bias = linear_discriminant(features, torch.tensor([0, 0, 0, 1, 1, 1]), 2)
    posteriors = (features.double() @ weight.T + bias).softmax(1)
    torch.testing.assert_close(posteriors, torch.full((6, 2), 0.5, dtype=torch.float64))

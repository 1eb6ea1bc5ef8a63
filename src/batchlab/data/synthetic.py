"""Data made on the spot: labels of a random teacher network, and a noisy quadratic of known optimum."""

import math

import torch
from annotated_types import Interval
from torch import Tensor

from batchlab.data.argument_checks import number, refuse, split_settings, whole_number
from batchlab.data.dataset import Dataset, Split, make_dataset, split_indices


def load_synthetic(
    num_examples: int,
    num_features: int,
    num_classes: int,
    teacher_width: int,
    noise: float,
    seed: int,
    val_fraction: float,
    test_fraction: float,
    split_seed: int,
) -> Dataset:
    """Draw classes by a random teacher: y = argmax V tanh(W x), x ~ N(0, I); some labels replaced at random.

    W ~ N(0, 4 / num_features) and V ~ N(0, 1): tanh is odd, so that no class is preferred, and saturates
    enough that a linear model does not suffice.

    Args:
        num_examples: N, over all splits.
        num_features: length of x.
        num_classes: number of classes.
        teacher_width: hidden units of the teacher.
        noise: share of the labels replaced by a class drawn uniformly, in [0, 1]. The best accuracy that can
            be expected is 1 - noise * (num_classes - 1) / num_classes.
        seed: seed of teacher, inputs and noise.
        val_fraction: of the split, with the next two; see `dataset.split_indices`.
        test_fraction: see there.
        split_seed: see there.

    Returns:
        Inputs [N, num_features] float32, targets in 0 to num_classes - 1.

    Raises:
        ConfigErrors: where a number is not allowed.
    """
    refuse(
        whole_number("data.num_examples", num_examples, 1, 135844),
        whole_number("data.num_features", num_features, 1, 64),
        whole_number("data.num_classes", num_classes, 2, 10),
        whole_number("data.teacher_width", teacher_width, 1, 64),
        number("data.noise", noise, Interval(ge=0, le=1), 0.05),
        whole_number("data.seed", seed, 0, 0),
        split_settings(val_fraction, test_fraction, split_seed),
    )
    source = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num_features, teacher_width, generator=source) * 2 / math.sqrt(num_features)
    output = torch.randn(teacher_width, num_classes, generator=source)
    inputs = torch.randn(num_examples, num_features, generator=source)
    clean = ((inputs @ hidden).tanh() @ output).argmax(dim=1)
    others = torch.randint(num_classes, (num_examples,), generator=source)
    replaced = torch.rand(num_examples, generator=source) < noise
    targets = torch.where(replaced, others, clean)
    best = 1 - noise * (num_classes - 1) / num_classes
    fact = f"labels of a random 2-layer teacher; best accuracy to expect {best:.4f}"
    parts = split_indices(targets, val_fraction, test_fraction, split_seed)
    splits = (Split(inputs[part], targets[part]) for part in parts)
    return make_dataset("synthetic", splits, num_classes, (fact,))


def load_quadratic(
    num_examples: int,
    num_features: int,
    condition: float,
    noise: float,
    seed: int,
    val_fraction: float,
    test_fraction: float,
    split_seed: int,
) -> Dataset:
    """Draw a noisy quadratic of known optimum, as linear regression: y = x . w* + noise * eps, eps ~ N(0, 1).

    x ~ N(0, diag(lambda)) with the power law lambda_i = i**-p, p = ln(condition) / ln(num_features), so that
    lambda_1 / lambda_d = condition. The expected mean squared error of a linear model w is the quadratic

        L(w) = (w - w*)^T diag(lambda) (w - w*) + noise**2

    with Hessian 2 diag(lambda), optimum w* (`optimal_weights`) and least loss noise**2.

    Args:
        num_examples: N, over all splits.
        num_features: d, at least 2.
        condition: largest over smallest eigenvalue of the input covariance, at least 1.
        noise: standard deviation of the noise on the targets, at least 0.
        seed: seed of w*, inputs and noise.
        val_fraction: of the split, with the next two; see `dataset.split_indices`.
        test_fraction: see there.
        split_seed: see there.

    Returns:
        Inputs [N, d] float32, targets [N] float32; num_classes None.

    Raises:
        ConfigErrors: where a number is not allowed.

    Source: Zhang et al. 2019 (arXiv 1907.04164), section 3, the noisy quadratic model.
    """
    refuse(
        whole_number("data.num_examples", num_examples, 1, 65536),
        whole_number("data.num_features", num_features, 2, 128),
        number("data.condition", condition, Interval(ge=1), 1000),
        number("data.noise", noise, Interval(ge=0), 0.5),
        whole_number("data.seed", seed, 0, 0),
        split_settings(val_fraction, test_fraction, split_seed),
    )
    spectrum = power_law_spectrum(num_features, condition)
    source = torch.Generator().manual_seed(seed)
    weights = torch.randn(num_features, generator=source)
    inputs = torch.randn(num_examples, num_features, generator=source) * spectrum.sqrt()
    targets = inputs @ weights + noise * torch.randn(num_examples, generator=source)
    first = ", ".join(f"{weight:.4f}" for weight in weights[:4].tolist())
    facts = (
        f"expected loss (w - w*)^T diag(lambda) (w - w*) + noise^2; the least is noise^2 = {noise**2:g}",
        f"eigenvalues of the input covariance {spectrum[0]:g} to {spectrum[-1]:g}, condition {condition:g}",
        f"w* = [{first}{', ...' if num_features > 4 else ''}], norm {weights.norm():.4f} (optimal_weights)",
    )
    parts = split_indices(targets, val_fraction, test_fraction, split_seed)
    splits = (Split(inputs[part], targets[part]) for part in parts)
    return make_dataset("quadratic", splits, None, facts)


def power_law_spectrum(num_features: int, condition: float) -> Tensor:
    """Return the eigenvalues i**-p, i = 1 to num_features, largest over smallest `condition`; [num_features]."""
    power = math.log(condition) / math.log(num_features)
    return torch.arange(1, num_features + 1).double().pow(-power).float()


def optimal_weights(num_features: int, seed: int) -> Tensor:
    """Return w* ~ N(0, I), the first draw of `load_quadratic` with the same arguments; [num_features] float32."""
    return torch.randn(num_features, generator=torch.Generator().manual_seed(seed))

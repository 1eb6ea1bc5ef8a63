"""The linear classifier of features that nothing has to be trained for."""

import torch
from torch import Tensor

SHRINKAGE = 1e-3
"""Share of the mean variance that is added to every feature's: features may be constant, or sums of others."""


def linear_discriminant(features: Tensor, targets: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Weights and biases of linear discriminant analysis: log posteriors of Gaussian classes with one covariance.

    ``weight_c = S^-1 mean_c`` and ``bias_c = log prior_c - mean_c S^-1 mean_c / 2``, S the covariance within
    classes with a thousandth of its mean variance added to the diagonal, prior_c = (n_c + 1) / (N + C).

    Args:
        features: [N, F].
        targets: [N] class numbers, int64.
        num_classes: C; a class without examples gets the mean of all.

    Returns:
        weight [C, F] and bias [C], float64 on the host.

    Source: Hastie, Tibshirani and Friedman 2009, The Elements of Statistical Learning, equation 4.10.
    """
    features, targets = features.cpu().double(), targets.cpu()
    counts = targets.bincount(minlength=num_classes).double()
    sums = torch.zeros(num_classes, features.shape[1], dtype=torch.float64).index_add_(0, targets, features)
    means = torch.where(counts[:, None] > 0, sums / counts[:, None], features.mean(0))
    within = features - means[targets]
    covariance = within.T @ within / len(features)
    # a positive floor: features that never differ within a class
    ridge = (SHRINKAGE * covariance.diagonal().mean()).clamp(min=1e-12)
    weight = torch.linalg.solve(covariance + ridge * torch.eye(len(covariance), dtype=torch.float64), means.T).T
    priors = (counts + 1) / (len(features) + num_classes)
    return weight, priors.log() - (means * weight).sum(1) / 2

"""Losses that torch does not have: each maps logits [B, C] and targets [B] to the mean over the batch."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor, nn

from batchlab.data.argument_checks import number, refuse


class FocalLoss(nn.Module):
    """Cross entropy that counts examples less, the better they are predicted.

    ``mean over examples of -(1 - p_t)^gamma log p_t``, p_t the softmax probability of the true class; cross
    entropy for gamma = 0.

    Args:
        gamma: how much less, at least 0.

    Raises:
        ConfigErrors: where gamma is negative.

    Source: Lin et al. 2017, equation 4 (equation 5 with alpha = 1), over C classes.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        refuse(number("loss.gamma", gamma, Interval(ge=0), 2))
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, in nats, of logits [B, C] and int64 class numbers [B], C at least 2."""
        true = targets.unsqueeze(1)
        total = logits.logsumexp(1)
        log_right = logits.gather(1, true).squeeze(1) - total
        # log(1 - p_t) from the other classes: 1 - exp(log p_t) would lose every digit, and its power the gradient.
        log_wrong = logits.scatter(1, true, -torch.inf).logsumexp(1) - total
        return -((self.gamma * log_wrong).exp() * log_right).mean()


class SquaredError(nn.Module):
    """Squared error: to the target for regression, to one-hot vectors for classes.

    Class numbers: ``mean over examples of sum over classes of (logit - onehot)^2``. Values: ``mean over examples
    of (output - target)^2``, outputs [B] or [B, 1].
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, in the targets' unit squared; logits [B, C], or [B] or [B, 1] for float targets [B]."""
        if not targets.is_floating_point():
            return (logits - F.one_hot(targets, logits.shape[1])).square().sum(1).mean()
        return (logits.reshape(targets.shape) - targets).square().mean()


class RegressionLoss(nn.Module):
    """A loss of numbers, (outputs [B], targets [B]) -> scalar, for a model that returns [B, 1]."""

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs [B, 1] and float targets [B], given both in one shape."""
        return self.loss(outputs.squeeze(1), targets)


class Views(NamedTuple):
    """Projections [2B, D] of two views of B examples, rows i and i + B; a tuple, so that torch's tools look into it."""

    projections: Tensor

    def float(self) -> "Views":
        """Return the same as float32."""
        return Views(self.projections.float())


def nt_xent(projections: Tensor, temperature: float) -> Tensor:
    """Return the normalised, temperature-scaled cross entropy of telling each view's partner from all other views.

    ``mean over views i of -log(exp(s_ij / t) / sum over k != i of exp(s_ik / t))``, s the cosine of two
    projections and j the other view of i's example: 2(B - 1) negatives, so the loss of a batch is not the mean of
    its parts' losses.

    Args:
        projections: [2B, D]; rows i and i + B are views of example i.
        temperature: t, above 0.

    Returns:
        A scalar, in nats; log(2B - 1) where all projections are equal.

    Source: Chen et al. 2020 (2002.05709), equation 1 and algorithm 1.
    """
    num_views = len(projections)
    directions = F.normalize(projections, dim=1)
    itself = torch.eye(num_views, dtype=torch.bool, device=projections.device)
    others = (directions @ directions.T / temperature).masked_fill(itself, -torch.inf)
    partners = torch.arange(num_views, device=projections.device).roll(num_views // 2)
    return F.cross_entropy(others, partners)


class Contrastive(nn.Module):
    """NT-Xent of the views' projections, which takes no labels; of logits their cross entropy.

    A contrastive model gives views in training and a classifier's logits in evaluation.

    Args:
        temperature: of NT-Xent, above 0.

    Raises:
        ConfigErrors: where temperature is not above 0.

    Source: Chen et al. 2020 (2002.05709), sections 2.1 and 5.1.
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        refuse(number("loss.temperature", temperature, Interval(gt=0), 0.5))
        self.temperature = temperature

    def forward(self, output: Views | Tensor, targets: Tensor) -> Tensor:
        """Return the loss, in nats, of `Views`, or of logits [B, C] and class numbers [B]."""
        if isinstance(output, Tensor):
            return F.cross_entropy(output, targets)
        return nt_xent(output.projections, self.temperature)


class MeanOutput(nn.Module):
    """The output itself as the loss: ``mean over examples of (output - target)``, the target being the least loss."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of outputs [B] or [B, 1], each example's loss, less float targets [B]."""
        return (outputs.reshape(targets.shape) - targets).mean()

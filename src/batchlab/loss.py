"""Losses that torch does not have: each maps logits [B, C] and targets [B] to the mean over the batch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab.mistake import wrong


class FocalLoss(nn.Module):
    """Cross entropy that counts examples less, the better they are predicted.

    ``mean over examples of -(1 - p_t)^gamma log p_t``, p_t the softmax probability of the true class; cross
    entropy for gamma = 0.

    Args:
        gamma: how much less, at least 0.

    Raises:
        WrongInput: where gamma is negative.

    Source: Lin et al. 2017, equation 4 (equation 5 with alpha = 1), over C classes.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        if gamma < 0:
            raise wrong("loss.gamma", gamma, "a number of at least 0", "loss.gamma=2")
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss.

        Args:
            logits: [B, C], C at least 2.
            targets: [B] class numbers, int64.

        Returns:
            A scalar, in nats.
        """
        true = targets.unsqueeze(1)
        total = logits.logsumexp(1)
        log_right = logits.gather(1, true).squeeze(1) - total
        # log(1 - p_t) from the other classes: 1 - exp(log p_t) would lose every digit, and its power the gradient.
        log_wrong = logits.scatter(1, true, -torch.inf).logsumexp(1) - total
        return -((self.gamma * log_wrong).exp() * log_right).mean()


class SquaredError(nn.Module):
    """Squared error: to the target for regression, to one-hot vectors for classes.

    Class numbers: ``mean over examples of sum over classes of (logit - onehot)^2``. Values: ``mean over examples
    of (output - target)^2``.
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss.

        Args:
            logits: [B, C]; [B, 1] for regression.
            targets: [B] class numbers (int64), or values (float).

        Returns:
            A scalar, in the targets' unit squared.

        Raises:
            WrongInput: where targets are values and the model has more than one output.
        """
        if not targets.is_floating_point():
            return (logits - F.one_hot(targets, logits.shape[1])).square().sum(1).mean()
        if logits.shape[1] != 1:
            allowed = f"regression needs a model with one output, this one has {logits.shape[1]}"
            raise wrong("model", "this one", allowed, "a model that uses num_classes")
        return (logits.squeeze(1) - targets).square().mean()


class MeanOutput(nn.Module):
    """The output itself as the loss: ``mean over examples of (output - target)``, the target being the least loss."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss.

        Args:
            outputs: [B, 1], each example's loss.
            targets: [B] float, what is taken off it.

        Returns:
            A scalar, in the outputs' unit.
        """
        return (outputs.squeeze(1) - targets).mean()

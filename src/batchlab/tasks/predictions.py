"""What a model does on a split: loss, accuracy, and at the end precision, recall and areas."""

# scikit-learn has no types
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score
from torch import Tensor, nn


@dataclass(frozen=True)
class Predictions:
    """A model's answers on a split."""

    logits: Tensor  # [N, C] float32 on the host
    targets: Tensor  # [N] int64 classes or float32 values on the host
    loss: float  # mean loss over the split

    @property
    def accuracy(self) -> float | None:
        """Return the share of examples whose largest logit is the target's, in [0, 1]; None for regression."""
        if self.targets.is_floating_point():
            return None
        return (self.logits.argmax(dim=1) == self.targets).double().mean().item()


@torch.no_grad()
def predict(
    model: nn.Module,
    forward: Callable[[Tensor], Tensor],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
) -> Predictions:
    """Run a model over a split, part by part, in evaluation mode; its mode is put back afterwards.

    Args:
        model: whose mode is switched.
        forward: inputs [n, ...] -> logits [n, C]; the model under its precision.
        loss_function: (logits, targets) -> scalar mean.
        batches: of the split.
    """
    was_training = model.training
    model.eval()
    logits, targets, losses = list[Tensor](), list[Tensor](), list[Tensor]()
    for inputs, target in batches:
        output = forward(inputs).float()
        losses.append(loss_function(output, target).double() * len(target))
        logits.append(output.cpu())
        targets.append(target.cpu())
    model.train(was_training)
    all_targets = torch.cat(targets)
    loss = (torch.stack(losses).sum() / len(all_targets)).item()
    return Predictions(torch.cat(logits), all_targets, loss)


NOT_A_NUMBER = float("nan")
CLASS_METRICS = ("precision", "recall", "auroc", "auprc")


def class_metrics(predictions: Predictions) -> dict[str, float]:
    """Return precision, recall, AUROC and AUPRC of a classifier; one against the rest, mean over classes.

    Two classes: of class 1. A class that is never predicted has precision 0. AUROC and AUPRC are NaN where
    the logits are not finite or a class is missing; all are NaN for regression.

    """
    logits, targets = predictions.logits, predictions.targets.numpy()
    missing: dict[str, float] = dict.fromkeys(CLASS_METRICS, NOT_A_NUMBER)
    if predictions.targets.is_floating_point() or not logits.isfinite().all():
        return missing
    answers, num_classes = logits.argmax(dim=1).numpy(), logits.shape[1]
    average = "binary" if num_classes == 2 else "macro"
    # scikit-learn takes a number for zero_division and documents it; its stubs say str
    precision = precision_score(targets, answers, average=average, zero_division=0)  # pyright: ignore
    recall = recall_score(targets, answers, average=average, zero_division=0)  # pyright: ignore
    found = {"precision": float(precision), "recall": float(recall)}
    if len(np.unique(targets)) < num_classes:
        return missing | found
    probabilities = logits.double().softmax(dim=1).numpy()
    one_against_rest = (
        (targets, probabilities[:, 1]) if num_classes == 2 else (np.eye(num_classes)[targets], probabilities)
    )
    auroc, auprc = roc_auc_score(*one_against_rest), average_precision_score(*one_against_rest)
    return found | {"auroc": float(auroc), "auprc": float(auprc)}

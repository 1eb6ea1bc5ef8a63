"""Classification: one class of several for each example."""

# torchmetrics is imported when a metric is made: it takes a second
from typing import Any

from batchlab.tasks.metric import ALONE, LOSS, Metric
from batchlab.tasks.task import Task


def _made(name: str, num_classes: int, average: str | None = None) -> Any:
    """Make a metric of torchmetrics; of two classes that of class 1, of more the mean over classes."""
    import torchmetrics.classification as metrics

    average = average or ("none" if num_classes == 2 else "macro")
    return getattr(metrics, f"Multiclass{name}")(num_classes=num_classes, average=average, validate_args=False, **ALONE)


METRICS = (
    Metric("accuracy", "accuracy", "maximize", "share", "answers", lambda num: _made("Accuracy", num, "micro")),
    Metric(
        *("balanced_accuracy", "balanced accuracy", "maximize", "share", "answers"),
        lambda num: _made("Accuracy", num, "macro"),
    ),
    Metric("f1", "F1", "maximize", "share", "answers", lambda num: _made("F1Score", num)),
    Metric("precision", "precision", "maximize", "share", "answers", lambda num: _made("Precision", num)),
    Metric("recall", "recall", "maximize", "share", "answers", lambda num: _made("Recall", num)),
    Metric("auroc", "AUROC", "maximize", "share", "probabilities", lambda num: _made("AUROC", num), True),
    Metric("auprc", "AUPRC", "maximize", "share", "probabilities", lambda num: _made("AveragePrecision", num), True),
    LOSS,
)

CLASSIFICATION = Task("classification", METRICS)
CONTRASTIVE = Task("contrastive", METRICS)
"""Learns without labels; scored by the classifier that is fitted to what it learned."""

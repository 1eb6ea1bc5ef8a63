"""Regression: a number for each example; and functions whose value itself is to be small."""

# torchmetrics is imported when a metric is made: it takes a second
from typing import Any

from batchlab.tasks.metric import ALONE, LOSS, Metric
from batchlab.tasks.task import Task


def _made(name: str, **settings: Any) -> Any:
    import torchmetrics.regression as metrics

    return getattr(metrics, name)(**settings, **ALONE)


REGRESSION = Task(
    "regression",
    (
        Metric("rmse", "RMSE", "minimize", "target", make=lambda _: _made("MeanSquaredError", squared=False)),
        Metric("mae", "MAE", "minimize", "target", make=lambda _: _made("MeanAbsoluteError")),
        Metric("r2", "R²", "maximize", "share", make=lambda _: _made("R2Score"), needs_variety=True),
        LOSS,
    ),
)
MINIMIZATION = Task("minimization", (LOSS,))
"""The model's output is a function's value, its loss how far that is above the least."""

"""The tasks that batchlab has, their metrics by name, and the metric by which a run is judged."""

from collections.abc import Sequence

from batchlab.tasks.classification import CLASSIFICATION, CONTRASTIVE
from batchlab.tasks.metric import Metric
from batchlab.tasks.regression import MINIMIZATION, REGRESSION
from batchlab.tasks.task import Task

TASKS = {each.name: each for each in (CLASSIFICATION, REGRESSION, CONTRASTIVE, MINIMIZATION)}
METRICS = {metric.name: metric for task in TASKS.values() for metric in task.metrics}
FINAL = "final/val_"
"""Names of metrics of the validation split at the end of the budget begin so."""


def task_for(declared: str, num_classes: int | None) -> Task:
    """Return the task of a loss on a data set: the one that the loss declares, else that of the targets.

    Args:
        declared: `traits.task` of the loss; any = what the targets say.
        num_classes: of the data set; None where its targets are numbers.
    """
    of_targets = CLASSIFICATION if num_classes is not None else REGRESSION
    return TASKS.get(declared, of_targets)


def metric_of_final(name: str) -> Metric | None:
    """Return the metric of a final's name, ``final/val_<name>`` or ``final/test_<name>``; None where it is none."""
    return METRICS.get(name.partition("_")[2]) if name.startswith(("final/val_", "final/test_")) else None


def score_for(task: Task, score: str | None, objectives: Sequence[str]) -> Metric:
    """Return the metric by which a run is judged: `score`, else the first of `objectives` on val, else the task's.

    Objectives are names, without direction; `score` is None where it is not typed.
    """
    typed = [score] if score else [name.removeprefix(FINAL) for name in objectives if name.startswith(FINAL)]
    found = [metric for name in typed if (metric := task.find(name)) is not None]
    return found[0] if found else task.score

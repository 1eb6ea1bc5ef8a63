"""Time to a target accuracy: whether a run has reached it, and what it took."""

from collections.abc import Sequence

from batchlab.tasks.predictions import NOT_A_NUMBER
from batchlab.training.evaluation import Evaluation


def reached(accuracies: Sequence[float | None], target: float | None) -> bool:
    """Return whether the last two validation accuracies lie at or above the target."""
    if target is None or len(accuracies) < 2:
        return False
    return all((accuracy or 0.0) >= target for accuracy in accuracies[-2:])


def target_metrics(evaluations: Sequence[Evaluation], target: float | None) -> dict[str, float]:
    """Return seconds, epochs, steps and examples to the target: the first of two consecutive evaluations above it.

    Linear between that evaluation and the one before; at the first evaluation its own numbers. NaN where the target
    was not reached (right-censored); nothing without a target.
    """
    if target is None:
        return {}

    def numbers(evaluation: Evaluation) -> dict[str, float]:
        point, counts = evaluation.point, evaluation.point.counts
        return {"seconds": counts.seconds, "epochs": point.epochs, "steps": counts.steps, "examples": counts.processed}

    if not reached([each.val_accuracy for each in evaluations], target):
        return {f"target/{name}": NOT_A_NUMBER for name in ("seconds", "epochs", "steps", "examples")}
    above = evaluations[-2]
    before = evaluations[-3] if len(evaluations) > 2 else above
    rise = (above.val_accuracy or 0.0) - (before.val_accuracy or 0.0)
    share = (target - (before.val_accuracy or 0.0)) / rise if rise > 0 else 1.0
    low, high = numbers(before), numbers(above)
    return {f"target/{name}": low[name] + share * (high[name] - low[name]) for name in high}

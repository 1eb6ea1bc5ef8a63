"""A target accuracy: whether a run has reached it, and what it took."""

from batchlab.tasks.predictions import NOT_A_NUMBER
from batchlab.training.loop import EvalPoint


def reached(points: list[EvalPoint], target: float | None) -> bool:
    """Whether the last two evaluations lie at or above the target accuracy."""
    if target is None or len(points) < 2:
        return False
    return all((point.val_accuracy or 0.0) >= target for point in points[-2:])


def target_metrics(points: list[EvalPoint], target: float | None) -> dict[str, float]:
    """Seconds, epochs, steps and examples to the target: the first of two consecutive points above it.

    Linear between that point and the one before; at the first evaluation its own numbers.

    Args:
        points: evaluations in order.
        target: validation accuracy, or None.

    Returns:
        ``target/...``, NaN where the target was not reached (right-censored); nothing without a target.
    """
    if target is None:
        return {}

    def numbers(point: EvalPoint) -> dict[str, float]:
        counts = point.counts
        values = (counts.seconds, point.epochs, counts.steps, counts.processed)
        return dict(zip(("seconds", "epochs", "steps", "examples"), values, strict=True))

    if not reached(points, target):
        return {f"target/{name}": NOT_A_NUMBER for name in ("seconds", "epochs", "steps", "examples")}
    above = points[-2]
    before = points[-3] if len(points) > 2 else above
    rise = (above.val_accuracy or 0.0) - (before.val_accuracy or 0.0)
    share = (target - (before.val_accuracy or 0.0)) / rise if rise > 0 else 1.0
    low, high = numbers(before), numbers(above)
    return {f"target/{name}": low[name] + share * (high[name] - low[name]) for name in high}

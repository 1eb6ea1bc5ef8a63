"""Time to a target: whether the score of a run has reached it, and what it took."""

from collections.abc import Sequence

from batchlab.tasks.evaluate import NOT_A_NUMBER
from batchlab.training.evaluation import Evaluation


def reached(scores: Sequence[float | None], target: float | None, sign: int) -> bool:
    """Return whether the last two scores are the target or better; `sign` is -1 where smaller is better."""
    if target is None or len(scores) < 2:
        return False
    return all(score is not None and sign * score >= sign * target for score in scores[-2:])


def target_metrics(evaluations: Sequence[Evaluation], target: float | None, sign: int) -> dict[str, float]:
    """Return seconds, epochs, steps and examples to the target: the first of two consecutive evaluations at it.

    Linear between that evaluation and the one before; at the first evaluation its own numbers. NaN where the target
    was not reached (right-censored); nothing without a target.
    """
    if target is None:
        return {}

    def numbers(evaluation: Evaluation) -> dict[str, float]:
        point, counts = evaluation.point, evaluation.point.counts
        return {"seconds": counts.seconds, "epochs": point.epochs, "steps": counts.steps, "examples": counts.processed}

    if not reached([each.score for each in evaluations], target, sign):
        return {f"target/{name}": NOT_A_NUMBER for name in ("seconds", "epochs", "steps", "examples")}
    there = evaluations[-2]
    before = evaluations[-3] if len(evaluations) > 2 else there
    assert there.score is not None
    gain = sign * (there.score - before.score) if before.score is not None else 0.0
    share = sign * (target - (before.score or 0.0)) / gain if gain > 0 else 1.0
    low, high = numbers(before), numbers(there)
    return {f"target/{name}": low[name] + share * (high[name] - low[name]) for name in high}

"""A study in numbers: what summary.json has, and what the page says before its figures."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from batchlab.laws.estimate import Estimate, of_draws
from batchlab.laws.optimum import best_batch_size, good_range, is_known, limits_of
from batchlab.laws.step_time import StepTime
from batchlab.report.answer import Answer, Choice, score_on_test
from batchlab.report.comparison import Row
from batchlab.report.lr_figure import LrPoints
from batchlab.report.step_time_panel import StepPoints
from batchlab.report.study_data import Study, label_of, others_in_words, score_name, settings_in_words
from batchlab.report.time_to_target import TargetPoints
from batchlab.report.tradeoff import axis_of

LIMITS = {
    "overhead": "overhead: more than half of a step at this batch size is not work on examples",
    "work": "work: the device is busy with examples that are needed; only a faster device or a smaller model helps",
    "memory": "memory: a larger batch would be faster if it fitted",
    "noise": "noise: the gradient is precise already; a larger batch spends examples without saving as many steps",
}
BALANCED = (
    "overhead and noise alike: a smaller batch would spend more time on overhead, a larger one on examples that save "
    "few steps; less overhead (compile, fewer kernels) would help"
)
UNKNOWN = "not known, the interval of B* is too wide to say"


def summary_of(
    study: Study,
    answer: Answer | None,
    steps: Sequence[StepPoints],
    target: TargetPoints | None,
    rates: Sequence[LrPoints],
    facts: Mapping[str, str],
) -> dict[str, Any]:
    """Return everything that a page says in numbers, fit for JSON: what is not known is null."""
    kind = "search" if study.search is not None else "target" if study.has_target else "grid"
    record: dict[str, Any] = {"study": study.name, "kind": kind, "judged_by": judged_by(study)}
    if answer is not None:
        choices = [choice_record(study, choice) for choice in answer.choices]
        record |= {"recommended": choices[0], "runners_up": choices[1:], "reason": answer.reason}
        record |= {"caveats": list(answer.caveats), "limits": limits_in_words(answer.best, steps, target)}
        record["recommended"]["test_score"] = score_on_test(study, answer.best)
    record["laws"] = {
        "step_time": {each.label or "all": step_record(each.law) for each in steps if each.law is not None},
        "convergence": convergence_record(target),
        "lr_exponent": {each.label or "all": each.law.exponent.record() for each in rates if each.law is not None},
    }
    record |= {"num_runs": len(study.runs), "num_configurations": len(study.rows), "left_out": dict(study.left_out)}
    return finite(record | {"provenance": dict(facts)})


def judged_by(study: Study) -> str:
    """Return what decides between configurations, in words."""
    if study.search is not None:
        return " and ".join(axis_of(name).title.split(" (")[0] for name in study.search.metrics)
    return "training seconds to the target" if study.has_target else score_name(study)


def choice_record(study: Study, choice: Choice) -> dict[str, Any]:
    """Return a configuration of the answer with its numbers."""
    row = choice.row
    return {
        "name": choice.name,
        "settings": settings_in_words(row),
        "others": others_in_words(row),
        "batch_size": row.batch_size,
        "lr": row.lr,
        "epochs": row.epochs.value,
        "score": score_name(study),
        "value": interval(row.score),
        "digits": row.metric.digits(row.score.value),
        "seconds": interval(row.seconds),
        "train_seconds": interval(row.train_seconds),
        "calibrated_train_seconds": interval(row.calibrated_seconds) if row.calibrated_seconds else None,
        "target_seconds": interval(row.target_seconds) if row.target_seconds else None,
        "steps": row.steps.value,
        "examples_per_second": interval(row.examples_per_second),
        "peak_memory_bytes": row.peak_memory_bytes,
        "n": row.n,
        "is_fresh": choice.is_fresh,
        "command": row.origin,
    }


def interval(value: Estimate) -> dict[str, float | int]:
    """Return mean, ends of the 95 % t interval and n; no ends at n = 1."""
    return {"mean": value.value, "low": value.low, "high": value.high, "n": value.n}


def step_record(law: StepTime) -> dict[str, Any]:
    """Return the law of step time in numbers."""
    estimates = {name: each.record() for name, each in law.estimates().items()}
    return estimates | {"smallest": law.smallest, "largest": law.largest}


def convergence_record(target: TargetPoints | None) -> dict[str, Any] | None:
    """Return the law of convergence and the batch size of the least time in numbers."""
    if target is None or target.targets.law is None:
        return None
    names = ("min_examples", "critical_batch_size", "min_steps")
    record: dict[str, Any] = {name: getattr(target.targets.law, name).record() for name in names}
    if target.costs is not None:
        record |= {"optimal_batch_size": best_batch_size(target.costs).record()}
        record |= {"within_10_percent": list(good_range(target.costs))}
    return record


def limits_in_words(row: Row, steps: Sequence[StepPoints], target: TargetPoints | None) -> str:
    """Say what limits at a configuration: by both laws, by step time alone, or that it is not known."""
    if target is not None and target.costs is not None:
        known = is_known(best_batch_size(target.costs))
        return describe_limits(limits_of(target.costs, row.batch_size)) if known else UNKNOWN
    own = [each for each in steps if len(steps) == 1 or each.label == label_of(row)]
    law = own[0].law if own else None
    if law is None:
        return "not known: it takes step times with these settings at two batch sizes"
    with np.errstate(invalid="ignore"):
        works, here = law.draws[:, 1] * row.batch_size, law.seconds(row.batch_size).value
        shares = 1 - works / np.maximum(law.draws[:, 2], law.draws[:, 0] + works)
        share = of_draws(1 - law.beta_seconds.value * row.batch_size / here, shares)
    interval = f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"
    measured = f"{interval} of a step at batch size {row.batch_size:,} is overhead"
    if share.low > 0.5:
        return f"overhead: {measured}; a larger batch costs little more time per step"
    if share.high < 0.5:
        return f"work: {measured}, the rest is work on examples; a larger batch saves little time per example"
    return f"overhead or work, not told apart: {measured}"


def describe_limits(limits: Sequence[str]) -> str:
    """Return the words of `laws.optimum.limits_of` as a sentence; empty for none."""
    if {"overhead", "noise"} <= set(limits):
        return BALANCED
    return "; ".join(LIMITS[word] for word in limits if word in LIMITS)


def finite(value: Any, digits: int | None = None) -> Any:
    """Return the value with null for NaN and infinity, which JSON does not have, and floats of so many digits."""
    if isinstance(value, dict):
        return {key: finite(inner, digits) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner, digits) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}") if isinstance(value, float) and digits else value

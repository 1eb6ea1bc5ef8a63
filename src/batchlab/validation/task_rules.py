"""Gate 2 of what is learned: loss, score and objectives that go with the targets, a target above chance."""

import math
from collections.abc import Iterable, Iterator, Sequence

from batchlab.config.objectives import SCORE
from batchlab.config.schema import Config
from batchlab.config.traits import LossTraits, declared
from batchlab.data.dataset import Dataset
from batchlab.errors import ConfigError
from batchlab.tasks.evaluate import chance_level
from batchlab.tasks.metric import LOSS, Metric, distance
from batchlab.tasks.objectives import check_of_task, name_of, replaced
from batchlab.training.plan import ResolvedRun


def check_task(run: ResolvedRun) -> Iterator[ConfigError]:
    """Find a loss, a score, objectives or a target that do not go with the data."""
    config = run.config
    errors = [*_loss(config, run.dataset)] or check_of_task(config.objectives, config.score, run.task)
    if not errors and run.plan.target is not None:
        yield from check_target("budget.score", run.plan.target, run.score, run.dataset)
    yield from errors


def check_comparable(varied: Iterable[str], objectives: Sequence[str], score: str | None) -> Iterator[ConfigError]:
    """Find a loss by which runs would be judged whose losses are not the same function.

    Args:
        varied: keys in which the runs differ.
        objectives: as they are typed.
        score: likewise; None = the task's own.
    """
    varied = [*varied]
    if "score" in varied:
        yield ConfigError("score", score, "one metric judges all runs, and changes none of them", "score=null")
    if (key := next((each for each in varied if each == "loss" or each.startswith("loss.")), None)) is None:
        return
    allowed = f"is another function for each value of {key}; compare by a metric"
    if score == LOSS.name:
        yield ConfigError("score", score, allowed, "score=null")
    for objective in objectives:
        if name_of(objective) in ("final/val_loss", "final/train_loss"):
            yield ConfigError("objectives", objective, allowed, replaced(objectives, objective, SCORE))


def chance_of(score: Metric, dataset: Dataset) -> float:
    """Return the best that a metric is on the validation split for an output that looks at no input; NaN for a loss."""
    return chance_level(score, dataset.train.targets, dataset.val.targets, dataset.num_classes, dataset.target_std)


def check_target(key: str, target: float, score: Metric, dataset: Dataset) -> Iterator[ConfigError]:
    """Find a target that no score can reach, or that a model reaches which looks at no input."""
    chance = chance_of(score, dataset)
    best = None if score.unit == "loss" else distance(score.direction, 0.0)
    better = distance(score.direction, distance(score.direction, chance) / 2)
    fix = f"{key}={better:.4g}" if better not in (best, chance) and math.isfinite(better) else f"{key}=0.5"
    if best is not None and chance == best:
        fix = "score=loss"
    if not math.isfinite(target):
        yield ConfigError(key, target, f"a value of {score.title}", fix)
    elif best is not None and score.sign * target > score.sign * best:
        allowed = f"at {'most' if score.sign > 0 else 'least'} {best:g}, the best {score.title} there can be"
        yield ConfigError(key, target, allowed, fix)
    elif score.sign * target <= score.sign * chance:
        allowed = f"{score.title} {score.text(chance)} is reached by a model that always answers the same"
        yield ConfigError(key, target, allowed, fix)


def _loss(config: Config, dataset: Dataset) -> Iterator[ConfigError]:
    """Find a loss that is for other targets than those of the data."""
    loss, traits = config.loss["_target_"], declared(LossTraits, config.loss)
    if traits.only_data not in (None, dataset.name):
        fix = f"data={traits.only_data} model={traits.only_data}"
        yield ConfigError("loss", loss, f"says nothing of the targets of {dataset.name}", fix)
    elif dataset.num_classes is None and traits.task in ("classification", "contrastive"):
        allowed = f"is for {traits.task} and needs classes; {dataset.name} has numbers as targets"
        fix = "loss=mean_output" if dataset.name == "surface" else "loss=squared_error"
        yield ConfigError("loss", loss, allowed, f"{fix}, or loss=own for one of your own")
    elif dataset.num_classes is not None and traits.task in ("regression", "minimization"):
        allowed = f"is for {traits.task}; {dataset.name} has {dataset.num_classes} classes as targets"
        yield ConfigError("loss", loss, allowed, "loss=cross_entropy")

"""What an option declares of itself under `traits`, beside its `_target_`; no behaviour goes by a class's name."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeVar

import yaml

from batchlab.config.installation import CONF
from batchlab.config.schema import Config
from batchlab.errors import ConfigError, nearest

TASKS = ("classification", "regression", "contrastive", "minimization", "any")


@dataclass(frozen=True)
class LossTraits:
    """What a loss is for.

    Attributes:
        task: classification (targets are classes), regression (numbers), contrastive (views of a batch), minimization
            (the output is the loss itself), or any.
        only_data: name of the one data set that it is for; None = any data of its task.
    """

    task: str = "any"
    only_data: str | None = None


@dataclass(frozen=True)
class OptimizerTraits:
    """How an optimizer steps.

    Attributes:
        multi_pass: a step evaluates the loss several times, so that it has no one step time.
        adaptive: the size of a step does not grow with the gradient (square-root rule); None = it has betas or alpha.
        reads_lr_once: lr is its first step size, which no schedule moves.
    """

    multi_pass: bool = False
    adaptive: bool | None = None
    reads_lr_once: bool = False


@dataclass(frozen=True)
class LrScalingTraits:
    """What an lr-scaling rule does: `moves_lr` with the batch size, or leaves it."""

    moves_lr: bool = True


@dataclass(frozen=True)
class LrScheduleTraits:
    """What an lr schedule does.

    Attributes:
        independent_of_length: its curve does not know the length of the run. Schedules are functions of progress, so
            it is constant: a point on the curve is the end of a shorter run.
    """

    independent_of_length: bool = False


@dataclass(frozen=True)
class BatchScheduleTraits:
    """What a batch schedule does: `grows` the batch along the run, or keeps it."""

    grows: bool = False


TRAITS: dict[type, str] = {
    LossTraits: "loss",
    OptimizerTraits: "optimizer",
    LrScalingTraits: "lr_scaling",
    LrScheduleTraits: "lr_schedule",
    BatchScheduleTraits: "batch_schedule",
}
Traits = TypeVar("Traits")


def declared(kind: type[Traits], node: Mapping[str, Any]) -> Traits:
    """Return the traits in an option's node, else those that batchlab's options declare for the same `_target_`."""
    return of_target(kind, node, _shipped(TRAITS[kind]))


def of_target(kind: type[Traits], node: Mapping[str, Any], options: Iterable[Mapping[str, Any]]) -> Traits:
    """Return the traits in a node, else those that one of `options` declares for the same `_target_`."""
    target, traits = node.get("_target_"), dict[str, Any]()
    for option in options:
        if option.get("_target_") == target:
            traits |= option.get("traits") or {}
    traits |= dict(node.get("traits") or {})
    return kind(**{each.name: traits[each.name] for each in fields(kind) if each.name in traits})  # pyright: ignore


def own_settings(group: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the option that a node was made of: the one of its `_target_` with most of its keys.

    Empty for an option from elsewhere, or one of which a key was deleted.
    """
    own = [each for each in _shipped(group) if each.get("_target_") == node.get("_target_") and set(each) <= set(node)]
    return max(own, key=len, default={})


def without_traits(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the node that is handed to its `_target_`."""
    return {key: value for key, value in node.items() if key != "traits"}


def check_traits(config: Config) -> Iterator[ConfigError]:
    """Find traits that no option of the group has, and values that they do not take."""
    for kind, group in TRAITS.items():
        traits, names = getattr(config, group).get("traits"), [each.name for each in fields(kind)]
        if traits is not None and not isinstance(traits, dict):
            yield ConfigError(f"{group}.traits", traits, f"one or several of {', '.join(names)}", f"~{group}.traits")
            continue
        for name, value in (traits or {}).items():
            key = f"{group}.traits.{name}"
            if name not in names:
                close = nearest(name, names)
                fix = f"+{group}.traits.{close}={value}" if close else f"the command without {key}"
                yield ConfigError(key, value, f"no such trait; there are {', '.join(names)}", fix)
            elif name == "task" and value not in TASKS:
                yield ConfigError(key, value, f"one of {', '.join(TASKS)}", f"{key}=any")
            elif name not in ("task", "only_data") and not isinstance(value, bool):
                yield ConfigError(key, value, "true or false", f"{key}=true")


@lru_cache
def _shipped(group: str) -> tuple[dict[str, Any], ...]:
    files = sorted((CONF / group).glob("*.yaml"))
    nodes = [yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) for file in files]
    return tuple(node.get(group, node) for node in nodes)

"""Plan a run from its configuration and data: batch, parts, limit, evaluations."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from batchlab.config.schema import Config, Memory
from batchlab.config.traits import LossTraits, declared
from batchlab.data.dataset import Dataset
from batchlab.tasks.known_tasks import score_for, task_for
from batchlab.tasks.metric import Metric
from batchlab.tasks.objectives import name_of
from batchlab.tasks.task import Task

Counted = Literal["steps", "drawn", "processed", "seconds"]
Schedule = Callable[[float], tuple[int, float]]
"""Progress in [0, 1] -> batch size, and the factor on every group's learning rate."""


@dataclass(frozen=True)
class Counts:
    """How far a run has come."""

    steps: int = 0  # optimizer steps
    drawn: int = 0  # examples taken from the stream; one per example of each step's batch
    processed: int = 0  # examples that went forward and backward; more than `drawn` where a closure runs several passes
    seconds: float = 0.0  # training seconds on the clock


@dataclass(frozen=True)
class Plan:
    """What one run will do."""

    batch_size: int  # examples per optimizer step at the start
    micro_batch_size: int | None  # most examples in one forward and backward pass; None = the whole batch
    num_train: int  # examples in the training split
    counted: Counted  # which of `Counts` the budget limits
    limit: float  # the run ends when that count reaches it
    eval_every: int  # examples drawn between evaluations
    target: float | None = None  # value of the score at which to stop, or None
    num_processes: int = 1  # processes that share every batch

    def forward_sizes(self, batch_size: int) -> list[int]:
        """Return the examples of each forward pass of a batch: the parts of every process's share."""
        shares = (share_of(batch_size, rank, self.num_processes)[1] for rank in range(self.num_processes))
        return [size for share in shares for size in part_sizes(share, self.micro_batch_size)]

    def progress(self, counts: Counts) -> float:
        """Return the share of the budget that is used, 0 at the start, 1 and more at the end."""
        return getattr(counts, self.counted) / self.limit


def make_plan(config: Config, num_train: int) -> Plan:
    """Return the plan of a checked configuration on a training split of `num_train` examples.

    Epochs and examples become whole steps, ``num_steps = max(1, round(epochs * N / B))``, and are counted
    in the examples of these steps, so that a batch that grows ends at the same number of examples.
    A micro_batch_size=auto that is not settled yet is the whole batch.
    """
    batch_size = num_examples_of(config.batch_size, num_train)
    micro = None if config.micro_batch_size in ("none", "auto") else int(config.micro_batch_size)
    budget, target = config.budget, None
    counted: Counted
    if budget.kind == "seconds":
        counted, limit = "seconds", float(budget.seconds or 0)
    elif budget.kind == "steps":
        counted, limit = "steps", float(budget.num_steps or 0)
    elif budget.kind == "examples":
        counted, limit = "processed", float(whole_steps(float(budget.num_examples or 0), batch_size))
    else:
        epochs = config.epochs if budget.kind == "epochs" else budget.max_epochs
        counted, limit = "drawn", float(whole_steps((epochs or 0) * num_train, batch_size))
        target = budget.score
    eval_every = config.eval.every_examples or num_train
    return Plan(batch_size, micro, num_train, counted, limit, eval_every, target, config.num_processes)


@dataclass(frozen=True)
class ResolvedRun:
    """A checked configuration joined with its data: what a run will do, with any of its seeds."""

    config: Config  # what was asked for
    dataset: Dataset  # as it was loaded
    plan: Plan  # batch, parts, budget and evaluations
    schedule: Schedule  # batch size and lr factor by progress
    batch_sizes: tuple[int, ...]  # that the run will see, rising, each once

    @property
    def task(self) -> Task:
        """Return what is learned."""
        return task_of(self.config, self.dataset)

    @property
    def score(self) -> Metric:
        """Return the metric by which the run is judged."""
        return score_of(self.config, self.dataset)

    def with_micro_batch_size(self, micro_batch_size: int | None) -> "ResolvedRun":
        """Return the same run in which that number had been typed in place of auto; None = the whole batch."""
        config = replace(self.config, micro_batch_size=micro_batch_size or "none", memory=Memory())
        return replace(self, config=config, plan=replace(self.plan, micro_batch_size=micro_batch_size))


def task_of(config: Config, dataset: Dataset) -> Task:
    """Return what a configuration learns of a data set."""
    return task_for(declared(LossTraits, config.loss).task, dataset.num_classes)


def score_of(config: Config, dataset: Dataset) -> Metric:
    """Return the metric by which a run of a configuration is judged.

    Objectives have no part in it where it says when a run stops: they are no part of a run's identity.
    """
    objectives = [] if config.budget.kind == "target" else [name_of(each) for each in config.objectives]
    return score_for(task_of(config, dataset), config.score, objectives)


def num_examples_of(batch_size: Any, num_train: int) -> int:
    """Return a batch size as typed in examples: ``full`` is the training split of `num_train`."""
    return num_train if batch_size == "full" else int(batch_size)


def whole_steps(num_examples: float, batch_size: int) -> int:
    """Return the examples of the nearest whole number of steps, at least one step."""
    return max(1, round(num_examples / batch_size)) * batch_size


def part_sizes(batch_size: int, micro_batch_size: int | None) -> list[int]:
    """Return the sizes of ceil(B/m) near-equal parts of a batch B, larger ones first; one part where m is None."""
    num_parts = 1 if micro_batch_size is None else math.ceil(batch_size / micro_batch_size)
    small, num_larger = divmod(batch_size, num_parts)
    return [small + 1] * num_larger + [small] * (num_parts - num_larger)


def share_of(batch_size: int, rank: int, num_processes: int) -> tuple[int, int]:
    """Return the share of a batch that a process takes: place of its first example, and number of its examples.

    Shares differ by at most 1, larger ones first.
    """
    small, num_larger = divmod(batch_size, num_processes)
    return rank * small + min(rank, num_larger), small + (rank < num_larger)

"""Short trainings to a target at a few batch sizes, the learning rate of each tuned by a line search."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from batchlab.config.schema import Budget, Config, Measure
from batchlab.data.dataset import Split
from batchlab.laws.estimate import Estimate
from batchlab.run.target import target_metrics
from batchlab.run.training_run import run, run_to_end
from batchlab.tasks.metric import Metric
from batchlab.training.build import Built, build
from batchlab.training.evaluation import Evaluation
from batchlab.validation.task_rules import chance_of

LR_FACTOR = 2.0
"""Learning rates of a line search lie so far apart."""
PATIENCE = 1.5
"""A training that has seen so many times the examples of its batch size's best is stopped: it is not better."""
FIRST_SHARE = 0.05
"""Of the budget, for the first training, which finds the target."""
MAX_EPOCHS = 200.0
EVALS_PER_PASS = 4
MAX_VAL = 2000
"""Validation examples that a target is looked for on."""


@dataclass(frozen=True)
class Training:
    """One training to the target."""

    batch_size: int  # B
    lr: float
    seed: int
    examples: float  # to the target; NaN where it was not reached
    seconds: float  # on the training clock, to the target; NaN where it was not reached
    limit: float  # examples after which it was stopped, reached or not
    outcome: str = "done"  # done, diverged or out_of_memory

    @property
    def is_reached(self) -> bool:
        """Tell whether it reached the target."""
        return math.isfinite(self.examples)


@dataclass
class Trainings:
    """The trainings of one configuration, until their time is over."""

    config: Config  # what is trained; batch size, lr, budget and evaluations are set here
    num_train: int  # examples of the training split
    score: Metric  # by which they are judged
    target: float  # value of the score
    deadline: float  # time.perf_counter() after which no training begins, and those that run are stopped
    tell: Callable[[], None] = lambda: None  # called at every evaluation
    done: list[Training] = field(default_factory=list)

    def train(self, batch_size: int, lr: float, seed: int, max_examples: float) -> Training:
        """Train to the target, at most `max_examples` and to the deadline."""
        every = max(batch_size, self.num_train // EVALS_PER_PASS, 1)
        budget = Budget("target", score=self.target, max_epochs=max_examples / self.num_train)
        config = replace(
            self.config, batch_size=batch_size, lr=lr, epochs=None, budget=budget,
            eval=replace(self.config.eval, every_examples=every),
        )  # fmt: skip
        evaluations, outcome = list[Evaluation](), "out_of_memory"
        built = small(build(config, seed))
        training = run(built, with_test=False)
        for at in training:
            evaluations += [at] if isinstance(at, Evaluation) else []
            self.tell()
            is_last = isinstance(at, Evaluation) and at.is_last
            if is_last:
                outcome = "done" if math.isfinite(evaluations[-1].point.train_loss) else "diverged"
            elif time.perf_counter() > self.deadline:
                outcome = "no time"
            if outcome != "out_of_memory":
                training.close()  # the finals of a run take longer than a short training
        found = target_metrics(evaluations, self.target if outcome == "done" else None, built.score.sign)
        seen = float(evaluations[-1].point.counts.processed) if evaluations else 0.0
        examples, seconds = (found.get(f"target/{name}", math.nan) for name in ("examples", "seconds"))
        self.done.append(Training(batch_size, lr, seed, examples, seconds, seen, outcome))
        return self.done[-1]

    @property
    def is_over(self) -> bool:
        """Tell whether the time is over."""
        return time.perf_counter() > self.deadline

    def best_at(self, batch_size: int) -> Training | None:
        """Return the training of a batch size that needed the fewest examples; None where none reached the target."""
        reached = [each for each in self.done if each.batch_size == batch_size and each.is_reached]
        return min(reached, key=lambda each: each.examples, default=None)

    def tune(self, batch_size: int, lr: float, max_examples: float) -> None:
        """Search the best lr in factors of two, up and then down, as long as fewer examples are needed.

        A training has at most `max_examples` while none has reached the target.
        """
        self._step(batch_size, lr, max_examples)
        for direction in (LR_FACTOR, 1 / LR_FACTOR):
            tried = lr * direction
            while not self.is_over and self._step(batch_size, tried, max_examples):
                tried *= direction

    def _step(self, batch_size: int, lr: float, max_examples: float) -> bool:
        """Tell whether a training at this lr is the best so far, or shows that the target is still out of reach."""
        best = self.best_at(batch_size)
        limit = min(max_examples, best.examples * PATIENCE) if best else max_examples
        found = self.train(batch_size, lr, self.config.seed, max(limit, 2.0 * batch_size))
        if best is None:
            num_tried = sum(each.batch_size == batch_size for each in self.done)
            return not found.is_reached and found.outcome == "done" and num_tried < 4
        return found.is_reached and found.examples < best.examples

    def repeat(self, batch_size: int, seed: int) -> None:
        """Train the best lr of a batch size with another seed: the best of several lrs flatters itself."""
        best = self.best_at(batch_size)
        if best is not None and not self.is_over:
            self.train(batch_size, best.lr, seed, 4 * best.examples + batch_size)


def small(built: Built) -> Built:
    """Return the run with a part of its validation split: evaluations would take longer than short trainings."""
    val = built.dataset.val
    index = torch.randperm(len(val), generator=torch.Generator().manual_seed(0))[:MAX_VAL]
    part = Split(val.inputs[index.to(val.targets.device)], val.targets[index.to(val.targets.device)])
    return replace(built, dataset=replace(built.dataset, val=part))


@dataclass(frozen=True)
class First:
    """Target that the first training found."""

    target: float  # score that it reached, worse by two standard errors; NaN where there is none
    examples: float  # after which it was there first
    cause: str  # why there is no target


def first_training(config: Config, batch_size: int, num_train: int, seconds: float, target: float | None) -> First:
    """Train at the configured lr for some seconds: what it reaches is a target that others can reach too.

    The target is the best mean of three evaluations in a row, worse by two standard errors of the validation split:
    what one run reaches by luck, others may never reach. It has to be better than what a model reaches that looks at no
    input. Of a `target` that is given only the examples to it are looked for.
    """
    every = max(batch_size, num_train // EVALS_PER_PASS, 1)
    budget, evals = Budget("seconds", seconds=seconds), replace(config.eval, every_examples=every)
    built = small(build(replace(config, batch_size=batch_size, epochs=None, budget=budget, eval=evals), config.seed))
    evaluations, training = list[Evaluation](), run(built, with_test=False)
    for at in training:
        evaluations += [at] if isinstance(at, Evaluation) else []
        if evaluations and evaluations[-1].is_last:
            training.close()
    if not evaluations or not evaluations[-1].is_last:
        return First(math.nan, math.nan, f"a batch of {batch_size} did not fit")
    last = evaluations[-1].point
    if not math.isfinite(last.train_loss):
        return First(math.nan, math.nan, f"diverged in {last.counts.steps} steps")
    score, sign, dataset = built.score, built.score.sign, built.dataset
    known = [
        (each.point.counts.processed, each.score)
        for each in evaluations
        if each.score is not None and math.isfinite(each.score)
    ]
    if not known:
        return First(math.nan, math.nan, f"has no {score.title} on the validation split")
    smooth = [sum(each for _, each in known[max(0, end - 3) : end]) / min(3, end) for end in range(1, len(known) + 1)]
    best = max(smooth, key=lambda level: sign * level)
    wanted = best - 2 * sign * score.standard_error(best, len(dataset.val)) if target is None else target
    at = (seen for (seen, _), level in zip(known, smooth, strict=True) if sign * level >= sign * wanted)
    there = float(next(at, known[-1][0]))
    chance = chance_of(score, dataset)
    if sign * wanted <= sign * chance:
        why = f"was at {score.text(best)}, not surely better than {score.title} {score.text(chance)}, which a model "
        why += "reaches that always answers the same; another score= or a longer budget_seconds= may tell"
        return First(math.nan, there, why)
    return First(wanted, there, "")


def noise_at(config: Config, batch_size: int, num_examples: float) -> Estimate:
    """Measure the gradient noise scale after so many examples of training; NaN where it is not known."""
    count = max(round(num_examples), batch_size)
    budget = Budget("examples", num_examples=count)
    here = replace(config, batch_size=batch_size, epochs=None, budget=budget, measure=Measure(gradient_noise=True))
    built = build(replace(here, eval=replace(config.eval, every_examples=count)), config.seed)
    finals, name = run_to_end(run(built, with_test=False)).finals, "noise/gradient_noise_scale"
    value, low, high = (finals.get(f"{name}{end}", math.nan) for end in ("", "_low", "_high"))
    return Estimate(value, low, high)

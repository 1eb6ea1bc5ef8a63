"""From what was measured to a batch size with an interval, a learning rate, and what limits."""

import math
from dataclasses import dataclass

import numpy as np

from batchlab.commands.advise.advise_measurements import Measured, power_of_two
from batchlab.commands.advise.lr_rule import lr_at, lr_rule
from batchlab.commands.advise.remarks import remarks_on
from batchlab.laws.convergence import Convergence, fit_convergence
from batchlab.laws.estimate import NUM_DRAWS, Estimate
from batchlab.laws.optimum import (
    Costs,
    best_batch_size,
    costs_of_laws,
    good_range,
    is_known,
    limits_of,
    of_noise,
    paired,
    seconds_to_target,
)


@dataclass(frozen=True)
class Prediction:
    """What a batch size costs.

    Attributes:
        batch_size: B.
        examples: to the target; NaN where nothing was trained.
        steps: likewise.
        seconds: with interval; NaN ends where only ratios are known.
        over_best: predicted time over that of the recommended batch size.
        lr: to start from.
        dollars: for `price_per_hour`; NaN without.
    """

    batch_size: int
    examples: float
    steps: float
    seconds: Estimate
    over_best: float
    lr: float
    dollars: float


@dataclass(frozen=True)
class Advice:
    """What a person is told.

    Attributes:
        batch_size: recommended: the power of two nearest to B*, or what memory or data allow.
        best: B* with its interval.
        flat: batch sizes within a tenth of the least time.
        critical: B_crit with its interval.
        basis: what B_crit rests on: ``trainings`` or ``noise``.
        lr: to start from at the recommended batch size.
        epochs: whole passes in which the target is reached there; NaN where nothing was trained.
        lr_exponent: by which lr moves with the batch size.
        rule: the exponent's name and where it comes from, in words.
        limits: words of `limits_of`; empty where it is not known.
        predictions: by batch size.
        remarks: what to know of it.
    """

    batch_size: int
    best: Estimate
    flat: tuple[float, float]
    critical: Estimate
    basis: str
    lr: float
    epochs: float
    lr_exponent: float
    rule: str
    limits: list[str]
    predictions: list[Prediction]
    remarks: list[str]


def convergence_of(measured: Measured) -> Convergence | None:
    """The law of convergence from the trainings at each batch size's best lr; None where two sizes did not reach."""
    trainings = measured.trainings
    if trainings is None:
        return None
    runs: dict[int, list[float]] = {}
    limits: dict[int, float] = {}
    for size in sorted({each.batch_size for each in trainings.done}):
        best, here = trainings.best_at(size), [each for each in trainings.done if each.batch_size == size]
        if best is None:
            finished = [each for each in here if each.outcome == "done"]
            if finished:
                runs[size], limits[size] = [math.nan], max(each.limit for each in finished)
            continue
        runs[size] = [each.examples for each in here if each.lr == best.lr and each.is_reached]
    try:
        return fit_convergence(runs, limits)
    except ValueError:
        return None


def costs_of(measured: Measured, law: Convergence | None) -> Costs | None:
    """Everything the optimum rests on, as draws; the first is the estimate. None where B_crit is not known at all."""
    if law is not None:
        return costs_of_laws(measured.step, law, float(measured.num_train), measured.update_seconds, measured.ceiling)
    if not (math.isfinite(measured.noise.value) and measured.noise.value > 0):
        return None
    step = measured.step
    order = np.random.default_rng(1).permutation(NUM_DRAWS)
    rates = np.maximum(paired(step.draws[order], step.alpha_seconds.value, step.beta_seconds.value), 1e-12)
    return Costs(
        rates[:, 0], rates[:, 1], np.maximum(of_noise(measured.noise), 1e-3),
        np.full(NUM_DRAWS, max(float(measured.num_train), 1.0)),
        measured.update_seconds, measured.ceiling, float(measured.num_train),
    )  # fmt: skip


def advise(measured: Measured, price_per_hour: float | None) -> Advice:
    """The advice of the laws.

    Args:
        measured: trainings done.
        price_per_hour: for the cost table.

    Raises:
        ValueError: where neither trainings nor gradient noise tell how many examples a batch size needs.
    """
    law = convergence_of(measured)
    costs = costs_of(measured, law)
    if costs is None:
        raise ValueError("; ".join([*measured.remarks, "no batch size can be advised"]))
    best = best_batch_size(costs)
    size = recommended(best.value, measured)
    exponent, rule = lr_rule(measured)
    lr = lr_at(size, measured, exponent)
    rows = predictions(costs, size, measured, exponent, law is not None, price_per_hour)
    examples = next(row.examples for row in rows if row.batch_size == size)
    return Advice(
        batch_size=size,
        best=best,
        flat=good_range(costs),
        critical=law.critical_batch_size if law else _interval(costs.critical),
        basis="trainings" if law else "noise",
        lr=lr,
        epochs=math.nan if math.isnan(examples) else float(math.ceil(examples / measured.num_train)),
        lr_exponent=exponent,
        rule=rule,
        limits=limits_of(costs, size) if is_known(best) else [],
        predictions=rows,
        remarks=[*measured.remarks, *remarks_on(measured, law, best.value)],
    )


def _interval(draws: np.ndarray) -> Estimate:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(float(draws[0]), float(low), float(high))


def recommended(best: float, measured: Measured) -> int:
    """The power of two nearest to B*, in logarithm; no more than the data, a whole number of full parts above memory.

    No less than the smallest batch size whose step was timed: below it nothing is known.

    Powers of two are no faster; they are what people compare with, and within a tenth of the least time.
    """
    largest = measured.num_train
    if best > measured.ceiling:
        most = int(measured.ceiling)
        return min(most * max(1, round(best / most)), largest)
    near = max(power_of_two(best), min(measured.step.smallest, largest))
    return near if near <= min(largest, measured.ceiling) else near // 2


def predictions(
    costs: Costs, size: int, measured: Measured, exponent: float, is_absolute: bool, price_per_hour: float | None
) -> list[Prediction]:
    """What powers of two, the recommended batch size and the full batch cost."""
    sizes = {2**power for power in range(3, 31) if 2**power <= measured.num_train}
    pace = pace_of(measured)
    least, rows = seconds_to_target(costs, size).value * pace, []
    for each in sorted(sizes | {size, measured.num_train}):
        seconds = seconds_to_target(costs, each).map(lambda value: value * pace)
        examples = float(costs.examples(np.array([float(each)]))[0, 0]) if is_absolute else math.nan
        hours = seconds.value / 3600
        dollars = hours * price_per_hour if price_per_hour and is_absolute else math.nan
        shown = seconds if is_absolute else Estimate(math.nan, math.nan, math.nan)
        lr = lr_at(each, measured, exponent)
        rows.append(Prediction(each, examples, examples / each, shown, seconds.value / least, lr, dollars))
    return rows


def pace_of(measured: Measured) -> float:
    """What trainings took over the step-time law: the median ratio of those that reached the target; 1 without any."""
    if measured.trainings is None:
        return 1.0
    reached = [each for each in measured.trainings.done if each.is_reached and each.seconds > 0]
    ratios = [
        each.seconds / (each.examples / each.batch_size * measured.step.seconds(each.batch_size).value)
        for each in reached
    ]
    return float(np.median(ratios)) if ratios else 1.0

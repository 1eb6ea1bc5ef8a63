"""Advice from what was measured: a batch size with its interval, a learning rate, what limits, what to know."""

import math
from dataclasses import dataclass

import numpy as np

from batchlab.commands.advise.advise_measurements import Measured, power_of_two
from batchlab.commands.advise.lr_rule import lr_at, lr_rule
from batchlab.commands.advise.trainings import Trainings
from batchlab.config.installation import program
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
    seconds_to_target,
    step_draws,
)


@dataclass(frozen=True)
class Prediction:
    """Predicted cost of a batch size."""

    batch_size: int  # B
    examples: float  # to the target; NaN where nothing was trained
    steps: float  # to the target
    seconds: Estimate  # with interval; NaN ends where only ratios are known
    over_best: float  # predicted time over that of the recommended batch size
    lr: float  # to start from
    dollars: float  # for `price_per_hour`; NaN without


@dataclass(frozen=True)
class Advice:
    """Recommended batch size and learning rate, and what they rest on."""

    batch_size: int  # recommended: the power of two nearest to B*, or what memory or data allow
    best: Estimate  # B* with its interval
    flat: tuple[float, float]  # batch sizes within a tenth of the least time
    critical: Estimate  # B_crit with its interval
    basis: str  # what B_crit rests on: ``trainings`` or ``noise``
    lr: float  # to start from at the recommended batch size
    epochs: float  # whole passes in which the target is reached there; NaN where nothing was trained
    lr_exponent: float  # by which lr moves with the batch size
    rule: str  # of the exponent, and where it comes from
    limits: list[str]  # words of `limits_of`; empty where it is not known
    predictions: list[Prediction]
    remarks: list[str]


def convergence_of(measured: Measured) -> Convergence | None:
    """Fit the law of convergence to the trainings at each batch size's best lr; None where two sizes did not reach."""
    trainings = measured.trainings
    if trainings is None:
        return None
    runs: dict[int, list[float]] = {}
    limits: dict[int, float] = {}
    for size in sorted({each.batch_size for each in trainings.done}):
        best, here = trainings.best_at(size), [each for each in trainings.done if each.batch_size == size]
        if best is not None:
            runs[size] = [each.examples for each in here if each.lr == best.lr and each.is_reached]
        elif finished := [each.limit for each in here if each.outcome == "done"]:
            runs[size], limits[size] = [math.nan], max(finished)
    try:
        return fit_convergence(runs, limits)
    except ValueError:
        return None


def costs_of(measured: Measured, law: Convergence | None) -> Costs | None:
    """Draw everything the optimum rests on; the first draw is the estimate. None where B_crit is not known at all."""
    if law is not None:
        return costs_of_laws(measured.step, law, float(measured.num_train), measured.update_seconds, measured.ceiling)
    if not (math.isfinite(measured.noise.value) and measured.noise.value > 0):
        return None
    return Costs(
        *step_draws(measured.step, np.random.default_rng(1)), np.maximum(of_noise(measured.noise), 1e-3),
        np.full(NUM_DRAWS, max(float(measured.num_train), 1.0)),
        measured.update_seconds, measured.ceiling, float(measured.num_train),
    )  # fmt: skip


def advise(measured: Measured, price_per_hour: float | None) -> Advice:
    """Derive the advice from the laws.

    Raises:
        ValueError: where neither trainings nor gradient noise tell how many examples a batch size needs.
    """
    law = convergence_of(measured)
    costs = costs_of(measured, law)
    if costs is None:
        raise ValueError("; ".join([*measured.remarks, "no batch size can be advised"]))
    best = best_batch_size(costs)
    size, (exponent, rule) = recommended(best.value, measured), lr_rule(measured)
    rows = predictions(costs, size, measured, exponent, law is not None, price_per_hour)
    row = next(row for row in rows if row.batch_size == size)
    low, high = np.quantile(costs.critical, [0.025, 0.975])
    return Advice(
        batch_size=size,
        best=best,
        flat=good_range(costs),
        critical=law.critical_batch_size if law else Estimate(float(costs.critical[0]), float(low), float(high)),
        basis="trainings" if law else "noise",
        lr=row.lr,
        epochs=math.nan if math.isnan(row.examples) else float(math.ceil(row.examples / measured.num_train)),
        lr_exponent=exponent,
        rule=rule,
        limits=limits_of(costs, size) if is_known(best) else [],
        predictions=rows,
        remarks=[*measured.remarks, *remarks_on(measured, law, best.value)],
    )


def recommended(best: float, measured: Measured) -> int:
    """Round B* to the nearest power of two; above the memory ceiling to a whole number of full parts.

    No more than the data, no less than the smallest batch size whose step was timed. Powers of two are no faster; they
    are what people compare with, and within a tenth of the least time.
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
    """Predict what powers of two, the recommended batch size and the full batch cost."""
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
    """Return the median ratio of trainings' seconds to the step-time law's; 1 where none reached the target."""
    if measured.trainings is None:
        return 1.0
    ratios = [
        each.seconds / (each.examples / each.batch_size * measured.step.seconds(each.batch_size).value)
        for each in measured.trainings.done
        if each.is_reached and each.seconds > 0
    ]
    return float(np.median(ratios)) if ratios else 1.0


def remarks_on(measured: Measured, law: Convergence | None, best: float) -> list[str]:
    """List what the numbers alone do not say, a sentence each; `best` is B*."""
    remarks = []
    if law is None and measured.trainings is not None:
        remarks.append(
            "fewer than two batch sizes reached the target in the time: B_crit is that of the noise alone; a longer "
            "budget_seconds, or a lower target, gives trainings"
        )
    if law is None:
        remarks.append("from gradient noise alone B_crit is known to a factor of 3, which the interval contains")
    if law is not None and law.censored:
        sizes = ", ".join(f"{size} (after {limit:,.0f} examples)" for size, limit in law.censored.items())
        remarks.append(f"did not reach the target, and count as censored there: {sizes}")
    if not math.isfinite(measured.noise.value):
        remarks.append("the gradient noise scale could not be measured")
    alpha = measured.step.alpha_seconds
    if measured.step.knee is None and alpha.low <= 0.0:
        remarks.append(
            f"the overhead of a step cannot be told from 0 here (at most {alpha.high * 1e3:.3g} ms): B* may be "
            f"anything up to its upper end; time steps again on a quiet machine ({program('benchmark')})"
        )
    if power_of_two(best) < measured.step.smallest:
        remarks.append(f"B* lies below {measured.step.smallest}, the smallest batch size that was timed")
    trainings = measured.trainings
    if trainings is not None and (open_ended := unbracketed(trainings)):
        sizes = ", ".join(map(str, open_ended))
        remarks.append(
            f"the best lr stands at the end of those that were tried at B = {sizes}: a longer search may move it"
        )
    return remarks


def unbracketed(trainings: Trainings) -> list[int]:
    """List the batch sizes whose best lr has no finished training at both a smaller and a larger one."""
    found = []
    for size in sorted({each.batch_size for each in trainings.done}):
        best = trainings.best_at(size)
        lrs = [each.lr for each in trainings.done if each.batch_size == size and each.outcome != "no time"]
        if best is not None and not min(lrs) < best.lr < max(lrs):
            found.append(size)
    return found

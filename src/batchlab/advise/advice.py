"""From what was measured to a batch size with an interval, a learning rate, and what limits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from batchlab.advise.measure import Measured, power_of_two
from batchlab.advise.trainings import Training
from batchlab.laws.convergence import Convergence, fit_convergence
from batchlab.laws.estimate import NUM_DRAWS, Estimate
from batchlab.laws.optimum import Costs, best_batch_size, good_range, limits_of, of_noise, seconds_to_target

UNSURE = 16.0
"""An interval of the best batch size whose ends differ by more says that it is not known."""
ADAPTIVE = ("Adam", "RMSprop", "Rprop", "SOAP", "Lamb", "LAMB")
"""Optimizers whose step does not grow with the gradient: the square-root rule (Malladi et al. 2022)."""


@dataclass(frozen=True)
class Prediction:
    """What a batch size costs.

    Attributes:
        batch_size: B.
        examples: to the target; of E_min where nothing was trained.
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
    random = np.random.default_rng(1)
    order = random.permutation(NUM_DRAWS)
    step = _with_value(measured.step.draws[order], measured.step.alpha_seconds.value, measured.step.beta_seconds.value)
    if law is not None:
        rows = law.draws[random.integers(0, len(law.draws), NUM_DRAWS)]
        value, critical = law.min_examples.value, law.critical_batch_size.value
        rows = _with_value(rows, value, value / critical)
        with np.errstate(divide="ignore"):
            bounds = rows[:, 0] / np.maximum(rows[:, 1], rows[:, 0] / (1000 * measured.num_train))
        least = rows[:, 0]
    elif math.isfinite(measured.noise.value) and measured.noise.value > 0:
        bounds, least = of_noise(measured.noise), np.full(NUM_DRAWS, float(measured.num_train))
    else:
        return None
    limit = measured.ceiling if measured.ceiling is not None else math.inf
    positive = np.maximum(step, 1e-12)
    return Costs(
        positive[:, 0], positive[:, 1], np.maximum(bounds, 1e-3), np.maximum(least, 1.0),
        measured.update_seconds, float(limit), float(measured.num_train),
    )  # fmt: skip


def _with_value(draws: np.ndarray, first: float, second: float) -> np.ndarray:
    draws = draws.copy()
    draws[0] = first, second
    return draws


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
    is_known = best.high / max(best.low, 1e-9) <= UNSURE if math.isfinite(best.high) else False
    return Advice(
        batch_size=size,
        best=best,
        flat=good_range(costs),
        critical=law.critical_batch_size if law else _interval(costs.critical),
        basis="trainings" if law else "noise",
        lr=lr,
        lr_exponent=exponent,
        rule=rule,
        limits=limits_of(costs, size) if is_known else [],
        predictions=predictions(costs, size, measured, exponent, law is not None, price_per_hour),
        remarks=[*measured.remarks, *_remarks(measured, law)],
    )


def _interval(draws: np.ndarray) -> Estimate:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(float(draws[0]), float(low), float(high))


def recommended(best: float, measured: Measured) -> int:
    """The power of two nearest to B*, in logarithm; no more than the data, a whole number of full parts above memory.

    Powers of two are no faster; they are what people compare with, and within a tenth of the least time.
    """
    largest = measured.num_train
    if measured.ceiling is not None and best > measured.ceiling:
        return min(measured.ceiling * max(1, round(best / measured.ceiling)), largest)
    near = power_of_two(best)
    return near if near <= min(largest, measured.ceiling or largest) else near // 2


def lr_rule(measured: Measured) -> tuple[float, str]:
    """Exponent of lr in the batch size: of the tuned learning rates where there are some, else the optimizer's rule."""
    tuned = tuned_trainings(measured)
    name = str(measured.config.optimizer["_target_"]).rsplit(".", 1)[-1]
    if len(tuned) >= 2:
        x, y = np.log([each.batch_size for each in tuned]), np.log([each.lr for each in tuned])
        exponent = float(np.polyfit(x, y, 1)[0])
        sizes = ", ".join(f"{each.lr:.3g} at B = {each.batch_size}" for each in tuned)
        return min(max(exponent, 0.0), 1.0), f"fitted to the tuned learning rates ({sizes})"
    if name.startswith(ADAPTIVE):
        return 0.5, f"the square-root rule for {name} (Malladi et al. 2022), not tuned here"
    return 1.0, f"the linear rule for {name} (Goyal et al. 2017), not tuned here; it holds up to about B_crit"


def tuned_trainings(measured: Measured) -> Sequence[Training]:
    """The best training of each batch size."""
    if measured.trainings is None:
        return []
    sizes = sorted({each.batch_size for each in measured.trainings.done})
    return [best for size in sizes if (best := measured.trainings.best_at(size)) is not None]


def lr_at(batch_size: int, measured: Measured, exponent: float) -> float:
    """Learning rate to start from: between tuned sizes on a line in logarithms, beyond them by the exponent."""
    tuned = tuned_trainings(measured)
    if not tuned:
        config = measured.config
        base = measured.num_train if config.batch_size == "full" else int(config.batch_size)
        return config.lr * (batch_size / base) ** exponent
    x, y = [math.log(each.batch_size) for each in tuned], [math.log(each.lr) for each in tuned]
    at = math.log(batch_size)
    if x[0] <= at <= x[-1]:
        return math.exp(float(np.interp(at, x, y)))
    end = 0 if at < x[0] else -1
    return math.exp(y[end] + exponent * (at - x[end]))


def predictions(
    costs: Costs, size: int, measured: Measured, exponent: float, is_absolute: bool, price_per_hour: float | None
) -> list[Prediction]:
    """What powers of two, the recommended batch size and the full batch cost."""
    sizes = {2**power for power in range(3, 31) if 2**power <= measured.num_train}
    least = seconds_to_target(costs, size).value
    rows = []
    for each in sorted(sizes | {size, measured.num_train}):
        seconds = seconds_to_target(costs, each)
        examples = float(costs.examples(np.array([float(each)]))[0, 0])
        hours = seconds.value / 3600
        dollars = hours * price_per_hour if price_per_hour and is_absolute else math.nan
        shown = seconds if is_absolute else Estimate(math.nan, math.nan, math.nan)
        lr = lr_at(each, measured, exponent)
        rows.append(Prediction(each, examples, examples / each, shown, seconds.value / least, lr, dollars))
    return rows


def _remarks(measured: Measured, law: Convergence | None) -> list[str]:
    remarks = []
    if law is None and measured.trainings is not None:
        remarks.append("fewer than two batch sizes reached the target in the time: B_crit is that of the noise alone")
    if law is None:
        remarks.append("from gradient noise alone B_crit is known to a factor of 3, which the interval contains")
    if law is not None and law.censored:
        sizes = ", ".join(f"{size} (after {limit:,.0f} examples)" for size, limit in law.censored.items())
        remarks.append(f"did not reach the target, and count as censored there: {sizes}")
    if not math.isfinite(measured.noise.value):
        remarks.append("the gradient noise scale could not be measured")
    if measured.ceiling is None:
        remarks.append("how much fits in memory is not known")
    return remarks

"""Verdicts of checks and of claims: supported, contradicted or open, by the interval of an effect."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from batchlab.experiments.arm_results import Arm, Statistic, compute
from batchlab.experiments.arms import is_possible
from batchlab.experiments.experiment import Check, Experiment
from batchlab.laws.equivalence import holm
from batchlab.laws.estimate import Estimate
from batchlab.laws.line import Array

LOOKS = (3, 6, 12, 24)
"""Numbers of seeds at which the data are looked at."""
SIGNIFICANCE = 0.05
"""Over all looks; each spends the same share (Bonferroni)."""
LEVEL = SIGNIFICANCE / len(LOOKS)
MOST_SEEDS = 1000
SUPPORTED, CONTRADICTED, OPEN = "supported", "contradicted", "open"


@dataclass(frozen=True)
class CheckVerdict:
    """The verdict of a check."""

    conclusion: str  # supported, contradicted or open
    # mean over seeds with its 95 % t interval, of an ordering's smallest gap; a ratio back from its log
    effect: Estimate
    look: Estimate  # the same with the interval of one look, by which it is decided
    n: int  # seeds
    p: float  # smallest level at which the look would have decided; Holm compares it over the table
    needed: int  # seeds that would decide it if effect and spread stay as they are; 0 where it is decided


UNKNOWN = Estimate(math.nan, math.nan, math.nan)
UNJUDGED = CheckVerdict(OPEN, UNKNOWN, UNKNOWN, 0, math.nan, 0)
"""Verdict of a check that was not measured."""


def judge(check: Check, statistic: Statistic) -> CheckVerdict:
    """Decide a check.

    Supported where the interval of the look lies in the check's region, contradicted where it lies outside, else open.
    The interval is a t interval over seeds at 1 - .05/4, two-sided; where a target was not reached, of what is known
    at least (or at most). Of an ordering every gap must lie in the region (intersection-union test, Berger 1982), and
    one outside is enough to contradict it, each at .05/4 over their number.

    Source: Schuirmann 1987 (equivalence by an interval); Pocock 1977 discusses repeated looks.
    """
    region = region_of(check, statistic.is_log)
    contrasts = [Contrast(low, high) for low, high in zip(statistic.low.T, statistic.high.T, strict=True)]
    n, k = len(statistic.low), len(contrasts)
    weakest = min(contrasts, key=lambda each: each.distance(region))
    if n < 2 or np.isnan(statistic.low).any():
        unknown = Estimate(_back(float(np.mean(weakest.low)), statistic.is_log), math.nan, math.nan)
        return CheckVerdict(OPEN, unknown, unknown, n, 1.0, next((look for look in LOOKS if look > n), LOOKS[-1]))
    inside = max(each.p_inside(region) for each in contrasts)
    outside = min(1.0, k * min(each.p_outside(region) for each in contrasts))
    conclusion = SUPPORTED if inside < LEVEL else CONTRADICTED if outside < LEVEL else OPEN
    effect, look = (
        weakest.interval(alpha).map(lambda value: _back(value, statistic.is_log)) for alpha in (SIGNIFICANCE, LEVEL)
    )
    needed = weakest.seeds_needed(region) if conclusion == OPEN else 0
    return CheckVerdict(conclusion, effect, look, n, min(inside, outside), needed)


def region_of(check: Check, is_log: bool) -> tuple[float, float]:
    """Return the ends of the region that supports a check, on the scale of its samples."""
    if check.statistic == "equivalence":
        assert check.margin is not None
        return -check.margin, check.margin
    low = -math.inf if check.above is None else check.above
    high = math.inf if check.below is None else check.below
    if not is_log:
        return low, high
    return (math.log(low) if low > 0 else -math.inf), (math.log(high) if math.isfinite(high) else math.inf)


@dataclass(frozen=True)
class Contrast:
    """One number per seed, known from both sides."""

    low: Array  # [n] at least so much
    high: Array  # [n] at most so much; infinite where a target was not reached

    def interval(self, alpha: float) -> Estimate:
        """Return mean and two-sided t interval at 1 - alpha; an end is infinite where nothing bounds it."""
        mean = float(self.low.mean() if np.isfinite(self.high).all() else self.high.mean())
        return Estimate(mean, _end(self.low, alpha / 2), _end(self.high, 1 - alpha / 2))

    def p_inside(self, region: tuple[float, float]) -> float:
        """Return the two-sided level at which the interval lies within the region."""
        return min(1.0, 2 * max(_p_above(self.low, region[0]), _p_above(-self.high, -region[1])))

    def p_outside(self, region: tuple[float, float]) -> float:
        """Return the two-sided level at which the interval lies outside of it."""
        return min(1.0, 2 * min(_p_above(-self.high, -region[0]), _p_above(self.low, region[1])))

    def distance(self, region: tuple[float, float]) -> float:
        """Measure how far inside the region the mean lies; below 0 outside."""
        return min(float(self.low.mean()) - region[0], region[1] - float(self.low.mean()))

    def seeds_needed(self, region: tuple[float, float]) -> int:
        """Count the seeds at which a look's half width would be the mean's distance from the region's nearest end."""
        if not np.isfinite([self.low, self.high]).all():
            return MOST_SEEDS
        mean, spread = float(self.low.mean()), float(self.low.std(ddof=1))
        distance = min(abs(mean - end) for end in region if math.isfinite(end))

        def decides(n: int) -> bool:
            return float(stdtrit(n - 1, 1 - LEVEL / 2)) * spread / math.sqrt(n) < distance

        more = range(len(self.low) + 1, MOST_SEEDS)
        return len(self.low) + 1 + bisect_left(more, True, key=decides)


def _end(values: Array, quantile: float) -> float:
    """A quantile of the mean's t distribution."""
    if not np.isfinite(values).all():
        return math.inf if quantile > 0.5 else -math.inf
    mean, error = _moments(values)
    return mean + float(stdtrit(len(values) - 1, quantile)) * error


def _p_above(values: Array, bound: float) -> float:
    """One-sided p of the mean lying above a bound; 1 where nothing bounds the values from below."""
    if math.isinf(bound):
        return 0.0 if bound < 0 else 1.0
    if not np.isfinite(values).all():
        return 1.0
    mean, error = _moments(values)
    return float(stdtr(len(values) - 1, (bound - mean) / error))


def _moments(values: Array) -> tuple[float, float]:
    """Mean and its standard error; no error is smaller than rounding."""
    mean = float(values.mean())
    return mean, max(float(values.std(ddof=1)) / math.sqrt(len(values)), 1e-12 * max(1.0, abs(mean)))


def _back(value: float, is_log: bool) -> float:
    return (math.exp(value) if value < 700 else math.inf) if is_log else value


@dataclass(frozen=True)
class JudgedCheck:
    """A check with its verdict, or why it has none."""

    check: Check
    verdict: CheckVerdict | None
    reason: str = ""

    @property
    def title(self) -> str:
        """Return its name, in parentheses where it does not decide."""
        return f"({self.check.name})" if self.check.is_secondary else self.check.name


@dataclass(frozen=True)
class Outcome:
    """An experiment with its verdict."""

    experiment: Experiment
    arms: Mapping[str, Arm]  # as measured
    judged: Sequence[JudgedCheck]  # every check
    conclusion: str  # supported, contradicted or open
    p: float  # of the checks that decide; 1 where nothing was measured
    n: int  # seeds

    @property
    def main(self) -> JudgedCheck:
        """Return the check that stands in the table."""
        return next(each for each in self.judged if not each.check.is_secondary)

    @property
    def can_be_decided(self) -> bool:
        """Tell whether more seeds could; not where a check that decides needs a device that this machine lacks."""
        arms = {name for each in self.judged if not each.check.is_secondary for name in each.check.arms}
        return all(is_possible(config.device) for name in arms for config in self.experiment.arms[name])


def judge_experiment(experiment: Experiment, arms: Mapping[str, Arm]) -> Outcome:
    """Judge every check; the claim is contradicted where one that decides is, supported where all of them are."""
    judged = [_judged(check, experiment, arms) for check in experiment.checks]
    conclusion, p = _together([each.verdict for each in judged if not each.check.is_secondary])
    n = max((len(runs) for arm in arms.values() for runs in arm.settings), default=0)
    return Outcome(experiment, arms, judged, conclusion, p, n)


def _judged(check: Check, experiment: Experiment, arms: Mapping[str, Arm]) -> JudgedCheck:
    if any(not runs for name in check.arms for runs in arms[name].settings):
        devices = {config.device for name in check.arms for config in experiment.arms[name]}
        missing = sorted(device for device in devices if not is_possible(device))
        return JudgedCheck(check, None, f"needs {', '.join(missing)}" if missing else "not measured")
    try:
        return JudgedCheck(check, judge(check, compute(check, arms)))
    except (ValueError, KeyError, np.linalg.LinAlgError) as error:
        return JudgedCheck(check, None, str(error))


def _together(verdicts: Sequence[CheckVerdict | None]) -> tuple[str, float]:
    """Of the checks that decide: all must support (intersection-union), one is enough to contradict (Bonferroni)."""
    known = [each for each in verdicts if each is not None]
    against = [each.p for each in known if each.conclusion == CONTRADICTED]
    if against:
        return CONTRADICTED, min(1.0, len(verdicts) * min(against))
    if not known or len(known) < len(verdicts):
        return OPEN, 1.0
    return (SUPPORTED if all(each.conclusion == SUPPORTED for each in known) else OPEN), max(each.p for each in known)


def corrected(outcomes: Sequence[Outcome]) -> list[float]:
    """Return each claim's p times the four looks, Holm-corrected over the table."""
    spent = np.minimum(1.0, np.array([each.p for each in outcomes]) * len(LOOKS))
    return holm(spent).tolist()

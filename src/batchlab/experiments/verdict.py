"""What numbers say of a check: supported, contradicted or open, by the interval of its effect."""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from batchlab.experiments.experiment import Check
from batchlab.experiments.statistic import Statistic
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
    """A check's outcome.

    Attributes:
        said: supported, contradicted or open.
        effect: mean over seeds with its 95 % t interval, of an ordering's smallest gap; a ratio back from its log.
        look: the same with the interval of one look, by which it is decided.
        n: seeds.
        p: smallest level at which the look would have decided; Holm compares it over the table.
        needed: seeds that would decide it if effect and spread stay as they are; 0 where it is decided.
    """

    said: str
    effect: Estimate
    look: Estimate
    n: int
    p: float
    needed: int


def judge(check: Check, statistic: Statistic) -> CheckVerdict:
    """Decide a check.

    Supported where the interval of the look lies in the check's region, contradicted where it lies outside, else open.
    The interval is a t interval over seeds at 1 - .05/4, two-sided; where a target was not reached, of what is known
    at least (or at most). Of an ordering every gap must lie in the region (intersection-union test, Berger 1982), and
    one outside is enough to contradict it, each at .05/4 over their number.

    Args:
        check: has the region.
        statistic: [n, k] samples.

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
    said = SUPPORTED if inside < LEVEL else CONTRADICTED if outside < LEVEL else OPEN
    effect, look = (
        weakest.interval(alpha).map(lambda value: _back(value, statistic.is_log)) for alpha in (SIGNIFICANCE, LEVEL)
    )
    return CheckVerdict(
        said, effect, look, n, min(inside, outside), 0 if said != OPEN else weakest.seeds_needed(region)
    )


def region_of(check: Check, is_log: bool) -> tuple[float, float]:
    """Ends of the region that supports a check, on the scale of its samples."""
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
    """One number per seed, known from both sides.

    Attributes:
        low: [n] at least so much.
        high: [n] at most so much; infinite where a target was not reached.
    """

    low: Array
    high: Array

    def interval(self, alpha: float) -> Estimate:
        """Mean and two-sided t interval at 1 - alpha; an end is infinite where nothing bounds it."""
        low = _end(self.low, alpha / 2)
        high = _end(self.high, 1 - alpha / 2)
        return Estimate(float(self.low.mean() if np.isfinite(self.high).all() else self.high.mean()), low, high)

    def p_inside(self, region: tuple[float, float]) -> float:
        """Two-sided level at which the interval lies within the region."""
        return min(1.0, 2 * max(_p_above(self.low, region[0]), _p_above(-self.high, -region[1])))

    def p_outside(self, region: tuple[float, float]) -> float:
        """Two-sided level at which the interval lies outside of it."""
        return min(1.0, 2 * min(_p_above(-self.high, -region[0]), _p_above(self.low, region[1])))

    def distance(self, region: tuple[float, float]) -> float:
        """How far inside the region the mean lies; below 0 outside."""
        return min(float(self.low.mean()) - region[0], region[1] - float(self.low.mean()))

    def seeds_needed(self, region: tuple[float, float]) -> int:
        """Seeds at which a look's half width would be the mean's distance from the nearest end of the region."""
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

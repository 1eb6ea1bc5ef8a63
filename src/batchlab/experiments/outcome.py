"""What an experiment came to: the verdict of each check, and of the claim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from batchlab.experiments.arm_results import Arm
from batchlab.experiments.arms import is_possible
from batchlab.experiments.experiment import Check, Experiment
from batchlab.experiments.statistic import compute
from batchlab.experiments.verdict import CONTRADICTED, LOOKS, OPEN, SUPPORTED, CheckVerdict, judge
from batchlab.laws.equivalence import holm


@dataclass(frozen=True)
class JudgedCheck:
    """A check with its verdict, or why it has none."""

    check: Check
    verdict: CheckVerdict | None
    reason: str = ""


@dataclass(frozen=True)
class Outcome:
    """An experiment with its verdict.

    Attributes:
        experiment: what was tested.
        arms: as measured.
        judged: every check.
        said: supported, contradicted or open.
        p: of the checks that decide; 1 where nothing was measured.
        n: seeds.
    """

    experiment: Experiment
    arms: Mapping[str, Arm]
    judged: Sequence[JudgedCheck]
    said: str
    p: float
    n: int

    @property
    def main(self) -> JudgedCheck:
        """The check that stands in the table."""
        return next(each for each in self.judged if not each.check.is_secondary)

    @property
    def can_be_decided(self) -> bool:
        """Whether more seeds could; not where a check that decides needs a device that this machine lacks."""
        arms = {name for each in self.judged if not each.check.is_secondary for name in each.check.arms}
        return all(is_possible(config.device) for name in arms for config in self.experiment.arms[name])


def judge_experiment(experiment: Experiment, arms: Mapping[str, Arm]) -> Outcome:
    """Judge every check; the claim is contradicted where one that decides is, supported where all of them are.

    Args:
        experiment: composed.
        arms: as measured; without seeds where nothing was.
    """
    judged = [_judged(check, experiment, arms) for check in experiment.checks]
    deciding = [each.verdict for each in judged if not each.check.is_secondary]
    said, p = _together(deciding)
    n = max((len(runs) for arm in arms.values() for runs in arm.settings), default=0)
    return Outcome(experiment, arms, judged, said, p, n)


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
    against = [each.p for each in known if each.said == CONTRADICTED]
    if against:
        return CONTRADICTED, min(1.0, len(verdicts) * min(against))
    if not known or len(known) < len(verdicts):
        return OPEN, 1.0
    return (SUPPORTED if all(each.said == SUPPORTED for each in known) else OPEN), max(each.p for each in known)


def corrected(outcomes: Sequence[Outcome]) -> list[float]:
    """Each claim's p times the four looks, Holm-corrected over the table."""
    if not outcomes:
        return []
    spent = np.minimum(1.0, np.array([each.p for each in outcomes]) * len(LOOKS))
    return [float(p) for p in holm(spent)]

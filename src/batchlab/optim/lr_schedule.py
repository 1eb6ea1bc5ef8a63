"""How the learning rate moves along a run: factors in [0, 1], functions of progress in [0, 1]."""

import math
from collections.abc import Sequence


def constant(progress: float) -> float:
    """Return 1 all the way."""
    del progress
    return 1.0


def step(progress: float, *, milestones: Sequence[float], factor: float) -> float:
    """Multiply by `factor`, in (0, 1), at each milestone, a share of the budget."""
    return factor ** sum(progress >= milestone for milestone in milestones)


def cosine(progress: float, *, final: float) -> float:
    """Follow half a cosine from 1 to `final`: final + (1 - final) * (1 + cos(pi * progress)) / 2.

    Source: Loshchilov and Hutter 2017 (1608.03983), equation 5.
    """
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


def linear(progress: float, *, final: float) -> float:
    """Follow a straight line from 1 to `final`."""
    return 1 + (final - 1) * progress


def wsd(progress: float, *, decay: float, final: float) -> float:
    """Warm up, stay, decay: 1, then a straight line to `final` over the last `decay` of the run.

    Source: Hu et al. 2024 (2404.06395), section 4.2.
    """
    return 1 + (final - 1) * max(0.0, progress - (1 - decay)) / decay


def warm_up(progress: float, warmup: float, warmup_from: float) -> float:
    """Return the ramp that multiplies every schedule, from `warmup_from` to 1 over the first `warmup` of the run.

    Args:
        progress: share of the budget used, in [0, 1].
        warmup: share of the budget that the ramp takes; 0 = none.
        warmup_from: factor at the start; Goyal's gradual warm-up starts at base lr / scaled lr.

    Source: Goyal et al. 2017 (1706.02677), section 2.2.
    """
    return 1.0 if progress >= warmup else warmup_from + (1 - warmup_from) * progress / warmup

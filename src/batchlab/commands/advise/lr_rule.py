"""Learning rate of a batch size: from the tuned ones, else by the optimizer's rule."""

import math
from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np
from hydra.utils import get_object

from batchlab.commands.advise.advise_measurements import Measured
from batchlab.commands.advise.trainings import Training
from batchlab.config.traits import OptimizerTraits, declared
from batchlab.training.plan import num_examples_of


def lr_rule(measured: Measured) -> tuple[float, str]:
    """Return lr's exponent in the batch size, fitted to tuned learning rates or the optimizer's rule; and why."""
    tuned = tuned_trainings(measured)
    optimizer = measured.config.optimizer
    name = str(optimizer["_target_"]).rsplit(".", 1)[-1]
    if len(tuned) >= 2:
        x, y = np.log([each.batch_size for each in tuned]), np.log([each.lr for each in tuned])
        exponent = float(np.polyfit(x, y, 1)[0])
        sizes = ", ".join(f"{each.lr:.3g} at B = {each.batch_size}" for each in tuned)
        return min(max(exponent, 0.0), 1.0), f"fitted to the tuned learning rates ({sizes})"
    if is_adaptive(optimizer):
        return 0.5, f"the square-root rule for {name} (Malladi et al. 2022), not tuned here"
    return 1.0, f"the linear rule for {name} (Goyal et al. 2017), not tuned here; it holds up to about B_crit"


def is_adaptive(optimizer: dict[str, Any]) -> bool:
    """Tell whether a step does not grow with the gradient: as declared, else by the optimizer's arguments."""
    declares = declared(OptimizerTraits, optimizer).adaptive
    known = signature(get_object(optimizer["_target_"])).parameters if declares is None else ()
    return bool(declares) or "betas" in known or "alpha" in known


def tuned_trainings(measured: Measured) -> Sequence[Training]:
    """List the best training of each batch size."""
    if measured.trainings is None:
        return []
    sizes = sorted({each.batch_size for each in measured.trainings.done})
    return [best for size in sizes if (best := measured.trainings.best_at(size)) is not None]


def lr_at(batch_size: int, measured: Measured, exponent: float) -> float:
    """Return the lr to start from: between tuned sizes on a line in logarithms, beyond them by the exponent."""
    tuned = tuned_trainings(measured)
    if not tuned:
        base = num_examples_of(measured.config.batch_size, measured.num_train)
        return measured.config.lr * (batch_size / base) ** exponent
    x, y = [math.log(each.batch_size) for each in tuned], [math.log(each.lr) for each in tuned]
    at = math.log(batch_size)
    if x[0] <= at <= x[-1]:
        return math.exp(float(np.interp(at, x, y)))
    end = 0 if at < x[0] else -1
    return math.exp(y[end] + exponent * (at - x[end]))

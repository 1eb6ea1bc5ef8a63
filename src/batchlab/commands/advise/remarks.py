"""What a person should know of an advice before following it."""

import math

from batchlab.commands.advise.advise_measurements import Measured, power_of_two
from batchlab.commands.advise.trainings import Trainings
from batchlab.config.installation import program
from batchlab.laws.convergence import Convergence


def remarks_on(measured: Measured, law: Convergence | None, best: float) -> list[str]:
    """A sentence for each thing that the numbers alone do not say.

    Args:
        measured: as for `advise`.
        law: from the trainings, or None.
        best: B*.
    """
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
    if alpha.low <= 0.0:
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
    """Batch sizes whose best lr has no finished training at both a smaller and a larger one."""
    found = []
    for size in sorted({each.batch_size for each in trainings.done}):
        best = trainings.best_at(size)
        lrs = [each.lr for each in trainings.done if each.batch_size == size and each.outcome != "no time"]
        if best is not None and not min(lrs) < best.lr < max(lrs):
            found.append(size)
    return found

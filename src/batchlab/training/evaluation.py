"""Evaluations of a run, and the history of them that a checkpoint keeps."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from batchlab.training.clock import Clock
from batchlab.training.loop import LoopPoint
from batchlab.training.plan import Counts


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a run's model at one point, while the clock was stopped."""

    point: LoopPoint  # where the loop stood
    # metrics of the splits, sharpness and gradient noise by the name of their curve; what was not measured has no
    # entry, what could not be measured is NaN
    metrics: Mapping[str, float]
    is_last: bool  # the run ends here: its budget is used up, it has diverged, or it has reached its target
    score: float | None  # on the validation split; None where the run has diverged


class RunHistory:
    """A run's evaluations with the clock's readings, and its wall-clock seconds over all processes."""

    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []
        self._readings: list[dict[str, float]] = []
        self._earlier, self._started = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Return wall-clock seconds so far, in s."""
        return self._earlier + time.perf_counter() - self._started

    def add(self, evaluation: Evaluation, clock: Clock) -> None:
        """Append an evaluation and what the clock reads now."""
        self.evaluations.append(evaluation)
        self._readings.append(clock.state_dict())

    def replay(self, clock: Clock) -> Iterator[Evaluation]:
        """Yield the evaluations again, for whoever records them or stops the run; the clock reads what it did then."""
        reading = clock.state_dict()
        for evaluation, then in zip(self.evaluations, self._readings, strict=True):
            clock.load_state_dict(then)
            yield evaluation
        clock.load_state_dict(reading)

    def state_dict(self) -> dict[str, Any]:
        """Return the evaluations, the clock's readings and the seconds."""
        evaluations = [asdict(each) for each in self.evaluations]
        return {"evaluations": evaluations, "readings": list(self._readings), "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the evaluations, the clock's readings and the seconds."""
        self.evaluations = []
        for each in state["evaluations"]:
            point = LoopPoint(**(each["point"] | {"counts": Counts(**each["point"]["counts"])}))
            self.evaluations.append(Evaluation(point, each["metrics"], each["is_last"], each["score"]))
        self._readings, self._earlier = list(state["readings"]), state["seconds"]

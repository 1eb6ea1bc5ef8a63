"""A trial as the training code sees it: reports evaluations, asks whether to stop, writes its result."""

import json
import math
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import optuna
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from batchlab.config.instantiate import made
from batchlab.search.finalize import RESULT
from batchlab.search.optuna_internals import storage_of
from batchlab.search.pareto_front import pareto_front
from batchlab.search.pruning import Curve, Front, error_of, is_dominated
from batchlab.search.storage import open_storage
from batchlab.search.study import DIGEST, DataChanged, changed_data
from batchlab.search.trial_ref import TrialRef, current_ref
from batchlab.tasks.known_tasks import FINAL
from batchlab.tasks.objectives import judging_objective
from batchlab.training.evaluation import Evaluation
from batchlab.training.loop import LoopPoint

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_OF_A_FRONT = 1.0
"""A front may be so old; reading all trials costs as much as training for 10 ms."""
CURVES_OF_A_FRONT = 100
"""The latest curves say enough; more would make each look slower."""


def current_trial() -> "SearchTrial | None":
    """Attach to the trial that this job runs; None outside a search."""
    trial_ref = current_ref()
    if trial_ref is None:
        return None
    address = HydraConfig.get().sweeper.storage
    address = OmegaConf.to_container(address, resolve=True) if OmegaConf.is_config(address) else address
    return SearchTrial(
        _shared(trial_ref.mlruns, json.dumps(address), trial_ref.study, json.dumps(trial_ref.pruner)), trial_ref
    )


class Shared:
    """Study that the trials of one process share, and its front of finished trials."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.digest: str | None = study.user_attrs.get("fingerprint", {}).get(DIGEST)
        self._fronts: dict[str, tuple[float, Front]] = {}

    def front(self, trial_ref: TrialRef, curve_key: str) -> Front:
        """Read front and finished curves of one kind, at most `SECONDS_OF_A_FRONT` old."""
        known = self._fronts.get(curve_key)
        if known is None or time.monotonic() - known[0] > SECONDS_OF_A_FRONT:
            trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            known = (time.monotonic(), front_of(trials, trial_ref, curve_key))
            self._fronts[curve_key] = known
        return known[1]


@lru_cache(maxsize=2)
def _shared(mlruns: str, address: str, name: str, pruner: str) -> Shared:
    node = json.loads(pruner)
    storage = open_storage(mlruns, json.loads(address))
    return Shared(optuna.load_study(study_name=name, storage=storage, pruner=made(node) if node else None))


@dataclass(frozen=True)
class KnownResult:
    """The values of a point that was measured before."""

    number: int
    result: dict[str, Any]


class SearchTrial:
    """One trial, attached through the storage; the same in every process."""

    def __init__(self, shared: Shared, trial_ref: TrialRef) -> None:
        self._shared, self._study, self._trial_ref, self._trial_id = shared, shared.study, trial_ref, trial_ref.trial_id
        self.number, self.study_name, self.tried = trial_ref.number, trial_ref.study, trial_ref.tried
        seconds_left = math.inf if trial_ref.deadline is None else trial_ref.deadline - time.time()
        self._until = time.monotonic() + seconds_left  # however the host's clock is set meanwhile
        self._run_ids: list[str] = []
        self._evaluations: list[Evaluation] = []
        self._identity = ""
        self._curve_key, self._is_dominated = "", False

    @property
    def _storage(self) -> BaseStorage:
        return storage_of(self._study)

    def known(self, identity: str) -> KnownResult | None:
        """Find another trial's result of the same runs; waits for one that is measuring it now.

        `identity` is that of everything that decides what the trial's runs do.
        """
        self._identity = identity
        if not self._trial_ref.may_repeat:
            return None
        self._write("point", {"identity": identity})
        while True:
            trials = self._study.get_trials(deepcopy=False)
            twins = [trial for trial in trials if _identity(trial) == identity and trial.number != self.number]
            for twin in twins:
                result = twin.user_attrs.get(RESULT)
                if twin.state.is_finished() and result and result["outcome"] not in ("stopped", "pruned"):
                    return KnownResult(twin.user_attrs.get("measured_by", twin.number), result)
            if not any(twin.state is TrialState.RUNNING and twin.number < self.number for twin in twins):
                return None
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def check_data(self, digest: str) -> None:
        """Compare the data as this process has read it with the study's: it may have changed meanwhile.

        Raises:
            DataChanged: where the study was begun with other examples.
        """
        if self._shared.digest not in (None, digest):
            raise DataChanged(changed_data(self._study, digest))

    def begin_run(self, run_id: str, curve_key: str, resumed_from: int | None = None) -> None:
        """Record that a run of this trial begins.

        Args:
            run_id: MLflow's, or that of the spool where MLflow was away.
            curve_key: runs of one key end alike: data, model, lr schedule, kind of budget.
            resumed_from: steps of the checkpoint from which it goes on; None = it begins anew.
        """
        if resumed_from is not None:
            attributes = self._storage.get_trial_user_attrs(self._trial_id)
            if resumed_from > attributes.get("resumed_from_step", 0):  # workers died, and yet it gets on
                self._write("losses", 0)
            self._write("resumed_from_step", resumed_from)
        self._run_ids.append(run_id)
        self._curve_key = curve_key
        self._write("mlflow_run_ids", self._run_ids)

    def why_stop(self, at: LoopPoint | Evaluation) -> str:
        """Report where a run stands; ``pruned``, ``stopped`` or nothing.

        The first seed's curve decides: a later seed of a trial that got so far runs to its end.
        """
        if time.monotonic() > self._until:
            return "stopped"
        if not isinstance(at, Evaluation) or len(self._run_ids) > 1 or at.score is None or math.isnan(at.score):
            return ""
        self._evaluations.append(at)
        if at.is_last or not self._trial_ref.prune:
            return ""
        return "pruned" if self._is_hopeless(at) else ""

    def _is_hopeless(self, evaluation: Evaluation) -> bool:
        if len(self._trial_ref.metrics) == 1:
            name = self._trial_ref.metrics[0]
            value = evaluation.metrics.get(f"val/{name.removeprefix(FINAL)}") if name.startswith(FINAL) else None
            if value is None:
                return False
            trial = Trial(self._study, self._trial_id)
            trial.report(value, step=len(self._evaluations))
            return trial.should_prune()
        front = self._shared.front(self._trial_ref, self._curve_key)
        was_dominated, self._is_dominated = self._is_dominated, is_dominated(front, self.curve())
        return was_dominated and self._is_dominated

    def curve(self) -> Curve:
        """Return the first seed's curve so far."""
        objectives = dict(zip(self._trial_ref.metrics, self._trial_ref.directions, strict=True))
        direction = objectives.get(judging_objective(self._trial_ref.metrics) or "", "maximize")
        return Curve(
            tuple(each.point.progress for each in self._evaluations),
            tuple(each.point.counts.seconds for each in self._evaluations),
            tuple(error_of(direction, each.score or 0.0) for each in self._evaluations),
        )

    def finish(self, outcome: str, cause: str, values: list[float], costs: dict[str, float]) -> None:
        """Write the result; whoever asked for the trial sets its state.

        Args:
            outcome: done, pruned, stopped, diverged, out_of_memory or no_value.
            cause: a sentence; empty for done.
            values: the objectives, for done.
            costs: step time, peak memory and the like by name.
        """
        result: dict[str, Any] = {"outcome": outcome, "values": values if outcome == "done" else None, "cause": cause}
        result |= {**costs, "identity": self._identity, "curve_key": self._curve_key}
        self._write(RESULT, result | self.curve().as_attribute())

    def repeat(self, known: KnownResult) -> None:
        """Write the result of an earlier trial of the same point, marked as such."""
        self._write("measured_by", known.number)
        self._write(RESULT, known.result | {"curve_key": ""})

    def _write(self, name: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._trial_id, name, value)


def front_of(trials: list[FrozenTrial], trial_ref: TrialRef, curve_key: str) -> Front:
    """Collect the Pareto front of finished trials and their latest curves of one kind."""
    values = [tuple(trial.values) for trial in trials]
    best = [values[place] for place in pareto_front(values, trial_ref.directions)]
    results = (trial.user_attrs.get(RESULT, {}) for trial in trials)
    curves = [Curve.of(each) for each in results if each.get("curve_key") == curve_key and each.get("error")]
    return Front(tuple(trial_ref.metrics), tuple(trial_ref.directions), best, curves[-CURVES_OF_A_FRONT:])


def _identity(trial: FrozenTrial) -> str | None:
    return (trial.user_attrs.get("point") or trial.user_attrs.get(RESULT) or {}).get("identity")

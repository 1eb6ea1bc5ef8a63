"""What is wrong with a study after everything was done to it, asked of Optuna's and MLflow's stores."""

from collections import Counter
from contextlib import suppress

import psutil
from mlflow.entities import Run

from batchlab.config.objectives import CALIBRATED, MEASURED
from batchlab.search.study import FrozenTrial, TrialState, is_done


def findings(trials: list[FrozenTrial], runs: list[Run], num_trials: int) -> list[str]:
    """What is wrong at the end; nothing where all is well."""
    config_error = [f"run {run.info.run_id} seems to run" for run in runs if run.info.status == "RUNNING"]
    done = [trial for trial in trials if is_done(trial)]
    slots = Counter(trial.user_attrs["slot"] for trial in done)
    if slots != Counter(range(num_trials)):
        config_error.append(f"slots that are not done once: {sorted((slots - Counter(range(num_trials))).items())}, "
                     f"missing: {sorted(set(range(num_trials)) - set(slots))}")  # fmt: skip
    if left := [trial.number for trial in trials if not trial.state.is_finished()]:
        config_error.append(f"trials that have not ended: {left}")
    by_trial: dict[int, list[Run]] = {}
    for run in runs:
        if "optuna.trial_number" in run.data.tags and "pick" not in run.data.tags:
            by_trial.setdefault(int(run.data.tags["optuna.trial_number"]), []).append(run)
    for trial in done:
        config_error += disagreements(trial, by_trial)
    return config_error


def disagreements(trial: FrozenTrial, by_trial: dict[int, list[Run]]) -> list[str]:
    """Where a trial and its MLflow run say different things."""
    number, result = trial.user_attrs.get("measured_by", trial.number), trial.user_attrs.get("result", {})
    ids = {run.info.run_id: run for run in by_trial.get(number, [])}
    if trial.state is TrialState.FAIL or len(ids) != 1:
        return [f"trial {trial.number}: {trial.state.name}, {len(ids)} runs, {trial.user_attrs.get('cause', '')}"]
    [run] = ids.values()
    outcome = run.data.tags.get("outcome")
    if (outcome, run.info.status) != (result.get("outcome"), "FINISHED"):
        return [f"trial {trial.number}: {result.get('outcome')}, its run {outcome} {run.info.status}"]
    pairs = dict(zip((CALIBRATED, "final/val_accuracy"), trial.values or (), strict=False))
    if result["outcome"] == "pruned":
        pairs = {MEASURED: result["last_train_seconds"]}
    told = {name: run.data.metrics.get(name) for name in pairs}
    return [] if told == pairs else [f"trial {trial.number}: {pairs}, its run {told}"]


def processes_of(mlruns: str) -> list[psutil.Process]:
    """Processes that still write into a folder of results."""
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("BATCHLAB_MLRUNS") == mlruns:
                left.append(process)
    return left

"""What a multirun of an experiment says of its claim, from its own runs alone."""

from batchlab.config.installation import program
from batchlab.experiments.arm_runs import arms_of, known_runs
from batchlab.experiments.claims_table import draw_claims, summary
from batchlab.experiments.experiment import Experiment, possible_configs
from batchlab.experiments.outcome import judge_experiment
from batchlab.experiments.verdict import LEVEL
from batchlab.report.run_progress import make_console
from batchlab.tracking.mlflow_store import TrackingUnavailable


def show_experiment(experiment: Experiment, sweep_id: str) -> None:
    """Print the claim and the verdict of each check.

    Args:
        experiment: whose arms were run.
        sweep_id: names the command.
    """
    first = possible_configs(experiment)[0]
    console, claim = make_console(), experiment.claim
    try:
        known = known_runs(first.mlruns, [first.study], sweep_id)
    except TrackingUnavailable as error:
        console.print(f"No verdict: {error}. Later: {program('claims')} {experiment.name}")
        return
    outcome = judge_experiment(experiment, arms_of(experiment, first.num_seeds, known))
    console.print(f"Claim {claim.number} ({claim.source}): {claim.says}")
    console.print(draw_claims([outcome]))
    console.print(summary([outcome], {}))
    console.print(f"Decided at the level {LEVEL:.4g} of one look of four. What this leaves out: {claim.leaves_out}")

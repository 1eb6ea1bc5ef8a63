"""batchlab: train one configuration, compare several (-m batch_size=32,128,512), or search (search=joint)."""

import sys

from batchlab.system.signals import check_stop, heed_signals, ignore_signals, note_signals, stop_code

if __name__ == "__main__":
    note_signals()  # what follows takes a second to import, and is not to be cut off in the middle

import os
from uuid import uuid4

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from batchlab.commands.train.preflight import Request, preflight, stop
from batchlab.config.registration import is_arms_sweeper, register_schema
from batchlab.config.resolve import resolved
from batchlab.config.schema import REPOSITORY
from batchlab.errors import ConfigErrors
from batchlab.experiments.arms import arm_probe
from batchlab.system.exit_codes import exit_code, faults_end_the_command, have_hydra_raise
from batchlab.system.secrets import hide_passwords
from batchlab.system.torchrun_env import Place, torchrun_env, with_torchrun
from batchlab.tracking.unsent_runs import send_at_end, send_at_start

register_schema()
SWEEP_ID = "BATCHLAB_SWEEP_ID"
"""Environment variable that tells every process of one command which command it is."""
WORKER = "BATCHLAB_WORKER"
"""Environment variable of a search's worker process; its supervisor has checked everything, and shows the results."""


@hydra.main(config_path=str(REPOSITORY / "conf"), config_name="train", version_base="1.3")
def main(config: DictConfig) -> tuple[float, ...]:
    from batchlab.commands.train.job import (
        train,  # torch and mlflow take seconds to import; --help and --cfg do without
    )

    check_stop()
    sweeper = HydraConfig.get().sweeper
    with faults_end_the_command():
        if is_arms_sweeper(sweeper) and (probe := arm_probe(sweeper)) is not None:
            from batchlab.experiments.probe_runs import probe_seeds

            probe_seeds(resolved(config), probe, os.environ[SWEEP_ID])
            return ()
        return train(resolved(config), os.environ[SWEEP_ID])


def begin() -> int:
    """Alone, or as one of torchrun's processes; returns the exit code."""
    place = torchrun_env()
    return start() if place is None else start_among(place)


def start_among(place: Place) -> int:
    """One of the processes that torchrun started: the first does everything, the others share its batches."""
    if place.rank:
        from batchlab.distributed.follower import main_of_torchrun

        return main_of_torchrun()
    try:
        sys.argv[1:] = with_torchrun(sys.argv[1:], place)
    except ConfigErrors as error:
        stop(list(error.errors))
    if not (code := start()):
        from batchlab.distributed.leader import dismiss

        dismiss()
    return code


def start() -> int:
    """Check everything, train, show what came out; returns the exit code."""
    asked = check()
    folders = {config.mlruns for config in asked.configs} | ({asked.search.settings.mlruns} if asked.search else set())
    for folder in folders:
        send_at_start(folder)
    have_hydra_raise()
    code = exit_code(main)
    if code >= 128:
        cut_off = "the curves so far are recorded, a run that was cut off is marked KILLED"
        print(f"Stopped; {cut_off}.", file=sys.stderr)
    unsent = exit_code(lambda: max((send_at_end(folder) for folder in folders), default=0))
    shown = exit_code(lambda: report(asked, code))
    return code or shown or unsent


def check() -> Request:
    """What is asked for; a search's worker is told by its supervisor, which has checked it."""
    try:
        heed_signals()
        if WORKER in os.environ:
            return Request([], None)
        if errors := hide_passwords():
            stop(errors)
        os.environ[SWEEP_ID] = uuid4().hex[:12]
        asked = preflight(sys.argv[1:])
        check_stop()
        return asked
    finally:
        if stop_code():
            print("Stopped; nothing was run.", file=sys.stderr)


def report(asked: Request, code: int) -> int:
    """Show what was recorded, also where a signal ended the command."""
    if asked.configs:
        from batchlab.commands.train.results import show_comparison

        show_comparison(asked.configs, os.environ[SWEEP_ID])
    if asked.experiment is not None:
        from batchlab.experiments.experiment_summary import show_experiment

        show_experiment(asked.experiment, os.environ[SWEEP_ID])
    if asked.search is not None:
        from batchlab.commands.train.finish_search import finish

        return int(not finish(asked.search, os.environ[SWEEP_ID], may_train=code == 0))
    return 0


if __name__ == "__main__":
    ended = exit_code(begin)
    ignore_signals()
    sys.exit(ended)

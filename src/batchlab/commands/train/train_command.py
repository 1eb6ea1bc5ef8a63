"""`batchlab train`: checks everything that was typed, trains, shows what came out."""

import os
import sys
from uuid import uuid4

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from batchlab.commands.command_line import Request, stop
from batchlab.commands.train.preflight import preflight
from batchlab.config.installation import CONF
from batchlab.config.registration import is_arms_sweeper, register_schema
from batchlab.config.resolve import resolved
from batchlab.errors import ConfigErrors
from batchlab.experiments.arms import arm_probe
from batchlab.system.child_processes import SWEEP_ID, WORKER
from batchlab.system.exit_codes import exit_code, faults_end_the_command
from batchlab.system.secrets import hide_passwords
from batchlab.system.signals import check_stop, heed_signals, stop_code
from batchlab.system.torchrun_env import torchrun_env, with_torchrun
from batchlab.tracking.unsent_runs import send_at_end, send_at_start


def train_job(config: DictConfig) -> tuple[float, ...]:
    """Run one job: train its configuration, or measure the arm of an experiment; returns the objectives."""
    from batchlab.commands.train.job import train  # torch and mlflow take seconds; --help and --cfg do without

    check_stop()
    sweeper = HydraConfig.get().sweeper
    with faults_end_the_command():
        if is_arms_sweeper(sweeper) and (probe := arm_probe(sweeper)) is not None:
            from batchlab.experiments.arm_runs import probe_seeds

            probe_seeds(resolved(config), probe, os.environ[SWEEP_ID])
            return ()
        return train(resolved(config), os.environ[SWEEP_ID])


def begin() -> int:
    """Run the command, alone or as one of torchrun's processes, and return its exit code."""
    if (rank := torchrun_env()) is None:
        return start()
    if rank.rank:  # the first of torchrun's processes does everything, the others share its batches
        from batchlab.distributed.follower import main_of_torchrun

        return main_of_torchrun()
    try:
        sys.argv[1:] = with_torchrun(sys.argv[1:], rank)
    except ConfigErrors as error:
        stop(error.errors)
    if not (code := start()):
        from batchlab.distributed.leader import dismiss

        dismiss()
    return code


def start() -> int:
    """Check everything, train, show what came out; returns the exit code."""
    register_schema()
    request = check()
    folders = {config.mlruns for config in request.configs}
    folders |= {request.search.settings.mlruns} if request.search else set()
    for folder in folders:
        send_at_start(folder)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what a job raised: a full disk is no bug, and looks like none
    # Hydra finds this function by its name where a launcher runs it in another process
    code = exit_code(hydra.main(config_path=str(CONF), config_name="train", version_base="1.3")(train_job))
    if code >= 128:
        cut_off = "the curves so far are recorded, a run that was cut off is marked KILLED"
        print(f"Stopped; {cut_off}.", file=sys.stderr)
    unsent = exit_code(lambda: max((send_at_end(folder) for folder in folders), default=0))
    shown = exit_code(lambda: show(request, code))
    return code or shown or unsent


def check() -> Request:
    """Read and check the command line; that of a search's worker was checked by its supervisor."""
    try:
        heed_signals()
        if WORKER in os.environ:
            return Request([])
        if errors := hide_passwords():
            stop(errors)
        os.environ[SWEEP_ID] = uuid4().hex[:12]
        request = preflight(sys.argv[1:])
        check_stop()
        return request
    finally:
        if stop_code():
            print("Stopped; nothing was run.", file=sys.stderr)


def show(request: Request, code: int) -> int:
    """Show what was recorded, also where a signal ended the command; returns 1 where a study cannot be read."""
    if request.configs:
        from batchlab.commands.train.results import show_comparison

        show_comparison(request.configs, os.environ[SWEEP_ID])
    if request.experiment is not None:
        from batchlab.experiments.claims_table import show_experiment

        show_experiment(request.experiment, os.environ[SWEEP_ID])
    if request.search is not None:
        from batchlab.commands.train.finish_search import finish

        return int(not finish(request.search, os.environ[SWEEP_ID], may_train=code == 0))
    return 0

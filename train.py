"""batchlab: train one configuration, compare several (-m batch_size=32,128,512), or search (search=joint)."""

import os
import sys
from uuid import uuid4

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, OverrideParseException
from omegaconf import DictConfig

from batchlab.arms import arm_probe
from batchlab.config import REPOSITORY, is_arms_sweeper, register_schema, resolved
from batchlab.passwords import hide_passwords
from batchlab.preflight import Asked, preflight, stop
from batchlab.stopping import heed_signals

register_schema()
SWEEP_ID = "BATCHLAB_SWEEP_ID"
"""Environment variable that tells every process of one command which command it is."""
WORKER = "BATCHLAB_WORKER"
"""Environment variable of a search's worker process; its supervisor has checked everything, and shows the results."""


@hydra.main(config_path=str(REPOSITORY / "conf"), config_name="train", version_base="1.3")
def main(config: DictConfig) -> tuple[float, ...]:
    from batchlab.job import train  # torch and mlflow take seconds to import; --help and --cfg do without

    sweeper = HydraConfig.get().sweeper
    if is_arms_sweeper(sweeper) and (probe := arm_probe(sweeper)) is not None:
        from batchlab.claims.probing import probe_seeds

        probe_seeds(resolved(config), probe, os.environ[SWEEP_ID])
        return ()
    return train(resolved(config), os.environ[SWEEP_ID])


def start() -> int:
    """Check everything, train, show what came out; returns the exit code."""
    asked = Asked([], None)
    if WORKER not in os.environ:
        if mistakes := hide_passwords():
            stop(mistakes)
        os.environ[SWEEP_ID] = uuid4().hex[:12]
        asked = preflight(sys.argv[1:])
    heed_signals()
    code = 0
    try:
        main()
        code = report(asked, 0)
    except KeyboardInterrupt:
        code = 130
    except SystemExit as ending:
        is_composition = isinstance(ending.__context__, ConfigCompositionException | OverrideParseException)
        code = 2 if is_composition else int(ending.code or 0)
    return report(asked, code) if code else 0


def report(asked: Asked, code: int) -> int:
    """Show what was recorded, also where a signal ended the command."""
    if code >= 128:
        print("Stopped; the curves so far are recorded, the run is marked KILLED.", file=sys.stderr)
    if asked.configs:
        from batchlab.job import show_comparison

        show_comparison(asked.configs, os.environ[SWEEP_ID])
    if asked.experiment is not None:
        from batchlab.claims.show import show_experiment

        show_experiment(asked.experiment, os.environ[SWEEP_ID])
    if asked.search is not None:
        from batchlab.outcome import finish

        finish(asked.search, os.environ[SWEEP_ID], may_train=code == 0)
    return code


if __name__ == "__main__":
    try:
        sys.exit(start())
    except KeyboardInterrupt:  # while checking, or while the tables are made
        print("Stopped.", file=sys.stderr)
        sys.exit(130)

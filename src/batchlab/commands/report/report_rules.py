"""Every error of a command line of scripts/report.py."""

from batchlab.commands.report.report_keys import Report
from batchlab.config.schema import Config
from batchlab.errors import ConfigError, nearest
from batchlab.search.storage import find_study
from batchlab.tracking.study_reader import is_searched, study_names

SHOWN = 8
"""Names of studies that a message lists."""


def check(keys: Report, configs: list[Config]) -> list[ConfigError]:
    """Mistakes of the script's keys, and studies that are not there."""
    errors = []
    if keys.output not in ("text", "json"):
        errors.append(ConfigError("output", keys.output, "text or json", "output=text"))
    if keys.output == "json" and len(configs) > 1:
        errors.append(ConfigError("output", "json", "is that of one study", "one study"))
    for config in configs:
        names = study_names(config.mlruns)
        if config.study not in names:
            listed = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
            allowed = f"no such study in {config.mlruns}; there are {listed}" if names else f"none in {config.mlruns}"
            fix = f"study={nearest(config.study, names) or names[0]}" if names else "mlruns=/folder/of/results"
            errors.append(ConfigError("study", config.study, allowed, fix))
        elif is_searched(config.mlruns, config.study) and not find_study(config.mlruns, config.study, keys.storage):
            allowed = "the study was searched, and Optuna's store of it is not there"
            fix = "storage=..., as hydra.sweeper.storage was typed"
            errors.append(ConfigError("storage", keys.storage, allowed, fix))
    return errors

"""`batchlab report`: writes a study's page from what was recorded."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from batchlab.commands.command_line import Request
from batchlab.config.command_keys import Report
from batchlab.config.schema import Config
from batchlab.errors import ConfigError, nearest
from batchlab.report.study_page import write_study_page
from batchlab.search.storage import find_study
from batchlab.system.progress import make_console
from batchlab.tracking.study_reader import is_searched, study_names

SHOWN = 8
"""Names of studies that a message lists."""


def check(keys: Report, configs: list[Config]) -> Iterator[ConfigError]:
    """Find studies that are not there."""
    if keys.output == "json" and len(configs) > 1:
        yield ConfigError("output", "json", "is that of one study", "one study")
    for config in configs:
        names = study_names(config.mlruns)
        if config.study not in names:
            listed = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
            allowed = f"no such study with trainings in {config.mlruns}"
            allowed = f"{allowed}; there are {listed}" if names else allowed
            fix = f"study={nearest(config.study, names) or names[0]}" if names else "mlruns=/folder/of/results"
            yield ConfigError("study", config.study, allowed, fix)
        elif is_searched(config.mlruns, config.study) and not find_study(config.mlruns, config.study, keys.storage):
            allowed = "the study was searched, and Optuna's store of it is not there"
            fix = "storage=..., as hydra.sweeper.storage was typed"
            yield ConfigError("storage", keys.storage, allowed, fix)


CHECKS = (check,)


def run(request: Request) -> int:
    """Write each study's page; returns the exit code."""
    code = 0
    for config in request.configs:
        written = write_study_page(config.mlruns, config.study, request.keys.storage)
        if written is None:
            print(f"{config.study}: no run has ended, so there is nothing to report.", file=sys.stderr)
            code = 1
        elif request.keys.output == "json":
            print(json.dumps(written[1], indent=1))
        else:
            show(*written)
    return code


def show(page: Path, summary: Mapping[str, Any]) -> None:
    """Print the answer in a few lines, and where the page is."""
    console = make_console()
    if (best := summary.get("recommended")) is None:
        console.print(f"{summary['study']}: nothing can be recommended, no configuration has a value.")
    else:
        console.print(f"{summary['study']}: {best['settings']} (n = {best['n']})", style="bold")
        for line in (summary["reason"], *summary["caveats"], f"What limits: {summary['limits']}."):
            console.print(line)
        if best["command"]:
            console.print(best["command"], soft_wrap=True)
    console.print(f"Report: {page}", soft_wrap=True)

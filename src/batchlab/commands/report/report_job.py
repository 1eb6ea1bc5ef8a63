"""What scripts/report.py does with a command line that is right: writes pages and says what they say."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchlab.commands.command_line import Command
from batchlab.commands.report.report_keys import Report
from batchlab.report.run_progress import make_console
from batchlab.report.study_page import write_study_page


def job(command: Command[Report]) -> int:
    """Write each study's page; returns the exit code."""
    code = 0
    for config in command.configs:
        written = write_study_page(config.mlruns, config.study, command.keys.storage)
        if written is None:
            print(f"{config.study}: no run has ended, so there is nothing to report.", file=sys.stderr)
            code = 1
        elif command.keys.output == "json":
            print(json.dumps(written[1], indent=1))
        else:
            show(*written)
    return code


def show(page: Path, summary: Mapping[str, Any]) -> None:
    """The answer in a few lines, and where the page is."""
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

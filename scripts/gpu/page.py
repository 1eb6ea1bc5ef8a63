"""What a day on a GPU said: each step, and each result it wrote, failures first.

    python scripts/gpu/page.py OUT   # OUT: the folder of the day's summary.txt and results.jsonl

The day itself prints and writes this page. `DAY_DEVICE=none bash scripts/gpu/gpu_day.sh` writes it of a day that
nobody had yet: every step is listed, none was run. A dry run on a CPU writes no page.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from batchlab.report.result_files import write_results

NAMES = ("group", "name", "what", "variant", "loop", "B", "size")
"""Fields of a result that say what was measured; the others say what came out."""
STEP = re.compile(r"^ *\d+ s ([\w-]+): (.+)$", re.MULTILINE)


def has_failed(row: dict[str, Any]) -> bool:
    return row.get("outcome") == "FAILED" or bool(row.get("failed") or row.get("missing") or row.get("rc"))


def said(row: dict[str, Any]) -> tuple[str, str]:
    """Return what a result is of, and what it says."""
    of = " ".join(str(row[name]) for name in NAMES if name in row)
    told = {name: value for name, value in row.items() if name not in (*NAMES, "tested") and value not in ("", [])}
    return of, ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                         for name, value in told.items())  # fmt: skip


def main() -> None:
    """Print the page, and write it where it says something of a GPU."""
    folder = Path(sys.argv[1])
    steps = STEP.findall((folder / "summary.txt").read_text())
    results = folder / "results.jsonl"
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    table = Table("what", "said")
    for name, outcome in steps:
        table.add_row(f"step {name}", outcome)
    table.add_section()
    for row in sorted(rows, key=has_failed, reverse=True):
        table.add_row(*said(row))
    Console(width=160).print(table)
    if os.environ["DAY_DEVICE"] != "cpu":
        records = [{"what": f"step {name}", "outcome": outcome} for name, outcome in steps]
        write_results("gpu", __doc__ or "", table, records + rows)


if __name__ == "__main__":
    main()

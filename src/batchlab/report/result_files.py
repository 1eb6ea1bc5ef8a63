"""Results that stay in the repository: docs/results/<name>.md for people, <name>.json for machines."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from batchlab.config.identity import environment, load_average
from batchlab.config.installation import REPOSITORY


def hardware() -> str:
    """Name CPU, cores and GPU of this machine."""
    facts = environment()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{facts['cpu']}, {facts['cores']} cores, {device}"


def write_results(name: str, about: str, table: Table, records: list[dict[str, Any]]) -> None:
    """Write what a script measured and how (`about`), its table, and flat records, with hardware, commit and date."""
    facts, drawn = environment(), io.StringIO()
    Console(file=drawn, width=120).print(table)
    provenance = {
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "torch": facts["version.torch"],
        "load_average": load_average(),
        "commit": facts["commit"][:12] + ("+changes" if facts["dirty"] == "true" else ""),
        "date": datetime.now(UTC).date().isoformat(),
    }
    listed = "\n".join(f"* {key}: {said}" for key, said in provenance.items())
    origin = f"Written by `{facts['command']}`.\n\n{listed}"
    text = f"# {name}\n\n{origin}\n\n```\n{about.strip()}\n```\n\n```\n{drawn.getvalue()}```\n"
    folder = REPOSITORY / "docs" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    (folder / f"{name}.json").write_text(json.dumps([record | provenance for record in records], indent=1) + "\n")

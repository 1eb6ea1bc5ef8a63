"""What scripts/noise.py does with a command line that is right: trains, measures, writes and shows."""

import json
import sys
from pathlib import Path
from typing import Any

from batchlab.commands.command_line import Command
from batchlab.commands.noise.noise_tables import noise_record, show_noise
from batchlab.config.schema import Config
from batchlab.profiling.micro_batch import settle
from batchlab.profiling.noise_profile import NoiseProfile, NothingMeasured, profile_noise
from batchlab.profiling.noise_settings import Noise
from batchlab.report.run_progress import make_console
from batchlab.tracking.finished_runs import record_study


def job(command: Command[Noise]) -> int:
    """Train, measure, write and show; returns the exit code."""
    keys, settled = command.keys, settle(command.configs[0])
    try:
        found = profile_noise(keys, settled.config)
    except NothingMeasured as error:
        print(error, file=sys.stderr)
        return 1
    answer = noise_record(found)
    path = record(keys, settled.config, found, answer)
    if keys.output == "json":
        print(json.dumps(answer, indent=1))
        return 0
    console = make_console()
    if settled.found:
        console.print(f"micro_batch_size=auto: {settled.found}", soft_wrap=True)
    show_noise(console, found)
    console.print(f"Written to {path}")
    return 0


def record(keys: Noise, config: Config, found: NoiseProfile, answer: dict[str, Any]) -> Path:
    """The answer as a file and as a run in MLflow; returns the file."""
    curves = {
        f"noise/{name}": [(each["size"], each[name]) for each in answer["batches"]]
        for name in ("variance", "cosine_squared")
    }
    finals = {
        "noise/exact": found.exact.noise.scale.value,
        "noise/two_batch": found.two_batch.scale.value,
        "noise/slope": found.slope.value,
    }
    return record_study(config, "noise", vars(keys), finals, curves, "noise", answer)

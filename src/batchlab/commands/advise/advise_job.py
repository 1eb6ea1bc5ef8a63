"""What scripts/advise.py does with a command line that is right: measures, concludes, writes and shows."""

import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any

from batchlab.commands.advise.advice import Advice, advise
from batchlab.commands.advise.advise_keys import Advise
from batchlab.commands.advise.advise_measurements import Measured, measure, train_at_sizes
from batchlab.commands.advise.advise_tables import advice_record, filled_record, show_advice, show_filled
from batchlab.commands.advise.fill_then_reduce import Filled, fill_then_reduce
from batchlab.commands.command_line import Command
from batchlab.report.run_progress import job_bar, make_console
from batchlab.system.signals import check_stop
from batchlab.tracking.finished_runs import record_study


def run(command: Command[Advise]) -> tuple[Measured, Advice | Filled]:
    """Measure, behind a progress bar, and draw the conclusion."""
    keys, config = command.keys, command.configs[0]
    with job_bar(make_console(), keys.output) as bar:
        task, told = bar.add_task("step time", total=1.0), []

        def tell(what: str, share: float) -> None:
            check_stop()
            if bar.disable and what not in told:
                told.append(what)
                print(f"{what} ...", file=sys.stderr)
            bar.update(task, description=what, completed=min(share, 1.0))

        measured = measure(keys, config, tell)
        if keys.method == "fill_then_reduce":
            if measured.trainings is None:
                raise ValueError("; ".join(measured.remarks) or "the first training found no target")
            base = measured.num_train if config.batch_size == "full" else int(config.batch_size)
            return measured, fill_then_reduce(measured, base)
        if measured.trainings is not None:
            train_at_sizes(measured, config)
        return measured, advise(measured, keys.price_per_hour)


def record(command: Command[Advise], answer: dict[str, Any]) -> Path:
    """The answer as a file and as a run in MLflow; returns the file."""
    finals = {}
    for name in ("optimal_batch_size", "critical_batch_size", "gradient_noise_scale", "alpha_seconds", "beta_seconds"):
        for end, value in (answer.get(name) or {}).items():
            if value is not None:
                finals[f"advice/{name}" if end == "value" else f"advice/{name}_{end}"] = float(value)
    for name in ("batch_size", "lr"):
        if answer.get(name) is not None:
            finals[f"advice/{name}"] = float(answer[name])
    return record_study(command.configs[0], "advise", vars(command.keys), finals, {}, "advice", answer)


def job(command: Command[Advise]) -> int:
    """Measure, conclude, write and show; returns the exit code."""
    try:
        measured, found = run(command)
    except ValueError as error:
        print(f"No advice: {error}.", file=sys.stderr)
        return 1
    target = measured.trainings.target if measured.trainings else float("nan")
    answer = advice_record(found, measured) if isinstance(found, Advice) else filled_record(found, target)
    path = record(command, answer)
    if command.keys.output == "json":
        print(json.dumps(answer, indent=1))
        return 0
    console = make_console()
    if isinstance(found, Advice):
        show_advice(console, found, measured)
        kept = [
            word for word in sys.argv[1:] if word.partition("=")[0] not in (*vars(command.keys), "batch_size", "lr")
        ]
        lengths = {word.partition("=")[0] for word in kept} & {"epochs", "budget"}
        kept += [f"epochs={found.epochs:g}"] if math.isfinite(found.epochs) and not lengths else []
        line = shlex.join([*kept, f"batch_size={found.batch_size}", f"lr={found.lr:.3g}"])
        console.print(f"Next: python train.py {line}")
        console.print(f"Written to {path}; recorded in MLflow under {command.configs[0].study}.")
    else:
        assert measured.trainings is not None
        show_filled(console, found, measured.trainings)
    return 0

"""`batchlab advise`: measures, recommends a batch size with its learning rate, writes and shows."""

import json
import math
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchlab.commands.advise.advice import Advice, advise
from batchlab.commands.advise.advise_measurements import Filled, Measured, fill_then_reduce, measure, train_at_sizes
from batchlab.commands.advise.advise_tables import advice_record, filled_record, show_advice, show_filled
from batchlab.commands.command_line import Request
from batchlab.config.command_keys import Advise
from batchlab.config.installation import program
from batchlab.config.schema import Budget, Config
from batchlab.errors import ConfigError
from batchlab.system.progress import Bar, make_console
from batchlab.system.signals import check_stop
from batchlab.tracking.finished_runs import record_study
from batchlab.training.data_loading import load_dataset
from batchlab.training.plan import num_examples_of, score_of
from batchlab.validation.dry_run import check_data
from batchlab.validation.launch_rules import check_single_losses
from batchlab.validation.task_rules import check_target


def check(keys: Advise, configs: list[Config]) -> Iterator[ConfigError]:
    """Find keys that have no effect or cannot go together."""
    if keys.target is not None and keys.budget_seconds == 0:
        yield ConfigError("target", keys.target, "has no effect with budget_seconds=0", "budget_seconds=60")
    if keys.method == "fill_then_reduce" and keys.budget_seconds == 0:
        allowed = "has to train: it reduces the batch until it converges"
        yield ConfigError("method", keys.method, allowed, "budget_seconds=60")
    yield from check_single_losses(configs[0])


def check_batches(keys: Advise, configs: list[Config]) -> Iterator[ConfigError]:
    """Find what shows when the run is built, at the smallest and the largest batch that may be tried."""
    config, dataset = configs[0], load_dataset(configs[0].data)
    if keys.target is not None:
        yield from check_target("target", keys.target, score_of(config, dataset), dataset)
    for size in (min(8, len(dataset.train)), len(dataset.train)):
        yield from check_data(replace(config, batch_size=size, budget=Budget("epochs"), epochs=1.0))


CHECKS = (check, check_batches)


def measured_answer(request: Request) -> tuple[Measured, Advice | Filled]:
    """Measure, behind a progress bar, and draw the conclusion."""
    keys, config = request.keys, request.configs[0]
    with Bar(make_console(), "step time", 1.0, is_hidden=keys.output != "text") as bar:
        told = []

        def tell(what: str, share: float) -> None:
            check_stop()
            if not bar.is_drawn and what not in told:
                told.append(what)
                print(f"{what} ...", file=sys.stderr)
            bar.update(description=what, completed=min(share, 1.0))

        measured = measure(keys, config, tell)
        if keys.method == "fill_then_reduce":
            if measured.trainings is None:
                raise ValueError("; ".join(measured.remarks) or "the first training found no target")
            base = num_examples_of(config.batch_size, measured.num_train)
            return measured, fill_then_reduce(measured, base)
        if measured.trainings is not None:
            train_at_sizes(measured, config)
        return measured, advise(measured, keys.price_per_hour)


def record(request: Request, answer: dict[str, Any]) -> Path:
    """Write the answer to a file, and as a run to MLflow; returns the file."""
    finals = {}
    for name in ("optimal_batch_size", "critical_batch_size", "gradient_noise_scale", "alpha_seconds", "beta_seconds"):
        for end, value in (answer.get(name) or {}).items():
            if value is not None:
                finals[f"advice/{name}" if end == "value" else f"advice/{name}_{end}"] = float(value)
    for name in ("batch_size", "lr"):
        if answer.get(name) is not None:
            finals[f"advice/{name}"] = float(answer[name])
    return record_study(request.configs[0], "advise", vars(request.keys), finals, {}, "advice", answer)


def run(request: Request) -> int:
    """Measure, conclude, write and show; returns the exit code."""
    try:
        measured, found = measured_answer(request)
    except ValueError as error:
        print(f"No advice: {error}.", file=sys.stderr)
        return 1
    target = measured.trainings.target if measured.trainings else float("nan")
    answer = advice_record(found, measured) if isinstance(found, Advice) else filled_record(found, target)
    path = record(request, answer)
    if request.keys.output == "json":
        print(json.dumps(answer, indent=1))
        return 0
    console = make_console()
    if isinstance(found, Advice):
        show_advice(console, found, measured)
        kept = [
            word for word in sys.argv[1:] if word.partition("=")[0] not in (*vars(request.keys), "batch_size", "lr")
        ]
        lengths = {word.partition("=")[0] for word in kept} & {"epochs", "budget"}
        kept += [f"epochs={found.epochs:g}"] if math.isfinite(found.epochs) and not lengths else []
        line = shlex.join([*kept, f"batch_size={found.batch_size}", f"lr={found.lr:.3g}"])
        console.print(f"Next: {program()} {line}")
        console.print(f"Written to {path}; recorded in MLflow under {request.configs[0].study}.")
    else:
        assert measured.trainings is not None
        show_filled(console, found, measured.trainings)
    return 0

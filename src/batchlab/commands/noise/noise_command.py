"""`batchlab noise`: the gradient noise of a trained model, as a table, a file and a run in MLflow."""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from batchlab.commands.command_line import Check, Request
from batchlab.config.command_keys import Noise
from batchlab.config.schema import Config
from batchlab.laws.gradient_noise import cosine_law, variance_law
from batchlab.profiling.micro_batch import check_memory, resolve_micro_batch
from batchlab.profiling.noise_profile import PARTS, NoiseProfile, NothingMeasured, profile_noise
from batchlab.system.progress import make_console
from batchlab.tracking.finished_runs import record_study
from batchlab.training.build import resolve
from batchlab.validation.dry_run import check_data
from batchlab.validation.launch_rules import check_single_losses

CHECKS: tuple[Check, ...] = (
    lambda _, configs: check_single_losses(configs[0]),
    lambda _, configs: check_data(configs[0]),
    lambda _, configs: check_memory(configs),
)


def run(request: Request) -> int:
    """Train, measure, write and show; returns the exit code."""
    keys, choice = request.keys, resolve_micro_batch(resolve(request.configs[0]))
    try:
        found = profile_noise(keys, choice.run.config)
    except NothingMeasured as error:
        print(error, file=sys.stderr)
        return 1
    answer = noise_record(found)
    path = record(keys, choice.run.config, found, answer)
    if keys.output == "json":
        print(json.dumps(answer, indent=1))
        return 0
    console = make_console()
    if choice.found:
        console.print(f"micro_batch_size=auto: {choice.found}", soft_wrap=True)
    show_noise(console, found)
    console.print(f"Written to {path}")
    return 0


def record(keys: Noise, config: Config, found: NoiseProfile, answer: dict[str, Any]) -> Path:
    """Write the answer to a file, and as a run to MLflow; returns the file."""
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


def noise_record(found: NoiseProfile) -> dict[str, Any]:
    """Return the answer as it is written to noise.json."""
    return {
        "exact": found.exact.noise.scale.value,
        "endless": found.endless.scale.record() | {"standard_error": found.endless.standard_error},
        "two_batch": found.two_batch.scale.record(),
        "variance_slope": found.slope.record(),
        "batches": [
            {"size": each.size, "variance": float(each.distances.mean()), "cosine_squared": each.cosine_squared.value}
            for each in found.batches
        ],
    }


def show_noise(console: Console, found: NoiseProfile) -> None:
    """Print the table of batch sizes, then what was found in sentences."""
    exact, endless, slope = found.exact.noise.scale, found.endless, found.slope
    ratio = found.two_batch.scale.value / exact.value
    console.print(draw_batches(found))
    for line in (
        f"Exact, from {found.exact.num_examples} single gradients ({found.exact.method}): "
        f"B_simple = {exact.value:.4g} of them",
        f"As a sample of endless data: {endless.scale.value:.4g} ± {endless.standard_error:.2g} (standard error), "
        f"95 % [{endless.scale.low:.4g}, {endless.scale.high:.4g}]",
        f"Two batch sizes ({PARTS} parts and their total): {found.two_batch.scale.value:.4g}, "
        f"{ratio:.2f} times the exact one",
        f"Variance against m: slope {slope.value:.3f} [{slope.low:.3f}, {slope.high:.3f}]; theory -1 for m ≪ N",
        "S: summed variance of one example's gradient; N: examples measured; law: 1/(1 + B_simple(1/m - 1/N)), which "
        "takes noise to be orthogonal to the gradient; batches below B_simple lie above it by the share that is not.",
        "From B = B_simple on, larger batches save less and less: more than half of a gradient is signal.",
        *(f"Note: {note}" for note in found.exact.notes),
    ):
        console.print(line)


def draw_batches(found: NoiseProfile) -> Table:
    """Draw variance and cosine of every batch size beside what theory says of them."""
    exact, count = found.exact.noise, found.exact.num_examples
    title = "a batch's gradient against that of all examples of the sample"
    heads = ("m", "variance", "S(1/m-1/N)", "ratio", "cosine²", "95 %", "law", "difference")
    table = Table(*(Column(head, justify="right") for head in heads), title=title)
    for each in found.batches:
        variance, predicted = float(each.distances.mean()), float(variance_law(each.size, exact.noise, count))
        cosine, law = each.cosine_squared, float(cosine_law(each.size, exact.scale.value, count))
        table.add_row(
            str(each.size), f"{variance:.3g}", f"{predicted:.3g}", f"{variance / predicted:.2f}",
            f"{cosine.value:.3f}", f"{cosine.low:.3f}-{cosine.high:.3f}", f"{law:.3f}", f"{cosine.value - law:+.3f}",
        )  # fmt: skip
    return table

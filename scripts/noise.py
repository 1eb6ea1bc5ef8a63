"""Gradient noise of a trained model: exact, from two batch sizes, and as it falls with the batch size. See --help."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from batchlab.build import Built, build
from batchlab.check_contrastive import check_single_losses
from batchlab.command import read_command
from batchlab.config import Config, Measure
from batchlab.laws.estimate import Estimate
from batchlab.laws.gradient_noise import NoiseScale, cosine_law, fit_slope, variance_law
from batchlab.mistake import Mistake
from batchlab.probe.gradient_noise import BatchNoise, ExactNoise, batch_noise, exact_noise, parts_noise
from batchlab.probe.gradients import Sample, training_sample
from batchlab.record_study import record_study
from batchlab.rehearse import check_data
from batchlab.report.watch import make_console
from batchlab.run import run
from batchlab.stopping import heed_signals

SMALL = 20
"""Batches of up to a twentieth of the sample count as m much smaller than N, for the slope."""
PARTS = 16
"""Batches of the two-batch estimate: their gradients against that of all of them together."""


@dataclass
class Noise:
    """Keys of scripts/noise.py beside those of a run."""

    num_examples: int = 2000
    """Training examples whose single gradients are measured, at most."""
    num_draws: int = 512
    """Batches of each size."""
    output: str = "text"
    """text, or json."""


def check(keys: Noise, configs: list[Config]) -> list[Mistake]:
    mistakes = list(check_single_losses(configs[0]))
    if len(configs) > 1:
        mistakes.append(Mistake("the command line", "", "lists: one model is measured", "one value for each key"))
    if keys.num_examples < 64:
        mistakes.append(Mistake("num_examples", keys.num_examples, "an integer from 64", "num_examples=2000"))
    if keys.num_draws < 16:
        mistakes.append(Mistake("num_draws", keys.num_draws, "an integer from 16", "num_draws=512"))
    if keys.output not in ("text", "json"):
        mistakes.append(Mistake("output", keys.output, "text or json", "output=text"))
    return mistakes or check_data(configs[0])


def trained(config: Config) -> tuple[Built, str]:
    """The model of a configuration after its training, and how that ended."""
    built = build(replace(config, measure=Measure(gradient_noise=False)), config.seed)
    steps = run(built, with_test=False)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return built, stop.value.outcome


def draw(batches: list[BatchNoise], exact: NoiseScale, count: int) -> Table:
    """Variance and cosine of every batch size beside what theory says of them."""
    title = "a batch's gradient against that of all examples of the sample"
    table = Table("m", "variance", "S(1/m-1/N)", "ratio", "cosine²", "95 %", "law", "difference", title=title)
    for column in table.columns:
        column.justify = "right"
    for each in batches:
        variance, predicted = float(each.distances.mean()), float(variance_law(each.size, exact.noise, count))
        cosine, law = each.cosine_squared, float(cosine_law(each.size, exact.scale.value, count))
        table.add_row(
            str(each.size), f"{variance:.3g}", f"{predicted:.3g}", f"{variance / predicted:.2f}",
            f"{cosine.value:.3f}", f"{cosine.low:.3f}-{cosine.high:.3f}", f"{law:.3f}", f"{cosine.value - law:+.3f}",
        )  # fmt: skip
    return table


def two_batches(built: Built, sample: Sample) -> NoiseScale:
    """The estimate that training gets for free: parts against their total."""
    parts = zip(sample.inputs.tensor_split(PARTS), sample.targets.tensor_split(PARTS), strict=True)
    return parts_noise(built.learner.model, built.loss_function, parts, len(sample))


def answer(
    exact: ExactNoise, endless: NoiseScale, two: NoiseScale, slope: Estimate, batches: list[BatchNoise]
) -> dict[str, Any]:
    return {
        "exact": exact.noise.scale.value,
        "endless": vars(endless.scale) | {"standard_error": endless.standard_error},
        "two_batch": vars(two.scale),
        "variance_slope": vars(slope),
        "batches": [
            {"size": each.size, "variance": float(each.distances.mean()), "cosine_squared": each.cosine_squared.value}
            for each in batches
        ],
    }


def main() -> int:
    heed_signals()
    command = read_command("noise", Noise, sys.argv[1:], check)
    keys, config, console = command.keys, command.configs[0], make_console()
    built, outcome = trained(config)
    if outcome != "done":
        print(f"The training ended as {outcome}: there is no model to measure.", file=sys.stderr)
        return 1
    sample = training_sample(built, keys.num_examples)
    sample = replace(sample, population=len(sample))  # of the sample itself everything can be measured
    model, loss, count = built.learner.model, built.loss_function, len(sample)
    exact, two = exact_noise(model, loss, sample), two_batches(built, sample)
    endless = exact_noise(model, loss, replace(sample, population=sys.maxsize)).noise
    if not np.isfinite(exact.noise.scale.value):
        print(f"No noise scale: {exact.noise.reason}", file=sys.stderr)
        return 1
    sizes = [2**power for power in range(20) if 2**power <= count // 2]
    batches = batch_noise(model, loss, sample, sizes, keys.num_draws, config.seed)
    small = [each for each in batches if each.size <= count // SMALL]
    slope = fit_slope([each.size for each in small], [each.distances for each in small])
    found = answer(exact, endless, two, slope, batches)
    path = Path(config.mlruns) / "reports" / config.study / "noise.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    curves = {
        name: [(each["size"], each[name]) for each in found["batches"]] for name in ("variance", "cosine_squared")
    }
    finals = {"noise/exact": exact.noise.scale.value, "noise/two_batch": two.scale.value, "noise/slope": slope.value}
    record_study(
        config, "noise", vars(keys), finals, {f"noise/{name}": each for name, each in curves.items()}, path.parent
    )
    if keys.output == "json":
        print(json.dumps(found, indent=1))
        return 0
    console.print(draw(batches, exact.noise, count))
    scale = exact.noise.scale
    console.print(
        f"Exact, from {exact.num_examples} single gradients ({exact.method}): B_simple = {scale.value:.4g} of them"
    )
    console.print(
        f"As a sample of endless data: {endless.scale.value:.4g} ± {endless.standard_error:.2g} (standard error), "
        f"95 % [{endless.scale.low:.4g}, {endless.scale.high:.4g}]"
    )
    ratio = two.scale.value / scale.value
    console.print(
        f"Two batch sizes ({PARTS} parts and their total): {two.scale.value:.4g}, {ratio:.2f} times the exact one"
    )
    console.print(
        f"Variance against m: slope {slope.value:.3f} [{slope.low:.3f}, {slope.high:.3f}]; theory -1 for m ≪ N"
    )
    console.print(
        "S: summed variance of one example's gradient; N: examples measured; law: 1/(1 + B_simple(1/m - 1/N)), which "
        "takes noise to be orthogonal to the gradient; batches below B_simple lie above it by the share that is not."
    )
    console.print("From B = B_simple on, larger batches save less and less: more than half of a gradient is signal.")
    for note in exact.notes:
        console.print(f"Note: {note}")
    console.print(f"Written to {path}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("Stopped; nothing was written.", file=sys.stderr)
        sys.exit(130)

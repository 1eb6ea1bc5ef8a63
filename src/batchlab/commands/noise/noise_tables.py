"""What scripts/noise.py found: as a table with sentences, and as a record for machines."""

from typing import Any

from rich.console import Console
from rich.table import Table

from batchlab.laws.gradient_noise import cosine_law, variance_law
from batchlab.profiling.noise_profile import PARTS, NoiseProfile


def noise_record(found: NoiseProfile) -> dict[str, Any]:
    """The answer as it is written to noise.json."""
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
    """The table of batch sizes, then what was found in sentences."""
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
    """Variance and cosine of every batch size beside what theory says of them."""
    exact, count = found.exact.noise, found.exact.num_examples
    title = "a batch's gradient against that of all examples of the sample"
    table = Table("m", "variance", "S(1/m-1/N)", "ratio", "cosine²", "95 %", "law", "difference", title=title)
    for column in table.columns:
        column.justify = "right"
    for each in found.batches:
        variance, predicted = float(each.distances.mean()), float(variance_law(each.size, exact.noise, count))
        cosine, law = each.cosine_squared, float(cosine_law(each.size, exact.scale.value, count))
        table.add_row(
            str(each.size), f"{variance:.3g}", f"{predicted:.3g}", f"{variance / predicted:.2f}",
            f"{cosine.value:.3f}", f"{cosine.low:.3f}-{cosine.high:.3f}", f"{law:.3f}", f"{cosine.value - law:+.3f}",
        )  # fmt: skip
    return table

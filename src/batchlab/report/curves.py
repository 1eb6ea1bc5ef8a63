"""Learning curves and gradient noise along training: of a few runs, the mean over seeds at each evaluation."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from batchlab.report.comparison import Row, Run
from batchlab.report.panel import Axis, Panel, Trace
from batchlab.report.study_data import Study, best_by_size, settings_in_words

MAX_SIZES = 8
MAX_SEEDS = 5
"""Curves are long, and some stores give them one by one: those of 40 runs at most are read."""
NOISE = "noise/gradient_noise_scale"
PROGRESS = {
    "epochs": ("progress/epochs", Axis("epochs (passes over the training split)")),
    "examples": ("progress/examples", Axis("examples processed")),
    "steps": ("", Axis("optimizer steps", is_log=True)),
    "seconds": ("progress/train_seconds", Axis("training time (s)", is_log=True)),
}
"""What a curve can be drawn against: its metric, none for MLflow's own step."""

Curve = Mapping[int, float]
"""Optimizer step -> value."""
ReadCurves = Callable[[Sequence[str], Sequence[str]], Mapping[tuple[str, str], Curve]]
"""(ids of runs, metrics) -> (id, metric) -> the curve; those that were not measured are left out."""


@dataclass(frozen=True)
class CurvePoints:
    """The mean curve of one configuration."""

    row: Row
    n: int  # seeds in the mean
    x: Mapping[str, Sequence[float]]  # name of `PROGRESS` -> values at each evaluation
    score: Sequence[float]  # on the validation split
    noise: Sequence[float]  # gradient noise scale; evaluations without it are left out
    noise_epochs: Sequence[float]  # where it was measured


def drawn(study: Study) -> list[tuple[Row, list[Run]]]:
    """Choose the configurations whose curves are drawn, at most 40 runs: the best of each of up to 8 batch sizes."""
    best = best_by_size(study, study.rows)
    if len(best) > MAX_SIZES:
        best = [best[round(place * (len(best) - 1) / (MAX_SIZES - 1))] for place in range(MAX_SIZES)]
    return [(row, list(study.by_key[row.key])[:MAX_SEEDS]) for row in best]


def curve_points(study: Study, read: ReadCurves) -> list[CurvePoints]:
    """Return mean curves over seeds, at the evaluations that all of a configuration's runs have."""
    metric, chosen = f"val/{study.score.name}", drawn(study)
    along = [key for key, _ in PROGRESS.values() if key]
    curves = read([run["info"]["id"] for _, runs in chosen for run in runs], [metric, NOISE, *along])
    return [found for row, runs in chosen if (found := _mean_curve(row, runs, metric, curves)) is not None]


def _mean_curve(
    row: Row, runs: Sequence[Run], metric: str, curves: Mapping[tuple[str, str], Curve]
) -> CurvePoints | None:
    def mean(key: str) -> dict[int, float]:
        """Average the runs at each step that all of them have with a number."""
        found = [curves.get((run["info"]["id"], key), {}) for run in runs]
        shared = set.intersection(*map(set, found)) if found else set()
        means = {step: sum(curve[step] for curve in found) / len(found) for step in shared}
        return {step: value for step, value in means.items() if not math.isnan(value)}

    score, noise = mean(metric), mean(NOISE)
    if len(score) < 2:
        return None
    along = {name: mean(key) for name, (key, _) in PROGRESS.items() if key}
    steps = sorted(step for step in score if all(step in each for each in along.values()))
    x = {name: [each[step] for step in steps] for name, each in along.items()} | {"steps": [*map(float, steps)]}
    at = sorted(step for step, value in noise.items() if value > 0 and step in along["epochs"])
    return CurvePoints(
        row, len(runs), x, [score[step] for step in steps],
        [noise[step] for step in at], [along["epochs"][step] for step in at],
    )  # fmt: skip


def curve_panels(points: Sequence[CurvePoints], study: Study) -> list[Panel]:
    """Return the curves against epochs, examples, steps and seconds, in one place."""
    title, y = f"Validation {study.score.title} along training", Axis(study.score.axis)
    counts = sorted({each.n for each in points})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    note = (
        f"The best setting of each batch size; mean over n = {seeds} seed{'s' if counts[-1] > 1 else ''}. "
        "Against epochs or examples, small batches lead; against steps, large ones; seconds are what it costs here."
    )
    return [
        Panel(
            f"curves-{choice}", title, axis, y,
            [_line(each, each.x[choice], each.score) for each in points], note, switch="curves", choice=choice,
        )
        for choice, (_, axis) in PROGRESS.items()
    ]  # fmt: skip


def noise_panel(points: Sequence[CurvePoints]) -> Panel | None:
    """Return the gradient noise scale along training; None where it was not measured."""
    traces = [_line(each, each.noise_epochs, each.noise) for each in points if len(each.noise) > 1]
    if not traces:
        return None
    axes = PROGRESS["epochs"][1], Axis("gradient noise scale (examples)", is_log=True)
    note = (
        "tr(Σ)/|G|² of the training split: batches well below it average out noise, batches above it spend examples. "
        "It grows as the loss falls."
    )
    return Panel("noise", "Gradient noise scale along training", *axes, traces, note)


def _line(points: CurvePoints, x: Sequence[float], y: Sequence[float]) -> Trace:
    about = f"{settings_in_words(points.row)}<br>n = {points.n}"
    hover = [f"{about}<br>{value:.4g} at {at:,.4g}" for at, value in zip(x, y, strict=True)]
    name = f"B = {points.row.batch_size:,}, lr {points.row.lr:.3g}"
    return Trace(name, x, y, style="line", hover=hover, commands=[points.row.origin] * len(x))

"""docs/claims.md: one table, then each claim with its figure, its numbers and what it leaves out."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from batchlab.config.installation import REPOSITORY
from batchlab.experiments.arm_results import Arm, MeasuredRun
from batchlab.experiments.claims_table import numbers_of, shown_p, summary
from batchlab.experiments.experiment import Check
from batchlab.experiments.verdict import OPEN, UNJUDGED, Outcome, corrected
from batchlab.laws.estimate import mean_of
from batchlab.laws.line import Array
from batchlab.report.export import export_panel
from batchlab.report.panel import Axis, Panel, Trace, ends
from batchlab.report.result_files import hardware
from batchlab.report.summary import finite

PAGE = REPOSITORY / "docs" / "claims.md"
ABOUT = """\
Each claim about batch size is one experiment, `conf/experiment/<name>.yaml`; its question, statistic and threshold were
written down before it was run. *Supported*: the interval of the effect lies where the claim puts it; *contradicted*:
outside; *open*: neither, with the seeds (n of ~m) or the hardware that would decide it. Looks are taken at 3, 6, 12 and
24 seeds, each at the level .05/4, and the verdict is that look's; Holm's p, which has no part in it, counts the looks
and corrects over the table: a reader of all rows should go by it. Checks in parentheses stand beside the verdict: the
deconfounded run, or the size of the effect."""

SOURCES = """\
2017 post: one that timed a 6x64 network on a CPU and a GPU, batch sizes 100 to 135,844; SGD note: on choosing the batch
size of SGD; CNN primer: on setting the batch size of convolutional networks; Raschka 2022: No, we don't have to choose
batch sizes as powers of 2; batch-size review: How does batch size impact your model learning.
Other sources stand in the header of each experiment."""

READS = ("metric", "where", "tune", "target", "at", "failed")
"""Keys of a figure that choose values as a check does."""


def write_page(outcomes: Sequence[Outcome], failures: Mapping[str, str], page: Path = PAGE) -> Path:
    """Write the page, its figures in a folder beside it and docs/results/claims.json, and return the page."""
    holm, folder = corrected(outcomes), page.parent / "claims"
    counted = f"Hardware: {hardware()}. {summary(outcomes, failures).splitlines()[0]}."
    table = ["| # | claim | source | verdict | effect [95 %] | n | p | Holm | beside it |", f"|{'---|' * 9}"]
    table += [_row(outcome, p) for outcome, p in zip(outcomes, holm, strict=True)]
    parts = ["# Claims about batch size, tested", "Written by `python scripts/claims.py`.", ABOUT, SOURCES, counted]
    lines = ["\n\n".join([*parts, "\n".join(table)]), ""]
    lines += [line for outcome in outcomes for line in _section(outcome, folder)]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines).rstrip() + "\n")
    results = page.parent / "results" / "claims.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps(records_of(outcomes), indent=1) + "\n")
    return page


def _row(outcome: Outcome, holm: float) -> str:
    claim, name = outcome.experiment.claim, outcome.experiment.name
    _, effect, _, n, p = numbers_of(outcome.main, is_decided=outcome.conclusion != OPEN)
    cells = [str(claim.number), f"[{claim.says}](#{name})", claim.source, f"**{outcome.conclusion}**", effect, n, p]
    beside = next((each for each in outcome.judged if each.check.is_secondary), None)
    last = "" if beside is None else f"{beside.check.name}: {numbers_of(beside)[0]}, {numbers_of(beside)[1]}"
    return f"| {' | '.join([*cells, shown_p(holm), last])} |"


def _section(outcome: Outcome, folder: Path) -> list[str]:
    """Write a claim's part of the page."""
    experiment, claim = outcome.experiment, outcome.experiment.claim
    lines = [f'<a id="{experiment.name}"></a>', "", f"## {claim.number}. {claim.says}", ""]
    lines += [f"Source: {claim.source}. Verdict: **{outcome.conclusion}**.", ""]
    panel = claim_panel(outcome)
    if panel is not None:
        export_panel(panel, folder, ("png",))
        lines += [f"![{panel.title}]({folder.name}/{panel.name}.png)", ""]
    lines += ["| asked | verdict | effect [95 %] | supports | n | p |", "|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join([judged.title, *numbers_of(judged)])} |" for judged in outcome.judged]
    lines += ["", f"What this leaves out: {claim.leaves_out}", ""]
    measured, runs = "", _runs(outcome)
    if runs:
        dates = sorted({run.started for run in runs})
        between = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        measured = f"{len(runs)} runs, {between}, commit {', '.join(_commits(runs))}. "
    command = f"`python train.py -m experiment={experiment.name}`"
    return [*lines, f"{command}. {measured}{claim.cost} Full scale: {claim.full_scale}", ""]


def records_of(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return flat records, one for each check."""
    records = []
    for outcome, holm in zip(outcomes, corrected(outcomes), strict=True):
        experiment, runs = outcome.experiment, _runs(outcome)
        of_claim = {"experiment": experiment.name, "claim": experiment.claim.number, "says": experiment.claim.says}
        measured = {"hardware": hardware(), "commits": _commits(runs)}
        measured |= {"date": max((run.started for run in runs), default=None)}
        for judged in outcome.judged:
            verdict, check = judged.verdict or UNJUDGED, judged.check
            record = of_claim | {"what": check.name, "verdict_of_claim": outcome.conclusion}
            record |= {"decides": not check.is_secondary}
            record |= {"verdict": verdict.conclusion, "shown": numbers_of(judged)[1], "unit": check.unit}
            record |= {"effect": verdict.effect.value, "low": verdict.effect.low, "high": verdict.effect.high}
            records.append(finite(record | {"n": verdict.n, "p": verdict.p, "holm_p": holm} | measured))
    return records


def _runs(outcome: Outcome) -> list[MeasuredRun]:
    return [run for arm in outcome.arms.values() for setting in arm.settings for run in setting]


def _commits(runs: Sequence[MeasuredRun]) -> list[str]:
    return sorted({run.commit[:12] for run in runs})


def claim_panel(outcome: Outcome) -> Panel | None:
    """Return the figure that the experiment's yaml describes; None where nothing was measured.

    Its keys: ``metric`` (and where, tune, target, at, failed, as of a check), ``series`` name -> arms, ``metrics``
    name -> metric of the series that show another one, ``is_relative`` where each is divided by its least, ``x`` the
    key on the horizontal axis, or ``arm`` for their names, ``x_title``, ``y_title``, ``is_log_y``; or ``points``, the
    beginning of metrics whose names end in what stands on the horizontal axis, e.g. ``step_seconds/``, there divided
    by what ``over`` says for an arm.
    """
    figure, claim = outcome.experiment.figure, outcome.experiment.claim
    if not outcome.n or not figure:
        return None
    x = str(figure.get("x", "arm"))
    if "points" in figure:
        traces = _of_points(figure, outcome.arms)
    else:
        measured = [name for name, arm in outcome.arms.items() if arm.settings[0]]
        series = figure.get("series") or {figure["y_title"]: measured}
        traces = [_trace(name, figure, [outcome.arms[arm] for arm in names], x) for name, names in series.items()]
    return Panel(
        name=outcome.experiment.name,
        title=f"{claim.number}. {figure['title']}",
        x=Axis(str(figure.get("x_title", "batch size" if x != "arm" else "")), is_log=x != "arm"),
        y=Axis(str(figure["y_title"]), is_log=bool(figure.get("is_log_y", False))),
        traces=traces,
    )


def _trace(name: str, figure: Mapping[str, Any], arms: Sequence[Arm], x: str) -> Trace:
    keys = {key: figure[key] for key in READS if key in figure}
    keys["metric"] = figure.get("metrics", {}).get(name, figure["metric"])
    check = Check(name="figure", statistic="difference", of="", **keys)
    rows = [arm.censored_bounds(check)[:, 1] for arm in arms]
    if figure.get("is_relative", False):
        least = np.nanmin([row.mean() for row in rows if np.isfinite(row).all()], initial=np.inf)
        rows = [row / least for row in rows]
    if x == "arm":
        return _with_intervals(name, [arm.name for arm in arms], rows, "points", figure)
    return _with_intervals(name, [float(arm.chosen(check)[0].params[x]) for arm in arms], rows, "both", figure)


def _of_points(figure: Mapping[str, Any], arms: Mapping[str, Arm]) -> list[Trace]:
    start, traces = str(figure["points"]), []

    def end(metric: str) -> float:
        return float(metric.removeprefix(start))

    for arm in arms.values():
        if not (runs := arm.settings[0]):
            continue
        names = sorted((each for each in runs[0].finals if each.startswith(start)), key=end)
        rows = [np.array([run.finals.get(each, math.nan) for run in runs]) for each in names]
        unit = figure.get("over", {}).get(arm.name, 1.0)
        places = [end(each) / unit for each in names]
        traces.append(_with_intervals(arm.name.replace("_", " "), places, rows, "both", figure))
    return traces


def _with_intervals(name: str, x: Sequence[Any], rows: Sequence[Array], style: Any, figure: Mapping[str, Any]) -> Trace:
    """Means with 95 % t intervals, of logarithms where the axis has them; what is not finite has no place."""
    with np.errstate(divide="ignore"):
        scaled = [np.log(row) for row in rows] if figure.get("is_log_y", False) else rows
    back = math.exp if figure.get("is_log_y", False) else float
    found = [mean_of(np.where(np.isfinite(row), row, math.nan).tolist()) for row in scaled]
    low, high = ([back(ends(each)[side]) for each in found] for side in (0, 1))
    return Trace(name, list(x), [back(each.value) for each in found], low, high, style)

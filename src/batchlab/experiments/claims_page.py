"""docs/claims.md: one table, then each claim with its figure, its numbers and what it leaves out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchlab.config.installation import REPOSITORY
from batchlab.experiments.arm_results import MeasuredRun
from batchlab.experiments.claim_figure import claim_panel
from batchlab.experiments.claims_table import numbers_of, shown_p, summary
from batchlab.experiments.verdict import OPEN, UNJUDGED, Outcome, corrected
from batchlab.report.export import export_panel
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


def write_page(outcomes: Sequence[Outcome], failures: Mapping[str, str], page: Path = PAGE) -> Path:
    """Write the page, its figures in a folder beside it and docs/results/claims.json, and return the page."""
    holm, folder = corrected(outcomes), page.parent / "claims"
    lines = [
        "# Claims about batch size, tested",
        "",
        "Written by `python scripts/claims.py`.",
        "",
        ABOUT,
        "",
        SOURCES,
        "",
        f"Hardware: {hardware()}. {summary(outcomes, failures).splitlines()[0]}.",
        "",
        "| # | claim | source | verdict | effect [95 %] | n | p | Holm | beside it |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(outcome, p) for outcome, p in zip(outcomes, holm, strict=True)),
        "",
        *(line for outcome in outcomes for line in _section(outcome, folder)),
    ]
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
    """A claim's part of the page."""
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
            record = of_claim | {
                "what": check.name,
                "verdict_of_claim": outcome.conclusion,
                "decides": not check.is_secondary,
            }
            record |= {"verdict": verdict.conclusion, "shown": numbers_of(judged)[1], "unit": check.unit}
            record |= {"effect": verdict.effect.value, "low": verdict.effect.low, "high": verdict.effect.high}
            records.append(finite(record | {"n": verdict.n, "p": verdict.p, "holm_p": holm} | measured))
    return records


def _runs(outcome: Outcome) -> list[MeasuredRun]:
    return [run for arm in outcome.arms.values() for setting in arm.settings for run in setting]


def _commits(runs: Sequence[MeasuredRun]) -> list[str]:
    return sorted({run.commit[:12] for run in runs})

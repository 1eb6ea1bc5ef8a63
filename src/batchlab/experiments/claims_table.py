"""Tables of claims: at the terminal, after a multirun of one experiment, and in short for README.md and the docs."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from batchlab.config.installation import program
from batchlab.experiments.arm_runs import arms_of, known_runs
from batchlab.experiments.experiment import Check, Experiment, possible_configs
from batchlab.experiments.verdict import (
    CONTRADICTED,
    LEVEL,
    MOST_SEEDS,
    OPEN,
    SUPPORTED,
    JudgedCheck,
    Outcome,
    corrected,
    judge_experiment,
)
from batchlab.system.progress import make_console
from batchlab.tracking.mlflow_store import TrackingUnavailable

BEGIN, END = "<!-- claims: written by scripts/claims.py -->", "<!-- end of claims -->"
README_CLAIMS = ("powers_of_two", "more_epochs", "fill_then_reduce")
"""Experiments whose claims README.md shows; docs/testing_claims.md shows all."""
FACTORS = {"%": 100.0, "pp": 100.0, "x": 1.0, "": 1.0}
MOST_WITH_CHECKS = 8
"""Claims of which every check is shown; of more, only the one that stands for the verdict."""


def draw_claims(outcomes: Sequence[Outcome]) -> Table:
    """Draw one row per claim; of a few claims one for each of their checks."""
    table = Table(title="claims about batch size", title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("experiment", no_wrap=True)
    for heading in ("asked", "verdict", "effect [95 %]", "supports"):
        table.add_column(heading, overflow="fold")
    for heading in ("n", "p", "Holm"):
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome, holm in zip(outcomes, corrected(outcomes), strict=True):
        rows = outcome.judged if len(outcomes) <= MOST_WITH_CHECKS else [outcome.main]
        for place, judged in enumerate(rows):
            first = [str(outcome.experiment.claim.number), outcome.experiment.name] if place == 0 else ["", ""]
            own, *numbers = numbers_of(judged, is_decided=len(rows) == 1 and outcome.conclusion != OPEN)
            verdict = outcome.conclusion if len(rows) == 1 else own
            end = judged is rows[-1] and len(rows) > 1
            table.add_row(*first, judged.title, verdict, *numbers, shown_p(holm) if place == 0 else "", end_section=end)
    return table


def numbers_of(judged: JudgedCheck, is_decided: bool = False) -> list[str]:
    """Write verdict, effect, region, n and p of a check; how many seeds would decide it unless its claim is decided."""
    verdict, check = judged.verdict, judged.check
    if verdict is None:
        return [OPEN, judged.reason, region_in_words(check), "0", "-"]
    needed = f" of ~{verdict.needed}" if verdict.needed < MOST_SEEDS else f" of >{MOST_SEEDS}"
    n = f"{verdict.n}{'' if is_decided or not verdict.needed else needed}"
    effect = verdict.effect
    value, low, high = (_number(each, check.unit) for each in (effect.value, effect.low, effect.high))
    with_unit = f"{value} [{low}, {high}]{' ' + check.unit if check.unit else ''}"
    return [verdict.conclusion, with_unit, region_in_words(check), n, shown_p(verdict.p)]


def region_in_words(check: Check) -> str:
    """Write where the effect must lie to support the claim."""
    unit = f" {check.unit}" if check.unit else ""
    if check.margin is not None:
        return f"within ±{_number(check.margin, check.unit)}{unit}"
    ends = [(name, end) for name, end in (("above", check.above), ("below", check.below)) if end is not None]
    return ", ".join(f"{name} {_number(end, check.unit)}" for name, end in ends) + unit


def _number(value: float, unit: str) -> str:
    scaled = value * FACTORS[unit]
    if math.isnan(scaled):
        return "?"
    if math.isinf(scaled):
        return "∞" if scaled > 0 else "-∞"
    return f"{scaled:.4g}" if abs(scaled) >= 1e-3 or scaled == 0 else f"{scaled:.1e}"


def shown_p(p: float) -> str:
    """Write a p value: two digits, or that it is smaller than .0001."""
    return "<.0001" if p < 1e-4 else f"{p:.2g}".replace("0.", ".", 1)


def summary(outcomes: Sequence[Outcome], failures: Mapping[str, str]) -> str:
    """Count how many claims came out how, and say what went wrong."""
    conclusions = [outcome.conclusion for outcome in outcomes]
    lines = [", ".join(f"{conclusions.count(word)} {word}" for word in (SUPPORTED, CONTRADICTED, OPEN))]
    lines += [f"{name} could not be measured: {why}" for name, why in failures.items()]
    lines.append("(...) stands beside the verdict; n of ~m: about m seeds would decide it. p: two-sided, of one look;")
    lines.append("Holm: of four looks, over this table.")
    return "\n".join(lines)


def show_experiment(experiment: Experiment, sweep_id: str) -> None:
    """Print the claim and the verdict of each check from the runs of one command."""
    first = possible_configs(experiment)[0]
    console, claim = make_console(), experiment.claim
    try:
        known = known_runs(first.mlruns, [first.study], sweep_id)
    except TrackingUnavailable as error:
        console.print(f"No verdict: {error}. Later: {program('claims')} {experiment.name}")
        return
    outcome = judge_experiment(experiment, arms_of(experiment, first.num_seeds, known))
    console.print(f"Claim {claim.number} ({claim.source}): {claim.says}")
    console.print(draw_claims([outcome]))
    console.print(summary([outcome], {}))
    console.print(f"Decided at the level {LEVEL:.4g} of one look of four. What this leaves out: {claim.leaves_out}")


def short_table(records: Sequence[Mapping[str, Any]], page: str, names: Collection[str] = ()) -> list[str]:
    """Return the lines of a Markdown table with one row for each claim, linked to `page`; of all where no `names`.

    Of each claim the first of the records of docs/results/claims.json that decides is shown.
    """
    deciding = [record for record in records if record["decides"]]
    firsts = {record["claim"]: record for record in reversed(deciding)}
    rows = [
        f"| [{record['says']}]({page}#{record['experiment']}) | **{record['verdict_of_claim']}** "
        f"| {record['what']}: {record['shown']} |"
        for _, record in sorted(firsts.items())
        if not names or record["experiment"] in names
    ]
    return ["| what is said | what came out here | effect [95 %] |", "|---|---|---|", *rows]


def renew_tables(repository: Path, records: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write both tables anew from the records of docs/results/claims.json, between their marks; return the files."""
    readme, page = repository / "README.md", repository / "docs" / "testing_claims.md"
    _renew(readme, short_table(records, "docs/claims.md", README_CLAIMS))
    _renew(page, short_table(records, "claims.md"))
    return [readme, page]


def _renew(file: Path, lines: Sequence[str]) -> None:
    head, rest = file.read_text().split(BEGIN)
    _, tail = rest.split(END)
    file.write_text("\n".join([f"{head}{BEGIN}", *lines, f"{END}{tail}"]))

"""The table of claims at the terminal: number, claim, verdict, effect with its interval, n, p and Holm's p."""

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from batchlab.experiments.experiment import Check
from batchlab.experiments.outcome import JudgedCheck, Outcome, corrected
from batchlab.experiments.verdict import CONTRADICTED, MOST_SEEDS, OPEN, SUPPORTED
from batchlab.laws.estimate import Estimate

FACTORS = {"%": 100.0, "pp": 100.0, "x": 1.0, "": 1.0}


MOST_WITH_CHECKS = 8
"""Claims of which every check is shown; of more, only the one that stands for the verdict."""


def draw_claims(outcomes: Sequence[Outcome]) -> Table:
    """One row per claim; of a few claims one for each of their checks."""
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
            name = f"({judged.check.name})" if judged.check.is_secondary else judged.check.name
            said, *numbers = numbers_of(judged, is_decided=len(rows) == 1 and outcome.said != OPEN)
            verdict = outcome.said if len(rows) == 1 else said
            end = judged is rows[-1] and len(rows) > 1
            table.add_row(*first, name, verdict, *numbers, shown_p(holm) if place == 0 else "", end_section=end)
    return table


def numbers_of(judged: JudgedCheck, is_decided: bool = False) -> list[str]:
    """CheckVerdict, effect with interval, region, n and p of a check, in words.

    Args:
        judged: the check.
        is_decided: its claim is, by this check or another: how many seeds would decide this one is not said.
    """
    verdict, check = judged.verdict, judged.check
    if verdict is None:
        return [OPEN, judged.reason, region_in_words(check), "0", "-"]
    n = str(verdict.n) if is_decided or not verdict.needed else f"{verdict.n} of {_needed(verdict.needed)}"
    return [verdict.said, effect_in_words(verdict.effect, check.unit), region_in_words(check), n, shown_p(verdict.p)]


def _needed(seeds: int) -> str:
    """Seeds that would decide a check, as far as that is known."""
    return f"~{seeds}" if seeds < MOST_SEEDS else f">{MOST_SEEDS}"


def effect_in_words(effect: Estimate, unit: str) -> str:
    """``1.23 [1.10, 1.40] pp``."""
    value, low, high = (_number(each, unit) for each in (effect.value, effect.low, effect.high))
    return f"{value} [{low}, {high}]{' ' + unit if unit else ''}"


def region_in_words(check: Check) -> str:
    """Where the effect must lie to support the claim."""
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
    """A p value: two digits, or that it is smaller than .0001."""
    return "<.0001" if p < 1e-4 else f"{p:.2g}".replace("0.", ".", 1)


def summary(outcomes: Sequence[Outcome], failures: Mapping[str, str]) -> str:
    """How many claims came out how, and what went wrong."""
    said = [outcome.said for outcome in outcomes]
    lines = [", ".join(f"{said.count(word)} {word}" for word in (SUPPORTED, CONTRADICTED, OPEN))]
    lines += [f"{name} could not be measured: {why}" for name, why in failures.items()]
    lines.append("(...) stands beside the verdict; n of ~m: about m seeds would decide it. p: two-sided, of one look;")
    lines.append("Holm: of four looks, over this table.")
    return "\n".join(lines)

"""Recommendation of a study: which configuration, and how far that carries."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.report.comparison import Row, format_estimate, format_score, mean_metric, superlative, tied_with
from batchlab.report.study_data import UNFINISHED, Study, digits, rank, score_name, settings_in_words
from batchlab.search.picks import BEST_SCORE
from batchlab.tasks.objectives import TEST

NUM_CHOICES = 3
MANY = 20
"""The best of so many configurations is partly the luckiest."""
PICK_ORDER = ("fastest", BEST_SCORE, "knee")


@dataclass(frozen=True)
class Choice:
    """A configuration of the answer."""

    name: str  # what it is: ``recommended``, ``runner-up``, or the name of a search's pick
    row: Row  # its numbers
    is_fresh: bool = False  # whether they are of seeds that had no part in choosing it


@dataclass(frozen=True)
class Answer:
    """A study's recommendation."""

    choices: Sequence[Choice]  # the recommended configuration first, then up to two runners-up
    reason: str  # why it is that one; a sentence or two
    caveats: Sequence[str]  # how far it does not carry, each a sentence

    @property
    def best(self) -> Row:
        """Return the recommended configuration."""
        return self.choices[0].row


def answer_of(study: Study) -> Answer | None:
    """Return the recommendation; None where no configuration has a value."""
    rated = sorted((row for row in study.rows if math.isfinite(rank(study, row))), key=lambda row: rank(study, row))
    if not rated:
        return None
    if study.search is not None and study.search.picks:
        return _of_search(study, rated)
    return _of_target(study, rated) if study.has_target else _of_grid(study, rated)


def _of_grid(study: Study, rated: Sequence[Row]) -> Answer:
    """Recommend the fastest configuration that is not told apart from the best on the validation split."""
    several = [row for row in rated if row.n > 1]
    among, name = several or rated, score_name(study)
    best = among[0]
    tied = [best]
    if several:
        tied = tied_with(best, among)
    by_time = sorted(tied, key=lambda row: row.seconds.value)
    near = {row.key for row in tied}
    ordered = [*by_time, *(row for row in among if row.key not in near)]
    chosen = ordered[0]
    ordered = _other_sizes_first([chosen, *([best] if best is not chosen else [])], ordered)
    reason = f"{superlative(study.score)} {name}: {settings_in_words(best)} ({format_score(best)})."
    if several and len(tied) == 1:
        reason += " The interval of no other configuration reaches it."
    elif several:
        more = f"{len(tied) - 1} other{'s are' if len(tied) > 2 else ' is'} not told apart from it at n = {best.n}"
        reason += f" {more}; of these the recommended one trains fastest."
        gap = abs(best.score.value - chosen.score.value)
        if gap > 0:
            reason += f" Its mean is {study.score.text(gap)} worse, which chance explains at this n; "
            reason += "that they are equal is not shown."
    return Answer(_choices(ordered, best if chosen is not best else None), reason, _caveats(study, rated, best))


def _other_sizes_first(chosen: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Return the chosen rows, then the first of each other batch size, then what is left."""
    ordered, sizes = list(chosen), {row.batch_size for row in chosen}
    for row in rows:
        if row.batch_size not in sizes and len(ordered) < NUM_CHOICES:
            ordered.append(row)
            sizes.add(row.batch_size)
    keys = {row.key for row in ordered}
    return [*ordered, *(row for row in rows if row.key not in keys)]


def _of_target(study: Study, rated: Sequence[Row]) -> Answer:
    """Recommend the configuration of the least seconds to the target; all its runs reached it."""
    best = rated[0]
    assert best.target_seconds is not None
    seconds = format_estimate(best.target_seconds, digits(best.target_seconds.value))
    reason = f"Least time to the target: {seconds} s of training."
    high = best.target_seconds.high
    tied = [row for row in rated[1:] if row.target_seconds and row.target_seconds.low <= high]
    if best.n > 1:
        reason += (
            f" {len(tied)} other configuration{'s are' if len(tied) > 1 else ' is'} not told apart from it at "
            f"n = {best.n}."
            if tied
            else " The interval of no other configuration reaches it."
        )
    missed = sum(1 for row in study.rows if not math.isfinite(rank(study, row)))
    if missed:
        reason += f" {missed} did not reach the target with every seed."
    return Answer(_choices(_other_sizes_first([best], rated)), reason, _caveats(study, rated, best))


def _of_search(study: Study, rated: Sequence[Row]) -> Answer:
    """Recommend the picks of a search, as their fresh seeds measured them; the fastest first where there is one."""
    assert study.search is not None
    picks, by_number = study.search.picks, dict[int, list[str]]()
    for name in sorted(picks, key=lambda name: PICK_ORDER.index(name) if name in PICK_ORDER else len(PICK_ORDER)):
        by_number.setdefault(picks[name], []).append(name)
    choices, seen = [], set[str]()
    for number, group in by_number.items():
        trial = {
            run["tags"]["config_key"] for run in study.runs if run["tags"].get("optuna.trial_number") == str(number)
        }
        row = study.fresh.get(number) or next((row for row in study.rows if row.key in trial), None)
        if row is not None and row.key not in seen:
            seen.add(row.key)
            choices.append(Choice(" and ".join(group).replace("_", " "), row, number in study.fresh))
    choices = [*choices, *(Choice("runner-up", row) for row in rated if row.key not in seen)][:NUM_CHOICES]
    first, num_trials = choices[0], sum(study.search.endings.values())
    reason = f"The pick {first.name} of {num_trials:,} trials"
    if "fastest" in first.name and len(by_number) > 1:
        reason += ": the least training time among those within the interval of the best score"
    n = first.row.n
    fresh = f", trained again with {n} fresh seeds, from which its numbers are" if first.is_fresh else ""
    return Answer(choices, f"{reason}{fresh}.", _caveats(study, [], first.row, first.is_fresh))


def _choices(rows: Sequence[Row], best: Row | None = None) -> list[Choice]:
    names = ["recommended"] + ["best score" if row is best else "runner-up" for row in rows[1:NUM_CHOICES]]
    return [Choice(name, row) for name, row in zip(names, rows, strict=False)]


def _caveats(study: Study, rated: Sequence[Row], best: Row, is_fresh: bool = False) -> list[str]:
    """List what a person should know before going by the answer."""
    found = []
    unfinished = study.left_out.get(UNFINISHED, 0) if study.search is None else 0  # a search runs lost trials again
    if unfinished:
        runs = "1 run" if unfinished == 1 else f"{unfinished:,} runs"
        found.append(f"{runs} of this study did not come to an end: configurations may be missing here.")
    if best.n == 1:
        again = "num_seeds=3" if study.search is None else "the search to its end (its picks are trained again)"
        found.append(f"n = 1: one seed does not carry this choice. {again} gives intervals.")
    if len(rated) > MANY:
        found.append(
            f"The best of {len(rated):,} configurations is partly the luckiest: its value is flattered, and so is "
            "everything that is told apart from it or not."
        )
    if study.search is not None and not is_fresh and best.n > 1:
        found.append("These seeds had a part in choosing it: its value is flattered.")
    if any(row.n == 1 for row in rated) and best.n > 1:
        found.append("Configurations with one seed are not compared: they have no interval.")
    return found


def score_on_test(study: Study, row: Row) -> str:
    """Write the score on the test split of the recommended configuration alone; empty where it was not measured."""
    fresh = any(row is each for each in study.fresh.values())
    runs = [run for run in study.runs if run["tags"]["config_key"] == row.key and ("pick" in run["tags"]) == fresh]
    found = mean_metric(runs, f"{TEST}{study.score.name}")
    return format_estimate(found, study.score.digits(found.value))

"""Which trials are recommended, before and after their retraining."""

import pytest
from optuna.trial import create_trial

from batchlab.search.pareto_front import pareto_front
from batchlab.search.picks import MAX_SHORT, Candidates, all_picks, first_pick

METRICS, DIRECTIONS = ("cost/train_seconds", "final/val_accuracy"), ("minimize", "maximize")


def candidates(*values: tuple[float, float]) -> Candidates:
    trials = [create_trial(values=list(each)) for each in values]
    for number, trial in enumerate(trials):
        trial.number = number
    front = [trials[place] for place in pareto_front(values, DIRECTIONS)]
    return Candidates(trials, front, METRICS, DIRECTIONS)


def fresh(*accuracies: float, seconds: float = 1.0) -> dict[str, list[float]]:
    return {"final/val_accuracy": list(accuracies), "cost/train_seconds": [seconds]}


FOUND = candidates((1.0, 0.5), (2.0, 0.96), (3.0, 0.95), (4.0, 0.97), (9.0, 0.98))


def test_the_first_pick_is_the_trial_of_the_best_score():
    assert {name: trial.number for name, trial in first_pick(FOUND, {}).items()} == {"best_score": 4}


def test_the_best_score_is_so_with_fresh_seeds():
    known = {"4": fresh(0.94), "3": fresh(0.95), "1": fresh(float("nan"))}
    assert all_picks(FOUND, None, known)["best_score"].number == 3
    assert first_pick(FOUND, {"3": fresh(0.95)})["best_score"].number == 4  # whose fresh seeds are to come
    assert first_pick(FOUND, {"4": fresh(float("nan"))})["best_score"].number == 4


@pytest.mark.parametrize(
    ("least", "known", "fastest"),
    [
        (None, {}, 4),  # nothing is known of what is accurate enough
        (0.96, {}, 1),
        (0.94, {}, 1),
        (0.965, {}, 3),
        (0.99, {}, 4),  # nothing reached it in the search
        (0.95, {"1": fresh(0.95, 0.95, 0.96)}, 1),
        (0.95, {"1": fresh(0.93, 0.95, 0.96)}, 2),  # short with fresh seeds
        (0.95, {"1": fresh(0.93, 0.95, 0.96), "2": fresh(float("nan"), 0.99)}, 3),  # a seed diverged
        (0.95, {"1": fresh(0.96, seconds=5.0), "4": fresh(0.98, seconds=4.0)}, 2),  # not faster after all
        (0.95, {"1": fresh(0.96, seconds=3.0), "4": fresh(0.98, seconds=4.0)}, 1),
        (0.95, {"1": fresh(0.9), "2": fresh(0.9), "3": fresh(0.9)}, 4),
    ],
)
def test_the_fastest_keeps_its_accuracy_with_fresh_seeds(least, known, fastest):
    assert all_picks(FOUND, least, known)["fastest"].number == fastest


def test_the_fastest_gives_way_so_often_and_not_for_ever():
    many = candidates(*((1.0 + place, 0.9) for place in range(20)), (50.0, 0.95))
    known = {}
    for _ in range(MAX_SHORT + 1):
        number = all_picks(many, 0.9, known)["fastest"].number
        assert str(number) not in known
        known[str(number)] = fresh(0.5)
    assert all_picks(many, 0.9, known)["fastest"].number == 20

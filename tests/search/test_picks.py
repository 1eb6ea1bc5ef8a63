"""Which trials are recommended, before and after their retraining."""

import pytest
from optuna.trial import create_trial

from batchlab.search.pareto_front import pareto_front
from batchlab.search.picks import MAX_SHORT, Candidates, all_picks, first_pick, worst_score

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


def as_errors(values: list[float]) -> list[float]:
    return [1 - value for value in values]


@pytest.mark.parametrize("known", [{}, {"4": (0.94,), "3": (0.95,)}, {"1": (0.93, 0.95), "4": (0.98, 0.979)}])
@pytest.mark.parametrize("least", [None, 0.965, 0.95])
def test_an_error_is_picked_by_as_an_accuracy_is(known, least):
    metrics, directions = ("cost/train_seconds", "final/val_rmse"), ("minimize", "minimize")
    values = [[trial.values[0], *as_errors(trial.values[1:])] for trial in FOUND.trials]
    trials = [create_trial(values=each) for each in values]
    for number, trial in enumerate(trials):
        trial.number = number
    errors = Candidates(trials, [trials[trial.number] for trial in FOUND.front], metrics, directions)
    accurate = {number: fresh(*each) for number, each in known.items()}
    wrong = {
        number: {"final/val_rmse": as_errors([*each]), "cost/train_seconds": [1.0]} for number, each in known.items()
    }
    by_accuracy = all_picks(FOUND, least, accurate)
    by_error = all_picks(errors, None if least is None else 1 - least + 1e-12, wrong)
    names = {"best_score", "fastest"}
    assert {name: by_error[name].number for name in names} == {name: by_accuracy[name].number for name in names}
    best, worst = worst_score(FOUND, accurate), worst_score(errors, wrong)
    assert best == worst or worst == pytest.approx(1 - (best or 0.0))
